//! Frames to bytes and back. The decoder trusts nothing: lengths are checked before memory is used.

use lamina_types::ErrorKind;

/// The length of a frame's header.
pub const HEADER: usize = 8;
/// The longest payload.
pub const MAX_PAYLOAD: usize = 64 << 10;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// What a frame is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $value,)* }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($value => Some(Self::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    /// Monitor: init exists and waits. JSON of [`crate::State`], with a pidfd of init attached.
    Created = 1,
    /// Client: let init execute the program.
    Start = 2,
    /// Monitor: the program has been executed. Empty.
    Started = 3,
    /// Monitor: it could not be created or started. JSON of [`super::Failure`]. Client, to a monitor
    /// that waits to start its container again: the next bundle could not be made.
    Failed = 4,
    /// Client: bytes for the program's stdin, within the window.
    Stdin = 5,
    /// Client: nothing more will come.
    StdinClose = 6,
    /// Monitor: credit for input, u32 LE bytes.
    StdinTaken = 7,
    /// Monitor: bytes the program wrote to stdout, or to its terminal.
    Stdout = 8,
    /// Monitor: bytes the program wrote to stderr.
    Stderr = 9,
    /// Monitor: this many bytes of output were dropped here, u64 LE.
    Gap = 10,
    /// Client: the terminal's size, rows and columns as u16 LE.
    Resize = 11,
    /// Client: send a signal to init, one byte.
    Signal = 12,
    /// Client: send me the output from now on.
    Attach = 13,
    /// Client: I am going, and leave the container to itself.
    Detach = 14,
    /// Monitor: init has ended and is recorded. JSON of [`crate::ExitRecord`].
    Exit = 15,
    /// Client: I have the end and will clean up.
    Taken = 16,
    /// Spawner, first of all, or client, to a monitor that waits to start its container again: the
    /// bundle is written, and here is the operation's lock, if there is one. One byte: 1 if the program is to be executed as soon as all is set up, without a
    /// [`Kind::Start`]. Then, as u16 LE, the CPU that the spawner leaves by waiting.
    Begin = 17,
    /// Client, after [`Kind::Taken`]: what is left is the monitor's to unlink. JSON of
    /// [`super::Rest`], with the lock of the operation that removes the container attached.
    Dispose = 18,
    /// Client, to a monitor that waits to start its container again: it is not to be. The monitor
    /// ends. Empty; whoever sends it has left a mark in the state directory first.
    Halt = 19,
    /// Client: the container has got another name, this one.
    Rename = 24,
}

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its content.
    pub payload: &'a [u8],
}

/// Why bytes are not frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A kind this side does not know.
    #[error("frame of unknown kind {0}")]
    Kind(u8),
    /// A length above [`MAX_PAYLOAD`].
    #[error("frame of {0} bytes, the most is 65536")]
    Length(u32),
    /// The reserved bytes of a header are not zero.
    #[error("frame with a bad header")]
    Reserved,
    /// A payload that does not fit its kind, or a kind that does not fit the time.
    #[error("unexpected frame {0:?}")]
    Unexpected(Kind),
}

impl ProtocolError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::DataLoss
    }
}

/// Returns the header of a frame of `kind` with `length` bytes.
///
/// Callers split what is longer than [`MAX_PAYLOAD`]; a longer length would be refused.
pub fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    debug_assert!(length <= MAX_PAYLOAD, "{length}");
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    [kind as u8, 0, 0, 0, a, b, c, d]
}

/// Cuts a stream of bytes into frames.
///
/// Holds one incomplete frame at most, if it is emptied after every [`Decoder::push`].
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Adds bytes as they came from the socket.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next whole frame, or `None` until more bytes come.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, ProtocolError> {
        let rest = &self.bytes[self.start..];
        let Some((head, body)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [kind, reserved @ .., a, b, c, d] = *head;
        let kind = Kind::from_byte(kind).ok_or(ProtocolError::Kind(kind))?;
        if reserved != [0; 3] {
            return Err(ProtocolError::Reserved);
        }
        let length = u32::from_le_bytes([a, b, c, d]);
        let payload_length = match usize::try_from(length) {
            Ok(length) if length <= MAX_PAYLOAD => length,
            _ => return Err(ProtocolError::Length(length)),
        };
        if body.len() < payload_length {
            return Ok(None);
        }
        let from = self.start + HEADER;
        self.start = from + payload_length;
        let payload = &self.bytes[from..self.start];
        Ok(Some(Frame { kind, payload }))
    }

    /// Gives back memory when nothing waits, so that an idle monitor stays small.
    pub(crate) fn shrink(&mut self) {
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            self.bytes.shrink_to(512);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(frames: &[(Kind, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, payload) in frames {
            bytes.extend_from_slice(&header(*kind, payload.len()));
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    #[test]
    fn lengths_are_bounded_before_memory_is_used() {
        for (length, accepted) in [
            (0, true),
            (65_535, true),
            (65_536, true),
            (65_537, false),
            (u32::MAX, false),
            (1 << 31, false),
        ] {
            let mut decoder = Decoder::default();
            let [a, b, c, d] = u32::to_le_bytes(length);
            decoder.push(&[Kind::Stdout as u8, 0, 0, 0, a, b, c, d]);
            let waits = match decoder.next_frame() {
                Ok(frame) => frame.is_none() || length == 0,
                Err(error) => {
                    assert_eq!(error, ProtocolError::Length(length));
                    false
                }
            };
            assert_eq!(waits, accepted, "{length}");
            if accepted {
                decoder.push(&vec![7; length as usize]);
                if length > 0 {
                    let frame = decoder.next_frame().unwrap().unwrap();
                    assert_eq!(frame.payload.len(), length as usize);
                }
            }
        }
    }

    #[test]
    fn unknown_kinds_and_reserved_bytes_are_refused() {
        for (bytes, error) in [
            ([0, 0, 0, 0, 0, 0, 0, 0], ProtocolError::Kind(0)),
            ([99, 0, 0, 0, 0, 0, 0, 0], ProtocolError::Kind(99)),
            ([1, 0, 1, 0, 0, 0, 0, 0], ProtocolError::Reserved),
        ] {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            assert_eq!(decoder.next_frame(), Err(error));
        }
    }

    fn frames() -> impl Strategy<Value = Vec<(Kind, Vec<u8>)>> {
        let kind = prop::sample::select(Kind::ALL);
        let payload = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            Just(vec![1; MAX_PAYLOAD - 1]),
            Just(vec![2; MAX_PAYLOAD]),
        ];
        prop::collection::vec((kind, payload), 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_cutting_gives_the_same_frames(sent in frames(), cut in 1_usize..70_000) {
            let bytes = encode(&sent);
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    got.push((frame.kind, frame.payload.to_vec()));
                }
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }
}
