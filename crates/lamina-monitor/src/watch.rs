//! Waiting for changes of folders.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use lamina_fs::{At, Dir, PathError};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::poll;

/// Waits for something to be made, written or moved in folders.
#[derive(Debug)]
pub(crate) struct Watch(OwnedFd);

impl Watch {
    pub(crate) fn new(dir: &Dir) -> Result<Self, PathError> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let watch = Self(fd.at("watch", dir.path())?);
        watch.add(dir)?;
        Ok(watch)
    }

    pub(crate) fn add(&self, dir: &Dir) -> Result<(), PathError> {
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let path = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
        let added = inotify::add_watch(&self.0, path, flags);
        added.map(drop).at("watch", dir.path())
    }

    /// Waits for a change, not longer than `limit`: not everything is seen here.
    pub(crate) fn wait(&self, limit: Duration) {
        let mut fds = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        if matches!(poll::wait(&mut fds, Some(limit)), Ok(true)) {
            let mut space = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(&self.0, &mut space);
            while events.next().is_ok() {}
        }
    }
}
