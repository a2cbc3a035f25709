//! The end of a container: reaped, recorded, told, cleaned up, in that order.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use lamina_fs::{Dir, Durability};
use lamina_sys::detached::{Detached, spawn};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use super::client::Role;
use super::end::End;
use super::stdio::PIPE_SIZE;
use super::supervise::Supervisor;
use crate::poll;
use crate::protocol::socket::MONITOR_SOCK;
use crate::protocol::{Kind, Rest};
use crate::record::{EXIT_JSON, ExitRecord, Status, UNKNOWN_CODE, UNKNOWN_END};
use crate::time::Time;

/// How long clients other than the foreground one are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Does all that is left once init has ended. Returns whether the container runs again.
    pub(super) fn end(&mut self) -> Result<bool, Errno> {
        let end = self.container.end(&self.state.init)?;
        let finished_at = Time::now();
        // It may have ended in the same instant in which it was executed.
        self.hear_of_start();
        self.container.kill_leftovers();
        self.end_checks();
        self.drain();
        self.stop_packing();
        let mut record = self.record(end, finished_at);
        let delay = self.plan_restart(&mut record);
        // Before anybody is told: who asks for the events then finds the end among them.
        self.note_end(&record);
        if self.config.remove {
            // Its record goes with it, and is for a client that is gone only.
            self.tell(&record);
            self.publish(&record);
        } else {
            self.publish(&record);
            self.tell(&record);
        }
        self.container.unmount();
        // Under the lock still: the next run makes control groups of the same names.
        let groups_gone = self.container.remove_cgroup();
        if let Some(delay) = delay
            && self.back_off(record, delay)?
        {
            return Ok(true);
        }
        self.leave(groups_gone);
        Ok(false)
    }

    /// Lets go of everything.
    pub(super) fn leave(&mut self, groups_gone: bool) {
        self.retire();
        self.linger();
        if let Some((rest, lease)) = self.rest.take() {
            self.note_removal();
            if groups_gone || self.container.remove_cgroup_patiently().is_ok() {
                let _ = dispose(&rest);
            }
            // Where something is left, so is the operation's entry, and the next command goes on.
            drop(lease);
        }
        self.clean_up();
    }

    /// Reads what is left in the pipes. Every writer in the container's pid namespace is dead, so
    /// this ends; a stranger who was handed the pipe is listened to for one pipe's length at most.
    fn drain(&mut self) {
        for index in 0..self.outputs.len() {
            let mut total = 0;
            while total <= PIPE_SIZE {
                match self.carry(index) {
                    0 => break,
                    length => total += length,
                }
            }
        }
        self.outputs.clear();
        self.log.finish();
    }

    fn record(&self, end: End, finished_at: Time) -> ExitRecord {
        let failed = self
            .failure
            .as_ref()
            .filter(|_| self.state.started_at.is_none());
        let unknown = failed.is_none() && end == End::Unknown;
        let code = failed.map(|failure| failure.code).or(end.code());
        let error = failed.map(|failure| failure.message.clone());
        ExitRecord {
            version: ExitRecord::VERSION,
            code: code.unwrap_or(UNKNOWN_CODE),
            signal: end.signal(),
            unknown,
            oom_killed: self.container.was_oom_killed(),
            started_at: self.state.started_at,
            finished_at,
            error: error.or(unknown.then(|| UNKNOWN_END.to_owned())),
            init: self.state.init.clone(),
            log_bytes_lost: self.log.lost(),
            restarts: self.state.restarts,
            next_start: None,
        }
    }

    /// Writes the records. What the disk refuses is lost to later commands, which then say that the
    /// exit is not known; clients that listen hear it all the same.
    pub(super) fn publish(&mut self, record: &ExitRecord) {
        // A record that goes with the run, as that of an execution does, outlives no power cut.
        let durability = match self.config.remove || self.config.joins.is_some() {
            true => Durability::Volatile,
            false => Durability::Durable,
        };
        let json = serde_json::to_vec(record).unwrap_or_default();
        let _ = self.state_dir.replace(EXIT_JSON, &json, 0o600, durability);
        self.state.status = Status::Exited;
        if !self.config.remove {
            let _ = self.publish_state();
        }
    }

    /// Tells the clients of the end; not those that see what comes after it.
    pub(super) fn tell(&mut self, record: &ExitRecord) {
        let exit = serde_json::to_vec(record).unwrap_or_default();
        let failure = self
            .failure
            .as_ref()
            .filter(|_| record.started_at.is_none());
        let failure = failure.and_then(|failure| serde_json::to_vec(failure).ok());
        for client in &mut self.clients {
            client.tell_gap();
            if record.next_start.is_some() && client.role == Role::Attached {
                continue;
            }
            match &failure {
                Some(failure) if client.role == Role::Foreground => {
                    client.send(Kind::Failed, failure, None);
                }
                _ => client.send(Kind::Exit, &exit, None),
            }
        }
    }

    /// Makes room for another monitor of the same container: a client may take its time.
    fn retire(&mut self) {
        if self.listener.take().is_some() {
            // The whole bundle may be gone by now.
            let _ = unlinkat(&self.bundle, MONITOR_SOCK, AtFlags::empty());
        }
        self.lock = None;
        self.lease = None;
        // Whoever reads them sees their end.
        self.streams = None;
    }

    /// Stays until the foreground client has everything and says so or goes away, and the others
    /// have had their time.
    fn linger(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.clients.retain(|client| match client.role {
                Role::Foreground => !client.gone && client.rest.is_none(),
                _ => client.is_behind() && !left.is_zero(),
            });
            if self.clients.is_empty() {
                return;
            }
            let others = self.clients.iter().any(|c| c.role != Role::Foreground);
            let Ok(ready) = self.wait_for_clients(others.then_some(left)) else {
                return;
            };
            for (client, flags) in self.clients.iter_mut().zip(ready) {
                if flags.contains(PollFlags::OUT) {
                    client.flush();
                }
                if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                    client.receive(&mut self.buffer);
                }
                self.is_taken |= client.has_taken;
                self.rest = client.rest.take().or(self.rest.take());
            }
        }
    }

    fn wait_for_clients(&self, timeout: Option<Duration>) -> Result<Vec<PollFlags>, Errno> {
        let fds = self.clients.iter().map(|client| {
            let flags = PollFlags::IN | client.waits_for();
            PollFd::from_borrowed_fd(client.socket.as_fd(), flags)
        });
        let mut fds: Vec<PollFd<'_>> = fds.collect();
        poll::wait(&mut fds, timeout)?;
        Ok(fds.iter().map(PollFd::revents).collect())
    }

    /// Executes the cleanup command, unless a client took that upon itself.
    fn clean_up(&self) {
        if !self.is_taken {
            // If it cannot be executed, the next command finds the record and does the same.
            let _ = execute(&self.config.cleanup_argv, &[]);
        }
    }
}

/// Executes a command of the engine's, if there is one, with these descriptors.
///
/// Through the same read-only file as this process: it needs no path that could be replaced.
pub(super) fn execute(argv: &[String], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    if argv.is_empty() {
        return Err(Errno::NOENT);
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let program = openat(CWD, c"/proc/self/exe", flags, Mode::empty())?;
    let words = argv.iter().map(|word| CString::new(word.as_str()));
    let words: Result<Vec<CString>, _> = words.collect();
    let words = words.map_err(|_| Errno::INVAL)?;
    let words: Vec<_> = words.iter().map(CString::as_c_str).collect();
    spawn(&Detached {
        program: program.as_fd(),
        argv: &words,
        environment: &[],
        descriptors,
    })
}

/// Unlinks what a client has moved out of sight and then the entry of its operation, as far as
/// everything before could be removed.
fn dispose(rest: &Rest) -> bool {
    rest.trees.iter().chain([&rest.entry]).all(|tree| {
        let (Some(parent), Some(name)) = (tree.parent(), tree.file_name()) else {
            return false;
        };
        match Dir::open(parent) {
            Ok(parent) => parent.remove_tree(name).is_ok(),
            Err(error) => error.is_not_found(),
        }
    })
}
