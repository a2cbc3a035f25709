//! The buffers of a pipe: made once, used again and again.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// The size of a buffer: large enough that hand-overs cost nothing, small enough that what one
/// stage wrote is still in the cache when the next reads it.
pub(crate) const CHUNK: usize = 256 << 10;

/// Buffers that lie about, and how many are on their way.
#[derive(Debug)]
pub(super) struct Buffers {
    /// At most so many may be on their way.
    limit: usize,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The last to come back is the first to be used again: it is still in the cache.
    free: Vec<Vec<u8>>,
    travelling: usize,
}

impl Buffers {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
            arrived: Condvar::new(),
        })
    }

    /// Waits until one more may be on its way, and returns it.
    pub(super) fn take(self: &Arc<Self>) -> Filling {
        let waiting = |state: &mut State| state.travelling >= self.limit;
        let state = self.arrived.wait_while(self.state(), waiting);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.travelling += 1;
        let permit = Permit(Arc::clone(self));
        let free = state.free.pop();
        drop(state);
        Filling {
            bytes: free.unwrap_or_else(|| vec![0; CHUNK]),
            length: 0,
            permit,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The leave to be on the way.
#[derive(Debug)]
struct Permit(Arc<Buffers>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.state().travelling -= 1;
        self.0.arrived.notify_one();
    }
}

/// A buffer that is being filled.
#[derive(Debug)]
pub(super) struct Filling {
    bytes: Vec<u8>,
    length: usize,
    permit: Permit,
}

impl Filling {
    /// Returns the part that is empty.
    pub(super) fn rest(&mut self) -> &mut [u8] {
        &mut self.bytes[self.length..]
    }

    /// Counts bytes that were put there.
    pub(super) fn filled(&mut self, count: usize) {
        self.length += count;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.length == self.bytes.len()
    }

    /// Makes it something that can be read by everybody.
    pub(super) fn send_off(self) -> Chunk {
        let buffer = Buffer {
            bytes: self.bytes,
            length: self.length,
            home: Arc::clone(&self.permit.0),
        };
        Chunk {
            bytes: Bytes::from_owner(buffer),
            _permit: self.permit,
        }
    }
}

/// A buffer on its way through a pipeline. What of its bytes is held on to beyond that does not
/// count as on its way: whoever holds them bounds how many they are.
#[derive(Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    _permit: Permit,
}

impl Chunk {
    /// Returns the bytes it carries.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Bytes that go back when nobody holds them any more.
struct Buffer {
    bytes: Vec<u8>,
    length: usize,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.home.state().free.push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_on_to_stops_nobody_and_comes_back() {
        let buffers = Buffers::new(1);
        let held: Vec<Bytes> = (0..5_u8)
            .map(|number| {
                let mut filling = buffers.take();
                filling.rest()[0] = number;
                filling.filled(1);
                filling.send_off().bytes().slice(..)
            })
            .collect();
        assert!((0..5).all(|number: u8| held[usize::from(number)] == [number][..]));
        assert_eq!(buffers.state().travelling, 0);
        assert!(buffers.state().free.is_empty());
        drop(held);
        assert_eq!(buffers.state().free.len(), 5);
    }
}
