//! Frames: one message each, with its place in the stream and a digest. Sans-I/O: bytes in, messages out.
//!
//! ```text
//! kind: u8 | place: u64 | length: u32 | payload | digest: [u8; 32]        numbers are big-endian
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::wire::{Header, MAGIC, Malformed, Message, VERSION};

/// Kind, place and length.
const HEAD: usize = 1 + 8 + 4;

const DIGEST: usize = 32;

/// Magic and version.
pub(crate) const PREAMBLE: usize = MAGIC.len() + 2;

/// What every connection under TLS begins with.
const TLS_HANDSHAKE: u8 = 22;

/// Who speaks. The two directions have keys of their own, so that nothing can be sent back where it came from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Sender,
    Receiver,
}

/// Why bytes are not the frames of this stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("this is not a replication stream")]
    Foreign,
    #[error(
        "it speaks TLS, and this node takes streams in the clear\nhint: all nodes need the same `--streams`"
    )]
    Tls,
    #[error("the stream is of version {theirs}, this node understands version {VERSION}")]
    Version { theirs: u16 },
    #[error("frame {place} claims {length} bytes, more than the {max} that it may have")]
    Oversize { place: u64, length: usize, max: usize },
    #[error("frame {found} came where frame {expected} was due")]
    OutOfOrder { expected: u64, found: u64 },
    #[error("frame {place} was damaged on its way, or belongs to another stream")]
    Damaged { place: u64 },
    #[error(
        "the stream ended with {found} bytes where its end says {announced}, or with other bytes"
    )]
    WrongEnd { announced: u64, found: u64 },
    #[error("frame {place} holds {what}")]
    Malformed { place: u64, what: Malformed },
}

/// What ties frames to their stream and to each other.
#[derive(Debug)]
struct Chain {
    side: Side,
    key: [u8; 32],
    place: u64,
    /// Over the digests of all chunks so far: as good as one over their bytes, which are in the digests, and free.
    chunks: blake3::Hasher,
    length: u64,
}

impl Chain {
    fn new(side: Side) -> Self {
        Self { side, key: key(side, &[]), place: 0, chunks: blake3::Hasher::new(), length: 0 }
    }

    fn bind(&mut self, header: &Header, nonce: &[u8; 16]) {
        let header = Message::Header(Box::new(header.clone())).payload();
        self.key = key(self.side, &[header.as_ref(), nonce].concat());
    }

    /// The digest of the next frame, which is counted.
    fn digest(&mut self, kind: u8, payload: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[kind]).update(&self.place.to_be_bytes()).update(payload);
        self.place += 1;
        hasher.finalize()
    }

    /// Keeps account of the chunks since the stream began, or began again.
    fn account(&mut self, message: &Message, digest: blake3::Hash) {
        match message {
            Message::Chunk(bytes) => {
                self.chunks.update(digest.as_bytes());
                self.length += bytes.len() as u64;
            }
            Message::Packed { length, .. } => {
                self.chunks.update(digest.as_bytes());
                self.length += u64::from(*length);
            }
            Message::Restart => (self.chunks, self.length) = (blake3::Hasher::new(), 0),
            Message::Header(_)
            | Message::Have { .. }
            | Message::Go { .. }
            | Message::Refuse { .. }
            | Message::End { .. }
            | Message::Done { .. }
            | Message::KeepAlive => {}
        }
    }

    fn end(&self) -> Message {
        Message::End { length: self.length, hash: self.chunks.finalize().into() }
    }
}

fn key(side: Side, stream: &[u8]) -> [u8; 32] {
    match side {
        Side::Sender => {
            blake3::derive_key("flocker replication 1, from sender to receiver", stream)
        }
        Side::Receiver => {
            blake3::derive_key("flocker replication 1, from receiver to sender", stream)
        }
    }
}

/// A frame, ready to be written.
pub(crate) type Encoded = bytes::buf::Chain<bytes::buf::Chain<Bytes, Bytes>, Bytes>;

/// Makes frames out of messages.
#[derive(Debug)]
pub(crate) struct Encoder(Chain);

impl Encoder {
    pub(crate) fn new(side: Side) -> Self {
        Self(Chain::new(side))
    }

    /// What goes before the first frame.
    pub(crate) fn preamble() -> Bytes {
        let mut out = BytesMut::with_capacity(PREAMBLE);
        out.put_slice(&MAGIC);
        out.put_u16(VERSION);
        out.freeze()
    }

    /// From now on frames belong to this stream and no other.
    pub(crate) fn bind(&mut self, header: &Header, nonce: &[u8; 16]) {
        self.0.bind(header, nonce);
    }

    pub(crate) fn encode(&mut self, message: &Message) -> Encoded {
        let payload = message.payload();
        let mut head = BytesMut::with_capacity(HEAD);
        head.put_u8(message.kind());
        head.put_u64(self.0.place);
        head.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        let digest = self.0.digest(message.kind(), &payload);
        self.0.account(message, digest);
        head.freeze().chain(payload).chain(Bytes::copy_from_slice(digest.as_bytes()))
    }

    /// The end of the chunks so far.
    pub(crate) fn encode_end(&mut self) -> Encoded {
        let end = self.0.end();
        self.encode(&end)
    }
}

/// Makes messages out of bytes. Only what was verified comes out.
#[derive(Debug)]
pub(crate) struct Decoder {
    chain: Chain,
    begun: bool,
    buffer: BytesMut,
}

impl Decoder {
    pub(crate) fn new(side: Side) -> Self {
        Self { chain: Chain::new(side), begun: false, buffer: BytesMut::new() }
    }

    /// From now on only frames of this stream are taken.
    pub(crate) fn bind(&mut self, header: &Header, nonce: &[u8; 16]) {
        self.chain.bind(header, nonce);
    }

    /// Where further bytes go.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next message, or `None` when more bytes are needed. After an error the stream is over.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, FrameError> {
        if !self.begun {
            let Some(begun) = self.preamble()? else { return Ok(None) };
            self.begun = begun;
        }
        let Some(mut head) = self.buffer.get(..HEAD) else {
            self.buffer.reserve(HEAD);
            return Ok(None);
        };
        let (kind, place, length) = (head.get_u8(), head.get_u64(), head.get_u32() as usize);
        let max = Message::payload_max(kind);
        if place != self.chain.place {
            return Err(FrameError::OutOfOrder { expected: self.chain.place, found: place });
        }
        if length > max {
            return Err(FrameError::Oversize { place, length, max });
        }
        let whole = HEAD + length + DIGEST;
        if self.buffer.len() < whole {
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(whole).freeze();
        frame.advance(HEAD);
        let payload = frame.split_to(length);
        let digest = self.chain.digest(kind, &payload);
        // `Hash` compares with bytes in constant time; that costs nothing and leaves no question.
        if <[u8; DIGEST]>::try_from(frame.as_ref()).ok().is_none_or(|found| digest != found) {
            return Err(FrameError::Damaged { place });
        }
        let message =
            Message::read(kind, payload).map_err(|what| FrameError::Malformed { place, what })?;
        self.check_end(&message)?;
        self.chain.account(&message, digest);
        Ok(Some(message))
    }

    fn preamble(&mut self) -> Result<Option<bool>, FrameError> {
        // A foreign service is recognised by its first bytes, however few they are.
        let known = self.buffer.len().min(MAGIC.len());
        if self.buffer.first() == Some(&TLS_HANDSHAKE) {
            return Err(FrameError::Tls);
        }
        if self.buffer[..known] != MAGIC[..known] {
            return Err(FrameError::Foreign);
        }
        if self.buffer.len() < PREAMBLE {
            self.buffer.reserve(PREAMBLE);
            return Ok(None);
        }
        self.buffer.advance(MAGIC.len());
        match self.buffer.get_u16() {
            VERSION => Ok(Some(true)),
            theirs => Err(FrameError::Version { theirs }),
        }
    }

    fn check_end(&self, message: &Message) -> Result<(), FrameError> {
        if let Message::End { length, .. } = message
            && *message != self.chain.end()
        {
            return Err(FrameError::WrongEnd { announced: *length, found: self.chain.length });
        }
        Ok(())
    }
}
