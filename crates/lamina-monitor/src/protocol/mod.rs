//! What a monitor and its clients say to each other over a stream socket.
//!
//! ```text
//! +------+---------+-----------+----------------+
//! | kind | 0  0  0 | length LE | length bytes   |   length <= 65536
//! +------+---------+-----------+----------------+
//!   u8     3 bytes   u32         payload
//! ```
//! The spawner of a monitor has its end of a socket pair from birth and is the *foreground* client;
//! others connect to `monitor.sock` in the bundle. A monitor greets each with [`Kind::Created`], a
//! pidfd of init attached, and [`Kind::Started`] if the program runs.
//!
//! - A monitor is spawned ahead of its bundle, so that executing it costs the spawner no time, and
//!   does nothing before [`Kind::Begin`].
//! - Output goes to the foreground client with back-pressure: while its socket is full the pipes
//!   are not read. Other clients get output after [`Kind::Attach`] and never slow the container:
//!   what does not fit is dropped and its length told by [`Kind::Gap`].
//! - Input is paid for: a client may have [`STDIN_WINDOW`] bytes on their way, and gets credit back
//!   by [`Kind::StdinTaken`], so that a program that does not read never blocks a signal or resize.
//! - The end is [`Kind::Exit`] (or [`Kind::Failed`] instead of a start), sent after `exit.json` is
//!   written; before, where the container is removed at its end and the file with it. A foreground
//!   client answers [`Kind::Taken`]: it will clean up. If it goes away without that, the monitor
//!   executes the bundle's cleanup command.
//! - A client need not wait until files are unlinked: what it has moved out of sight it leaves to
//!   the monitor with [`Kind::Dispose`].

mod codec;
mod message;
pub(crate) mod socket;

pub use codec::{Decoder, Frame, HEADER, Kind, MAX_PAYLOAD, ProtocolError, header};
pub use message::{Failure, Rest};

/// How many bytes of input a client may send before it gets credit.
pub const STDIN_WINDOW: usize = 64 << 10;
