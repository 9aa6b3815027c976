//! The run socket's frames: u32 length (big endian), u8 kind, JSON payload (docs/worker-protocol.md, "Run socket").
//!
//! Invariant: the header alone decides whether a payload is read; no allocation depends on an unchecked length.

use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Length and kind.
pub const HEADER_BYTES: usize = 5;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $limit:expr;)+) => {
        /// The kinds of frames, with their numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $number),+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The kind with this number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }

            /// Largest payload in bytes.
            #[must_use]
            pub const fn limit(self) -> usize {
                match self { $(Self::$name => $limit),+ }
            }
        }
    };
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

kinds! {
    /// The child can take a call.
    Ready = 1, 4 * KIB;
    /// What to run.
    Call = 2, 16 * MIB;
    /// Log lines.
    Log = 3, MIB;
    /// All variables.
    Variables = 4, MIB;
    /// How far it is.
    Progress = 5, 64 * KIB;
    /// User code asks the platform.
    SdkRequest = 6, 16 * MIB;
    /// The answer.
    SdkReply = 7, 16 * MIB;
    /// How the call ended.
    Result = 8, 64 * MIB;
    /// The call has to end.
    Cancel = 9, 4 * KIB;
}

/// What is wrong with a frame. The run ends as `ProtocolError`.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The number names no kind.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// The kind exists, but the child does not send it.
    #[error("a child does not send {0:?} frames")]
    WrongDirection(Kind),
    /// The payload is larger than its kind allows.
    #[error("{kind:?} frame of {bytes} bytes, at most {} are allowed", kind.limit())]
    TooLarge {
        /// Its kind.
        kind: Kind,
        /// Its size.
        bytes: usize,
    },
    /// The payload is not the object that the kind describes.
    #[error("{kind:?} frame: {reason}")]
    Malformed {
        /// Its kind.
        kind: Kind,
        /// What is wrong.
        reason: String,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// The socket failed.
    #[error("the run socket failed: {0}")]
    Socket(#[from] std::io::Error),
}

/// Takes one frame off the front of `buffer`; `None` when it is not complete yet.
///
/// # Errors
/// As soon as the header is there and wrong, before the payload is waited for.
pub fn take_frame(buffer: &mut BytesMut) -> Result<Option<(Kind, Bytes)>, FrameError> {
    let Some((header, _)) = buffer.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let [a, b, c, d, number] = *header;
    let bytes = u32::from_be_bytes([a, b, c, d]) as usize;
    let kind = Kind::from_number(number).ok_or(FrameError::UnknownKind(number))?;
    if bytes > kind.limit() {
        return Err(FrameError::TooLarge { kind, bytes });
    }
    if buffer.len() < HEADER_BYTES + bytes {
        // Grow in steps: a header alone does not make us hold 64 MiB.
        buffer.reserve((HEADER_BYTES + bytes - buffer.len()).min(MIB));
        return Ok(None);
    }
    buffer.advance(HEADER_BYTES);
    Ok(Some((kind, buffer.split_to(bytes).freeze())))
}

/// Encodes one frame.
///
/// # Errors
/// [`FrameError::TooLarge`] and [`FrameError::Malformed`], before anything was sent.
pub fn encode(kind: Kind, payload: &impl Serialize) -> Result<Bytes, FrameError> {
    let mut frame = vec![0; HEADER_BYTES];
    serde_json::to_writer(&mut frame, payload)
        .map_err(|error| FrameError::Malformed { kind, reason: error.to_string() })?;
    let bytes = frame.len() - HEADER_BYTES;
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= kind.limit());
    let Some(length) = length else { return Err(FrameError::TooLarge { kind, bytes }) };
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame[4] = kind as u8;
    Ok(Bytes::from(frame))
}

/// Cuts a stream into frames. Reading is cancel-safe: what was read stays in the buffer.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    buffer: BytesMut,
}

impl FrameBuffer {
    /// The next frame, or `None` at the end of the stream.
    pub(crate) async fn next(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<(Kind, Bytes)>, FrameError> {
        loop {
            if let Some(frame) = take_frame(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(16 * KIB);
            match reader.read_buf(&mut self.buffer).await {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(FrameError::Truncated),
                Ok(_) => {}
                // A child that dies with unread data in its socket resets it.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether nothing waits that was read and not taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(payload.len()).expect("small").to_be_bytes().to_vec();
        bytes.push(kind);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn all(mut buffer: BytesMut) -> Vec<(Kind, Bytes)> {
        std::iter::from_fn(|| take_frame(&mut buffer).expect("good frames")).collect()
    }

    #[test]
    fn the_header_alone_refuses_what_is_too_large() {
        for kind in Kind::ALL {
            let mut header = u32::try_from(kind.limit() + 1).expect("fits").to_be_bytes().to_vec();
            header.push(*kind as u8);
            let outcome = take_frame(&mut BytesMut::from(header.as_slice()));
            assert!(matches!(outcome, Err(FrameError::TooLarge { .. })), "{kind:?}");

            let mut header = u32::try_from(kind.limit()).expect("fits").to_be_bytes().to_vec();
            header.push(*kind as u8);
            let mut buffer = BytesMut::from(header.as_slice());
            assert!(take_frame(&mut buffer).expect("allowed").is_none());
            assert!(buffer.capacity() <= 2 * MIB, "a header must not make us hold its payload");
        }
        assert!(matches!(
            take_frame(&mut BytesMut::from(&frame(77, b"{}")[..])),
            Err(FrameError::UnknownKind(77))
        ));
    }

    proptest! {
        #[test]
        fn a_split_anywhere_decodes_the_same(
            payloads in proptest::collection::vec((1_u8..10, proptest::collection::vec(any::<u8>(), 0..100)), 1..6),
            cuts in proptest::collection::vec(1_usize..40, 1..20),
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|(kind, payload)| frame(*kind, payload)).collect();
            let whole = all(BytesMut::from(&stream[..]));
            prop_assert_eq!(whole.len(), payloads.len());

            let (mut buffer, mut parts, mut at) = (BytesMut::new(), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(stream.len());
                buffer.extend_from_slice(&stream[at..end]);
                while let Some(frame) = take_frame(&mut buffer).expect("good frames") {
                    parts.push(frame);
                }
                at = end;
                if at == stream.len() {
                    break;
                }
            }
            prop_assert_eq!(parts, whole);
        }
    }
}
