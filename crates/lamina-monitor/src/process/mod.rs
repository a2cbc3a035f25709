//! The process half: one container's supervisor, from its birth to the record of its end.
//!
//! ```text
//! main ─► setup: bundle, lock, cgroup, stdio, init ─► supervise: one poll loop ─► ending: record,
//!                                                      clients, logs, signals       tell, clean up
//!                                                             ▲                         │
//!                                                             └── the next bundle ── restart: wait
//! ```
//! Single-threaded and without a runtime; every signal is blocked (its spawner saw to that), so
//! nothing but SIGKILL ends it early. The next command then finds init alive and no lock held, and
//! executes another monitor, which begins with `adopt` instead of setup.

mod adopt;
mod cgroup;
mod client;
mod container;
mod end;
mod ending;
mod events;
mod health;
mod packing;
mod restart;
mod setup;
mod stdio;
mod supervise;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_runtime::{Ahead, CreateError, Expected};
use lamina_sys::inherited;
use lamina_types::ErrorKind;
use lamina_types::explain::{Explainer, Step};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use self::adopt::Adopted;
use self::stdio::Streams;
use crate::protocol::socket::{receive, send};
use crate::protocol::{Failure, HEADER, Kind, header};

/// The number under which a monitor finds its spawner's socket.
const CONTROL: i32 = 3;
/// The number of the door it was executed through, which is kept open for its spawner's sake.
const DOOR: i32 = 4;
/// The number of the pipe for step records, if the arguments say that there is one.
const EXPLAIN: i32 = 5;

/// The argument of a monitor that takes over a container whose monitor was killed.
pub(crate) const ADOPT: &str = "adopt";

/// Runs a monitor; `arguments` are those after [`crate::ENTRY`]. Returns the process's exit code.
///
/// To be called by the binary before anything else, in the process [`crate::spawn`] made: the
/// descriptors from 3 on are its own. Failures are told to the spawner, which is all there is.
pub fn main(arguments: &[OsString]) -> u8 {
    let [bundle, rest @ ..] = arguments else {
        return 125;
    };
    if rest.first().is_some_and(|word| word == packing::PACK) {
        return packing::main(bundle);
    }
    let (Ok(control), Ok(_door)) = (inherited::take(CONTROL), inherited::take(DOOR)) else {
        return 125;
    };
    let is_explained = rest.iter().any(|word| word == "explain");
    let pipe = is_explained
        .then(|| inherited::take(EXPLAIN).ok())
        .flatten();
    // Only a name for ps; a kernel that refuses it changes nothing.
    let _ = rustix::thread::set_name(c"lamina-monitor");
    let mut explain = explainer(pipe.as_ref());
    // What needs no bundle is done while it is being written.
    cgroup::leave_callers(&mut explain);
    let bundle = Path::new(bundle);
    let is_said = |said: &str| rest.iter().any(|word| word == said);
    if is_said(ADOPT) {
        return code_of(take_over(bundle, &control), &control);
    }
    let expected = Expected {
        network: is_said("network"),
        bundle: is_said("namespaces").then_some(bundle),
        explain_pipe: pipe.as_ref().map(AsFd::as_fd),
    };
    let ahead = Ahead::prepare(expected, &mut explain);
    let Some(begin) = begin(&control) else {
        // The spawner went away, or had nothing to be done after all.
        return 0;
    };
    let told = Told {
        bundle,
        start: begin.start,
        streams: begin.streams,
        pipe,
        ahead: ahead.and_then(|mut ahead| {
            ahead.bundle_is_there(begin.idle_cpu.into())?;
            Ok(ahead)
        }),
    };
    code_of(run(told, &control, explain, begin.lease), &control)
}

/// Tells the spawner of a failure, and returns the process's exit code.
fn code_of(outcome: Result<(), Failure>, control: &OwnedFd) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            tell(control, &failure);
            failure.code
        }
    }
}

/// Supervises the container of a bundle whose monitor was killed.
fn take_over(bundle: &Path, control: &OwnedFd) -> Result<(), Failure> {
    match adopt::adopt(bundle, nonblocking(control)?)? {
        Some(Adopted {
            supervisor,
            waiting: None,
        }) => supervisor.run().map_err(internal),
        Some(Adopted {
            supervisor,
            waiting: Some(exit),
        }) => supervisor.wait_on(exit).map_err(internal),
        None => Ok(()),
    }
}

/// What the spawner wants done, see [`Kind::Begin`].
struct Begin {
    start: bool,
    idle_cpu: u16,
    lease: Option<OwnedFd>,
    streams: Option<Streams>,
}

/// Takes apart what came with the word to begin: a lease, two streams, both or neither.
fn lease_and_streams(mut fds: Vec<OwnedFd>) -> (Option<OwnedFd>, Option<Streams>) {
    let streams = fds.split_off(fds.len() % 2);
    (fds.pop(), streams.try_into().ok())
}

/// Waits for the word to begin. Nothing behind it is read: that is for the supervisor.
fn begin(control: &OwnedFd) -> Option<Begin> {
    let mut frame = [0; HEADER + 3];
    let mut received = Vec::new();
    let mut length = 0;
    while length < frame.len() {
        match receive(control.as_fd(), &mut frame[length..]) {
            Ok((0, _)) | Err(_) => return None,
            Ok((more, fds)) => {
                length += more;
                received.extend(fds);
            }
        }
    }
    let (head, [start, low, high]) = frame.split_at(HEADER) else {
        return None;
    };
    let (lease, streams) = lease_and_streams(received);
    (head == header(Kind::Begin, 3)).then_some(Begin {
        start: *start == 1,
        idle_cpu: u16::from_le_bytes([*low, *high]),
        lease,
        streams,
    })
}

/// What a monitor has been told, and has made of it so far.
struct Told<'a> {
    bundle: &'a Path,
    /// Whether the program is to be executed as soon as all is set up.
    start: bool,
    /// What the program writes to, of a container whose output passes through.
    streams: Option<Streams>,
    /// Where init writes its steps to.
    pipe: Option<OwnedFd>,
    ahead: Result<Ahead, CreateError>,
}

fn run(
    told: Told<'_>,
    control: &OwnedFd,
    mut explain: Explainer,
    lease: Option<OwnedFd>,
) -> Result<(), Failure> {
    let mut supervisor = setup::setup(told, nonblocking(control)?, &mut explain)?;
    supervisor.lease = lease;
    // Nobody waits for the end of the pipe but the reader of the steps, who must not wait for us.
    drop(explain);
    supervisor.run().map_err(internal)
}

fn internal(errno: Errno) -> Failure {
    Failure::new(125, ErrorKind::Internal, &errno)
}

/// Returns another descriptor of the spawner's socket, which from now on never waits.
fn nonblocking(control: &OwnedFd) -> Result<OwnedFd, Failure> {
    let spawner = control
        .try_clone()
        .map_err(|e| Failure::new(125, ErrorKind::of_io(&e), &e))?;
    let flags = fcntl_getfl(&spawner).map_err(internal)?;
    fcntl_setfl(&spawner, flags | OFlags::NONBLOCK).map_err(internal)?;
    Ok(spawner)
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
