//! Writing the gathered tree as a layer's tar: the same bytes for the same files, every time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::CreateMinimalError;
use super::tree::{Node, Tree};

/// Writes the tree's entries in order, everything owned by root.
///
/// Copies keep their dates; what is ours has the date of the newest copy, so that nothing depends
/// on when or how often the image is made.
pub(crate) fn write_layer(tree: &Tree, out: impl Write) -> Result<(), CreateMinimalError> {
    let mut builder = Builder::new(out);
    let newest = tree.newest();
    for (path, node) in tree.entries() {
        write_entry(&mut builder, path, node, newest).map_err(|source| {
            CreateMinimalError::Host {
                path: path.to_owned(),
                source,
            }
        })?;
    }
    let finished = builder.finish();
    finished.map_err(CreateMinimalError::Write)
}

fn write_entry(
    builder: &mut Builder<impl Write>,
    path: &Path,
    node: &Node,
    newest: i64,
) -> io::Result<()> {
    let name = path.strip_prefix("/").unwrap_or(path);
    let mut header = Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(u64::try_from(newest).unwrap_or(0));
    match node {
        Node::Directory { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            header.set_size(0);
            builder.append_data(&mut header, name, io::empty())
        }
        Node::Link { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            builder.append_link(&mut header, name, target)
        }
        Node::Text { text, mode } => {
            header.set_mode(*mode);
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, name, text.as_bytes())
        }
        Node::Copy {
            from,
            mode,
            size,
            mtime,
        } => {
            header.set_mode(*mode);
            header.set_size(*size);
            header.set_mtime(u64::try_from(*mtime).unwrap_or(0));
            // A file that is being replaced by an upgrade must not tear the archive.
            let mut exact = Exact {
                file: File::open(from)?,
                left: *size,
            };
            builder.append_data(&mut header, name, &mut exact)
        }
    }
}

/// Reads exactly as many bytes as were announced.
struct Exact {
    file: File,
    left: u64,
}

impl Read for Exact {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(into.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.file.read(&mut into[..most])?;
        if count == 0 {
            let message = "the file became shorter while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.left -= count as u64;
        Ok(count)
    }
}
