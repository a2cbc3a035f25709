//! The client half: starting a monitor, finding a living one, and talking to it.

mod check;
mod relay;
mod session;
mod spawn;

pub use check::Checked;
pub use relay::{ForegroundStdio, Relayed};
pub use session::{Created, Session, SessionError};
pub use spawn::{Ahead, Begin, ConnectError, SpawnError, Spawned, adopt, connect, spawn};
