//! The process half: one container's supervisor, from its birth to the record of its end.
//!
//! ```text
//! main ─► setup: bundle, lock, cgroup, stdio, init ─► supervise: one poll loop ─► ending: record,
//!                                                      clients, logs, signals       tell, clean up
//! ```
//! Single-threaded and without a runtime; every signal is blocked (its spawner saw to that), so
//! nothing but SIGKILL ends it early. The next command then finds init alive and no lock held.

mod cgroup;
mod client;
mod container;
mod ending;
mod setup;
mod stdio;
mod supervise;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_sys::inherited;
use lamina_types::ErrorKind;
use lamina_types::explain::{Explainer, Step};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::protocol::socket::send;
use crate::protocol::{Failure, Kind};

/// The number under which a monitor finds its spawner's socket.
const CONTROL: i32 = 3;
/// The number of the first descriptor that the arguments name, in their order: `explain` is the
/// pipe for step records, `lease` the locked file of the operation that starts the container.
const NAMED: i32 = 4;

/// Runs a monitor; `arguments` are those after [`crate::ENTRY`]. Returns the process's exit code.
///
/// To be called by the binary before anything else, in the process [`crate::spawn`] made: the
/// descriptors from 3 on are its own. Failures are told to the spawner, which is all there is.
pub fn main(arguments: &[OsString]) -> u8 {
    let [bundle, rest @ ..] = arguments else {
        return 125;
    };
    let Ok(control) = inherited::take(CONTROL) else {
        return 125;
    };
    let (mut pipe, mut lease) = (None, None);
    for (number, word) in (NAMED..).zip(rest) {
        match word.to_str() {
            Some("explain") => pipe = inherited::take(number).ok(),
            Some("lease") => lease = inherited::take(number).ok(),
            _ => {}
        }
    }
    // Only a name for ps; a kernel that refuses it changes nothing.
    let _ = rustix::thread::set_name(c"lamina-monitor");
    match run(Path::new(bundle), &control, pipe, lease) {
        Ok(()) => 0,
        Err(failure) => {
            tell(&control, &failure);
            failure.code
        }
    }
}

fn run(
    bundle: &Path,
    control: &OwnedFd,
    pipe: Option<OwnedFd>,
    lease: Option<OwnedFd>,
) -> Result<(), Failure> {
    let internal = |errno: Errno| Failure::new(125, ErrorKind::Internal, &errno);
    let mut explain = explainer(pipe.as_ref());
    let spawner = control
        .try_clone()
        .map_err(|e| Failure::new(125, ErrorKind::of_io(&e), &e))?;
    let flags = fcntl_getfl(&spawner).map_err(internal)?;
    fcntl_setfl(&spawner, flags | OFlags::NONBLOCK).map_err(internal)?;
    let mut supervisor = setup::setup(bundle, spawner, &mut explain, pipe.as_ref())?;
    supervisor.lease = lease;
    // Nobody waits for the end of the pipe but the reader of the steps, who must not wait for us.
    drop((explain, pipe));
    supervisor.run().map_err(internal)
}

fn tell(control: &OwnedFd, failure: &Failure) {
    if let Ok(json) = serde_json::to_vec(failure) {
        // The socket takes one small frame without blocking; if the spawner is gone, so be it.
        let _ = send(control.as_fd(), Kind::Failed, &json);
    }
}

/// Returns an explainer that writes each step as one line, short enough never to mix with others'.
fn explainer(pipe: Option<&OwnedFd>) -> Explainer {
    const PIPE_BUF: usize = 4096;
    let Some(Ok(pipe)) = pipe.map(OwnedFd::try_clone) else {
        return Explainer::off();
    };
    let mut pipe = File::from(pipe);
    Explainer::to("monitor", move |mut step: Step| {
        while let Ok(mut line) = serde_json::to_vec(&step) {
            line.push(b'\n');
            if line.len() <= PIPE_BUF {
                // A reader that went away must not end the container.
                let _ = pipe.write_all(&line);
                return;
            }
            let half = step.command.len() / 2;
            let end = (0..=half).rev().find(|i| step.command.is_char_boundary(*i));
            match end {
                Some(end) if end > 0 => step.command.truncate(end),
                _ => return,
            }
        }
    })
}
