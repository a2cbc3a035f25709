//! Between two runs: whether the container is started again, and the wait until then.
//!
//! ```text
//! end ─► plan_restart ─► back_off: poll clients ─ time is up ─► lamina container start --again ID
//!                           ▲                                     │ writes the next bundle
//!                           │ the start failed                    ▼
//!                           └──────────────────────────────── Begin, or GiveUp, or its end
//! ```
//! Lock, socket, log and clients stay. What the next run is, the engine says: the command is its,
//! and hands the bundle over on the socket. Its end is seen by a pipe that only it holds.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use lamina_runtime::{Ahead, Expected};
use lamina_types::ErrorKind;
use lamina_types::explain::Explainer;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::client::{Request, Role};
use super::container::{self, Wanted};
use super::ending::execute;
use super::lease_and_streams;
use super::setup::{self, Made};
use super::supervise::Supervisor;
use crate::poll;
use crate::protocol::socket::MONITOR_SOCK;
use crate::protocol::{Failure, Kind};
use crate::record::{ExitRecord, STOPPED, Status};
use crate::time::Time;

/// The wait after the first failed run; it doubles with each that follows.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// After a run of this length the wait is the shortest again.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// What ends a wait.
enum Word {
    /// A client has the next bundle; whether the program is executed at once.
    Begin { client: usize, start: bool },
    /// No bundle could be made.
    GiveUp(Failure),
    /// Somebody stops the container.
    Halt,
    /// The time is up.
    Due,
}

impl Supervisor {
    /// Decides whether the container is started again after the run that `record` is about, which
    /// then says so. Returns the wait.
    pub(super) fn plan_restart(&mut self, record: &mut ExitRecord) -> Option<Duration> {
        if self.config.remove || self.config.joins.is_some() {
            return None;
        }
        // What was updated meanwhile counts.
        let config = setup::present_config(&self.bundle);
        let policy = config.map_or(self.config.restart, |config| config.restart);
        // Whoever starts a container is told if that fails; only what ran once is kept running.
        let never_ran = record.started_at.is_none() && self.state.restarts == 0;
        let is_wanted = self.is_to_restart || policy.restarts(record.code, self.state.restarts);
        if never_ran || !is_wanted {
            return None;
        }
        // Asked last: whoever stops a container leaves the mark before the signal.
        if self.state_dir.exists(STOPPED).unwrap_or(false) {
            return None;
        }
        let ran = record.started_at.map_or(Duration::ZERO, |started| {
            let ran = record
                .finished_at
                .timestamp()
                .duration_since(started.timestamp());
            Duration::try_from(ran).unwrap_or_default()
        });
        self.delay = next_delay(self.delay, ran);
        record.restarts = self.state.restarts.saturating_add(1);
        record.next_start = Some(later(record.finished_at, self.delay));
        Some(self.delay)
    }

    /// Waits, and has the container started again, until it runs or is not to run any more.
    /// Returns whether it runs.
    pub(super) fn back_off(
        &mut self,
        mut record: ExitRecord,
        delay: Duration,
    ) -> Result<bool, Errno> {
        self.rest_between_runs();
        let mut deadline = Some(Instant::now() + delay);
        let mut command: Option<OwnedFd> = None;
        loop {
            let failure = match self.wait_for_word(deadline, command.as_ref())? {
                Word::Halt => {
                    record.next_start = None;
                    self.tell(&record);
                    return Ok(false);
                }
                Word::Begin { client, start } => match self.begin_again(client, start) {
                    Ok(()) => return Ok(true),
                    Err(failure) => failure,
                },
                Word::Due => match self.execute_restart() {
                    Ok(pipe) => {
                        deadline = None;
                        command = Some(pipe);
                        continue;
                    }
                    Err(errno) => Failure::new(125, ErrorKind::Internal, &errno),
                },
                Word::GiveUp(failure) => failure,
            };
            command = None;
            match self.failed_again(&mut record, failure) {
                Some(delay) => deadline = Some(Instant::now() + delay),
                None => return Ok(false),
            }
        }
    }

    /// Goes on with the wait of a monitor that was killed over it.
    pub(super) fn wait_on(mut self, exit: ExitRecord) -> Result<(), Errno> {
        let now = Time::now().timestamp();
        let left = exit
            .next_start
            .map(|next| next.timestamp().duration_since(now));
        let left = left.and_then(|left| Duration::try_from(left).ok());
        let left = left.unwrap_or_default().min(LONGEST);
        let groups_gone = self.container.remove_cgroup();
        match self.back_off(exit, left)? {
            true => self.run(),
            false => {
                self.leave(groups_gone);
                Ok(())
            }
        }
    }

    /// Lets go of what belonged to the run that has ended.
    fn rest_between_runs(&mut self) {
        self.stdin = None;
        self.lease = None;
        self.failure = None;
        self.is_starting = false;
        self.let_go_of_clients();
    }

    /// Whoever was there for one run has its end.
    fn let_go_of_clients(&mut self) {
        for client in &mut self.clients {
            client.drop_input();
            if client.role == Role::Foreground {
                client.role = Role::Watching;
            }
        }
    }

    /// Records a start that failed as a run that did. Returns the wait before the next; without
    /// one, everybody has been told.
    fn failed_again(&mut self, record: &mut ExitRecord, failure: Failure) -> Option<Duration> {
        self.state.restarts = record.restarts;
        record.code = failure.code;
        record.signal = None;
        record.unknown = false;
        record.oom_killed = false;
        record.finished_at = Time::now();
        record.error = Some(failure.message.clone());
        record.next_start = None;
        // What has run before has not run this time.
        let mut told = ExitRecord {
            started_at: None,
            ..record.clone()
        };
        // Without its bundle nobody can reach it any more, the next start neither.
        let is_reachable = self.bundle.exists(MONITOR_SOCK).unwrap_or(true);
        let delay = match is_reachable {
            true => self.plan_restart(&mut told),
            false => None,
        };
        record.restarts = told.restarts;
        record.next_start = told.next_start;
        self.publish(record);
        self.failure = Some(failure);
        self.tell(&told);
        self.let_go_of_clients();
        delay
    }

    /// Executes the command that starts the container. The pipe it returns hangs up when the
    /// command has ended.
    fn execute_restart(&self) -> Result<OwnedFd, Errno> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        execute(&self.config.restart_argv, &[theirs.as_fd()])?;
        Ok(ours)
    }

    /// Serves clients until one of them, the clock or the end of the command decides.
    fn wait_for_word(
        &mut self,
        deadline: Option<Instant>,
        command: Option<&OwnedFd>,
    ) -> Result<Word, Errno> {
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let has_ended = match self.wait_between_runs(left, command)? {
                None => return Ok(Word::Due),
                Some(has_ended) => has_ended,
            };
            self.accept();
            if let Some(word) = self.hear_clients() {
                return Ok(word);
            }
            // What it had said was heard just now.
            if has_ended {
                let text = "the command that starts the container again has failed";
                let failure = Failure::text(125, ErrorKind::Internal, text.to_owned());
                return Ok(Word::GiveUp(failure));
            }
        }
    }

    /// Waits for something to do; `None` when the time is up, else whether the command has ended.
    fn wait_between_runs(
        &self,
        left: Option<Duration>,
        command: Option<&OwnedFd>,
    ) -> Result<Option<bool>, Errno> {
        let mut fds = Vec::with_capacity(8);
        let listener = self.listener.as_ref();
        for fd in command.into_iter().chain(listener) {
            fds.push(PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
        }
        for client in &self.clients {
            let flags = PollFlags::IN | client.waits_for();
            fds.push(PollFd::from_borrowed_fd(client.socket.as_fd(), flags));
        }
        if !poll::wait(&mut fds, left)? {
            return Ok(None);
        }
        Ok(Some(command.is_some() && !fds[0].revents().is_empty()))
    }

    /// Sends and receives what is possible; returns the first word that decides.
    fn hear_clients(&mut self) -> Option<Word> {
        let mut buffer = [0; 4096];
        let mut word = None;
        for (index, client) in self.clients.iter_mut().enumerate() {
            if client.is_behind() {
                client.flush();
            }
            if !poll::is_readable(client.socket.as_fd()) {
                continue;
            }
            for request in client.receive(&mut buffer) {
                match request {
                    Request::Begin { start } => {
                        word = Some(Word::Begin {
                            client: index,
                            start,
                        });
                    }
                    Request::GiveUp(failure) => word = Some(Word::GiveUp(failure)),
                    Request::Halt => word = Some(Word::Halt),
                    Request::Detach => client.role = Role::Watching,
                    // The next bundle says its name.
                    Request::Rename(_) => {}
                    // There is nothing it could be done to.
                    Request::Start | Request::Resize { .. } | Request::Signal(_) => {}
                }
            }
            client.drop_input();
            if word.is_some() {
                return word;
            }
        }
        self.clients.retain(|client| !client.gone);
        None
    }

    /// Makes the container of the bundle that a client has written.
    fn begin_again(&mut self, client: usize, start: bool) -> Result<(), Failure> {
        let (lease, streams) = lease_and_streams(self.clients[client].take_descriptors());
        self.lease = lease;
        self.streams = streams.or(self.streams.take());
        self.clients[client].role = Role::Foreground;
        let explain = &mut Explainer::off();
        let documents = setup::next_documents(&self.bundle)?;
        let ahead = Ahead::prepare(Expected::default(), explain);
        let wanted = Wanted {
            start,
            streams: self.streams.as_ref(),
            pipe: None,
            ahead: ahead.map_err(|error| container::failed(&error))?,
        };
        let made = setup::make(&self.bundle, &self.state_dir, &documents, wanted, explain)?;
        let Made {
            container,
            ours,
            state,
        } = made;
        self.config = documents.config;
        self.container = container;
        self.state = state;
        self.stdin = ours.stdin;
        self.outputs = ours.outputs;
        self.is_starting = start;
        self.is_to_restart = false;
        self.failure = None;
        if self.config.restarts == 0 {
            // Somebody has started it.
            self.delay = Duration::ZERO;
        }
        debug_assert!(self.state.status == Status::Created, "{:?}", self.state);
        let json = serde_json::to_vec(&self.state).unwrap_or_default();
        for client in &mut self.clients {
            client.send(Kind::Created, &json, Some(self.container.pidfd.as_fd()));
        }
        Ok(())
    }
}

fn later(time: Time, delay: Duration) -> Time {
    let later = time.timestamp().checked_add(delay);
    later.map_or(time, Time::from_timestamp)
}

fn next_delay(former: Duration, ran: Duration) -> Duration {
    if ran >= GOOD_RUN || former.is_zero() {
        return SHORTEST;
    }
    (former * 2).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_to_a_minute_and_a_good_run_resets_it() {
        let mut delay = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..12 {
            delay = next_delay(delay, Duration::from_secs(1));
            waits.push(delay.as_millis());
        }
        let doubled = [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200];
        assert_eq!(waits[..10], doubled);
        assert_eq!(waits[10..], [60_000, 60_000]);
        assert_eq!(next_delay(delay, GOOD_RUN), SHORTEST);
    }
}
