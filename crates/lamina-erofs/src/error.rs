//! Why a tree cannot be an image.

use std::io;

/// The tree has something that EROFS cannot say, or the image could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output failed.
    #[error("write the image")]
    Io(#[from] io::Error),
    /// A name is empty, special, too long, or has a slash or zero in it.
    #[error("{:?} cannot be a name in a directory", shown(.0))]
    Name(Vec<u8>),
    /// A symbolic link's target is empty or longer than a path may be.
    #[error("a link to {} bytes cannot be stored", .0.len())]
    Target(Vec<u8>),
    /// A directory has several names, which would make the tree no tree.
    #[error("directory {:?} has a second name", shown(.0))]
    SecondName(Vec<u8>),
    /// An extended attribute is of a namespace that EROFS does not have.
    #[error("attribute {:?} is of an unknown namespace", shown(.0))]
    Namespace(Vec<u8>),
    /// An extended attribute's name or value is longer than it may be.
    #[error("attribute {:?} of {length} bytes is too long", shown(.name))]
    Attribute {
        /// Its name.
        name: Vec<u8>,
        /// The length of its value.
        length: usize,
    },
    /// The extended attributes of one inode are too many.
    #[error("the attributes of one file take {0} bytes, more than an inode can have")]
    Attributes(usize),
    /// A device's numbers are larger than the kernel's.
    #[error("device {major}:{minor} cannot be stored")]
    Device {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A file is larger than an external one can be.
    #[error("a file of {0} bytes cannot be stored")]
    FileSize(u64),
    /// The image would have more than 2³² blocks or inodes.
    #[error("the image would be too large")]
    TooLarge,
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(255)]).into_owned()
}
