//! What a program needs to run, read from its ELF headers; nothing is ever executed.
//!
//! [`Headers::read`] reads one file's interpreter, needed libraries and search paths (ELF gABI
//! chapter 5; ld.so(8)). [`libraries::Libraries`] finds the libraries on a host as its dynamic
//! linker would, and [`search`] knows where that linker looks.

pub(crate) mod libraries;
pub(crate) mod search;

use std::fs::File;
use std::os::unix::fs::FileExt;

use goblin::container::Ctx;
use goblin::elf::dynamic::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, Dynamic};
use goblin::elf::header::{EI_CLASS, EI_DATA, ELFCLASS64, ELFMAG};
use goblin::elf::program_header::{PT_DYNAMIC, PT_INTERP, PT_LOAD, ProgramHeader};
use goblin::elf::{Elf, Header};

/// No header table, dynamic section or string table of a real program comes near this.
const MAX_SECTION: u64 = 16 << 20;
/// PATH_MAX.
const MAX_PATH: u64 = 4096;
/// The size of a 64-bit file header, the larger one.
const FILE_HEADER: usize = 64;

/// What ELF headers say about loading a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    /// Word size, byte order and machine: a library serves a program only if these agree.
    pub(crate) kind: Kind,
    /// The dynamic linker (`PT_INTERP`); libraries and static programs have none.
    pub(crate) interpreter: Option<String>,
    /// `DT_NEEDED` in order.
    pub(crate) needed: Vec<String>,
    /// `DT_RPATH`, ignored by the linker where there is a `DT_RUNPATH`.
    pub(crate) rpath: Vec<String>,
    /// `DT_RUNPATH`.
    pub(crate) runpath: Vec<String>,
}

/// The machine an ELF file is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    class: u8,
    order: u8,
    machine: u16,
}

impl Kind {
    /// Returns whether the file is a 64-bit one.
    pub(crate) fn is_64(self) -> bool {
        self.class == ELFCLASS64
    }
}

impl Headers {
    /// Reads the headers of `file`; `None` for anything that is not a loadable ELF file.
    ///
    /// A damaged ELF file counts as none: it could not be loaded either.
    pub(crate) fn read(file: &File) -> Option<Self> {
        // Nothing that can be loaded is shorter than the header and one page's worth of code.
        let mut start = [0; FILE_HEADER];
        file.read_exact_at(&mut start, 0).ok()?;
        if !start.starts_with(ELFMAG) {
            return None;
        }
        let header = Elf::parse_header(&start).ok()?;
        let context = Ctx::new(header.container().ok()?, header.endianness().ok()?);
        let segments = segments(file, &header, context)?;
        let mut found = Self {
            kind: Kind {
                class: header.e_ident[EI_CLASS],
                order: header.e_ident[EI_DATA],
                machine: header.e_machine,
            },
            interpreter: interpreter(file, &segments),
            ..Self::default()
        };
        found.read_dynamic(file, &segments, context);
        Some(found)
    }

    /// Fills in what the dynamic section says; a static program has none.
    fn read_dynamic(&mut self, file: &File, segments: &[ProgramHeader], context: Ctx) {
        let Some(strings) = Strings::read(file, segments, context) else {
            return;
        };
        for (tag, value) in &strings.entries {
            let list = match *tag {
                DT_NEEDED => &mut self.needed,
                DT_RPATH => &mut self.rpath,
                DT_RUNPATH => &mut self.runpath,
                _ => continue,
            };
            let Some(text) = strings.get(*value) else {
                continue;
            };
            if *tag == DT_NEEDED {
                list.push(text);
            } else {
                list.extend(text.split(':').filter(|p| !p.is_empty()).map(str::to_owned));
            }
        }
    }
}

/// Reads the program header table.
fn segments(file: &File, header: &Header, context: Ctx) -> Option<Vec<ProgramHeader>> {
    let count = usize::from(header.e_phnum);
    let size = u64::try_from(count.checked_mul(ProgramHeader::size(context))?).ok()?;
    let table = read_range(file, header.e_phoff, size, MAX_SECTION)?;
    ProgramHeader::parse(&table, 0, count, context).ok()
}

fn interpreter(file: &File, segments: &[ProgramHeader]) -> Option<String> {
    let segment = segments.iter().find(|s| s.p_type == PT_INTERP)?;
    let bytes = read_range(file, segment.p_offset, segment.p_filesz, MAX_PATH)?;
    text(&bytes, 0)
}

/// The dynamic section and the string table that its entries point into.
struct Strings {
    entries: Vec<(u64, u64)>,
    table: Vec<u8>,
}

impl Strings {
    fn read(file: &File, segments: &[ProgramHeader], context: Ctx) -> Option<Self> {
        let segment = segments.iter().find(|s| s.p_type == PT_DYNAMIC)?;
        let bytes = read_range(file, segment.p_offset, segment.p_filesz, MAX_SECTION)?;
        // Only the section itself was read, so it is parsed as if the file began with it.
        let moved = ProgramHeader {
            p_offset: 0,
            ..segment.clone()
        };
        let dynamic = Dynamic::parse(&bytes, &[moved], context).ok()??;
        let entries: Vec<(u64, u64)> = dynamic.dyns.iter().map(|d| (d.d_tag, d.d_val)).collect();
        let value = |tag| entries.iter().find(|e| e.0 == tag).map(|e| e.1);
        let offset = file_offset(segments, value(DT_STRTAB)?)?;
        let table = read_range(file, offset, value(DT_STRSZ)?, MAX_SECTION)?;
        Some(Self { entries, table })
    }

    fn get(&self, offset: u64) -> Option<String> {
        text(&self.table, usize::try_from(offset).ok()?)
    }
}

/// Returns where in the file the byte is that is loaded at `address`.
fn file_offset(segments: &[ProgramHeader], address: u64) -> Option<u64> {
    let segment = segments
        .iter()
        .filter(|s| s.p_type == PT_LOAD)
        .find(|s| address >= s.p_vaddr && address - s.p_vaddr < s.p_filesz)?;
    segment.p_offset.checked_add(address - segment.p_vaddr)
}

fn read_range(file: &File, offset: u64, size: u64, limit: u64) -> Option<Vec<u8>> {
    if size > limit {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(size).ok()?];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

/// Returns the NUL-terminated string at `start`.
fn text(bytes: &[u8], start: usize) -> Option<String> {
    let rest = bytes.get(start..)?;
    let end = rest.iter().position(|b| *b == 0)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

#[cfg(test)]
mod tests;
