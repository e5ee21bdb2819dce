//! The messages of the protocol and their bytes. Knows nothing of order, digests or sockets.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flocker_model::{
    ByteSize, Compression, Epoch, Guid, InvalidName, InvalidQuantity, NodeName, OperationId, Point,
    RecordSize, SecretName, SnapshotTag, VolumeId, VolumeOptions,
};
use flocker_ports::ResumeToken;

/// What both sides say first. A port that was given to another service since is noticed at once.
pub(crate) const MAGIC: [u8; 8] = *b"flockers";

/// Grows with each change of the protocol that an older one would not understand.
pub(crate) const VERSION: u16 = 3;

/// The most payload in one chunk. A chunk is held in memory until it is verified, which bounds what a stream needs; it is
/// what a cut loses at most; it fits the caches in which it is hashed; and its 45 bytes of framing are 0.02 % of it.
pub(crate) const CHUNK_MAX: usize = 256 * 1024;

/// The most of any other message. The longest names and a resume token of ZFS stay far below it.
pub(crate) const CONTROL_MAX: usize = 8 * 1024;

/// The longest reason that is sent; a longer one is cut short, to stay below [`CONTROL_MAX`].
const REASON_MAX: usize = 4 * 1024;

/// What a stream is: the first thing that a sender says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) operation: OperationId,
    pub(crate) volume: VolumeId,
    pub(crate) epoch: Epoch,
    pub(crate) base: Option<Point>,
    pub(crate) to: Point,
    pub(crate) options: VolumeOptions,
    pub(crate) source: NodeName,
    pub(crate) target: NodeName,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// Sender: this is what I want to send.
    Header(Box<Header>),
    /// Receiver: I hold a snapshot of this GUID already.
    Have { guid: Guid },
    /// Receiver: send it; I hold `held` bytes of it, up to `resume`.
    Go { nonce: [u8; 16], resume: Option<ResumeToken>, held: u64 },
    /// Receiver: no. With `retry`, the same may work later, or on a new connection.
    Refuse { retry: bool, reason: String },
    /// Sender: I cannot go on from there; throw it away.
    Restart,
    /// Sender: the next bytes of the stream.
    Chunk(Bytes),
    /// Sender: the same, compressed; whoever reads it gets a [`Message::Chunk`] of so many bytes.
    Packed { bytes: Bytes, length: u32 },
    /// Sender: that was all; so many bytes since `Go`, and the hash over all chunks.
    End { length: u64, hash: [u8; 32] },
    /// Receiver: the snapshot is durable, and this is its GUID.
    Done { guid: Guid },
    /// Either: I am still here, my storage takes its time.
    KeepAlive,
}

/// A payload that is not what its kind says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a message of the unknown kind {0}")]
    Kind(u8),
    #[error("a message that ends too early or too late")]
    Length,
    #[error("text that is not UTF-8")]
    Text,
    #[error("compressed bytes that are not what they claim to be")]
    Packed,
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Quantity(#[from] InvalidQuantity),
}

impl Message {
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Header(_) => 1,
            Self::Have { .. } => 2,
            Self::Go { .. } => 3,
            Self::Refuse { .. } => 4,
            Self::Restart => 5,
            Self::Chunk(_) => CHUNK,
            Self::End { .. } => 7,
            Self::Done { .. } => 8,
            Self::KeepAlive => 9,
            Self::Packed { .. } => PACKED,
        }
    }

    /// What it is called in errors.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Header(_) => "header",
            Self::Have { .. } => "have",
            Self::Go { .. } => "go",
            Self::Refuse { .. } => "refuse",
            Self::Restart => "restart",
            Self::Chunk(_) | Self::Packed { .. } => "chunk",
            Self::End { .. } => "end",
            Self::Done { .. } => "done",
            Self::KeepAlive => "keep-alive",
        }
    }

    /// Bytes of the stream that it carries, as they cross.
    pub(crate) fn load(&self) -> usize {
        match self {
            Self::Chunk(bytes) | Self::Packed { bytes, .. } => bytes.len(),
            Self::Header(_)
            | Self::Have { .. }
            | Self::Go { .. }
            | Self::Refuse { .. }
            | Self::Restart
            | Self::End { .. }
            | Self::Done { .. }
            | Self::KeepAlive => 0,
        }
    }

    /// The payload. A chunk's is not copied.
    pub(crate) fn payload(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Chunk(bytes) => return bytes.clone(),
            Self::Packed { bytes, length } => {
                out.put_u32(*length);
                out.put_slice(bytes);
            }
            Self::Header(header) => header.put(&mut out),
            Self::Have { guid } | Self::Done { guid } => put_text(&mut out, &guid.0),
            Self::Go { nonce, resume, held } => {
                out.put_slice(nonce);
                out.put_u64(*held);
                out.put_u8(u8::from(resume.is_some()));
                resume.iter().for_each(|token| put_text(&mut out, &token.0));
            }
            Self::Refuse { retry, reason } => {
                out.put_u8(u8::from(*retry));
                put_text(&mut out, &reason[..reason.floor_char_boundary(REASON_MAX)]);
            }
            Self::End { length, hash } => {
                out.put_u64(*length);
                out.put_slice(hash);
            }
            Self::Restart | Self::KeepAlive => {}
        }
        out.freeze()
    }

    pub(crate) fn read(kind: u8, mut from: Bytes) -> Result<Self, Malformed> {
        let from = &mut from;
        let message = match kind {
            1 => Self::Header(Box::new(Header::read(from)?)),
            2 => Self::Have { guid: Guid(text(from)?) },
            3 => {
                let nonce = array(from)?;
                let held = u64::from_be_bytes(array(from)?);
                let resume = if flag(from)? { Some(ResumeToken(text(from)?)) } else { None };
                Self::Go { nonce, resume, held }
            }
            4 => Self::Refuse { retry: flag(from)?, reason: text(from)? },
            5 => Self::Restart,
            CHUNK => Self::Chunk(std::mem::take(from)),
            PACKED => Self::Chunk(unpack(from)?),
            7 => Self::End { length: u64::from_be_bytes(array(from)?), hash: array(from)? },
            8 => Self::Done { guid: Guid(text(from)?) },
            9 => Self::KeepAlive,
            other => return Err(Malformed::Kind(other)),
        };
        if from.has_remaining() { Err(Malformed::Length) } else { Ok(message) }
    }

    /// The most payload that a message of this kind may have.
    pub(crate) fn payload_max(kind: u8) -> usize {
        match kind {
            CHUNK => CHUNK_MAX,
            // It is sent only where it is smaller than the chunk; before it stands the chunk's length.
            PACKED => CHUNK_MAX + 4,
            _ => CONTROL_MAX,
        }
    }
}

const CHUNK: u8 = 6;
const PACKED: u8 = 10;

/// What was compressed. No more memory is taken than a chunk may have, whatever it would grow to.
fn unpack(from: &mut Bytes) -> Result<Bytes, Malformed> {
    let length = u32::from_be_bytes(array(from)?) as usize;
    if length > CHUNK_MAX {
        return Err(Malformed::Packed);
    }
    let unpacked = zstd::bulk::decompress(&std::mem::take(from), length);
    unpacked.ok().filter(|bytes| bytes.len() == length).map(Bytes::from).ok_or(Malformed::Packed)
}

impl Header {
    fn put(&self, out: &mut BytesMut) {
        put_text(out, self.operation.as_str());
        put_text(out, self.volume.as_str());
        out.put_u64(self.epoch.0);
        out.put_u8(u8::from(self.base.is_some()));
        self.base.iter().chain([&self.to]).for_each(|point| {
            put_text(out, point.tag.as_str());
            put_text(out, &point.guid.0);
        });
        put_options(out, &self.options);
        put_text(out, self.source.as_str());
        put_text(out, self.target.as_str());
    }

    fn read(from: &mut Bytes) -> Result<Self, Malformed> {
        let point = |from: &mut Bytes| -> Result<Point, Malformed> {
            Ok(Point { tag: SnapshotTag::new(text(from)?)?, guid: Guid(text(from)?) })
        };
        Ok(Self {
            operation: OperationId::new(text(from)?)?,
            volume: VolumeId::new(text(from)?)?,
            epoch: Epoch(u64::from_be_bytes(array(from)?)),
            base: if flag(from)? { Some(point(from)?) } else { None },
            to: point(from)?,
            options: options(from)?,
            source: NodeName::new(text(from)?)?,
            target: NodeName::new(text(from)?)?,
        })
    }
}

/// As texts, where there is any: an empty one is none.
fn put_options(out: &mut BytesMut, options: &VolumeOptions) {
    let VolumeOptions { size, record_size, compression, reserved, secret } = options;
    out.put_u64(size.0);
    out.put_u64(record_size.map_or(0, RecordSize::bytes));
    put_text(out, compression.map_or("", Compression::as_str));
    out.put_u8(u8::from(*reserved));
    put_text(out, secret.as_ref().map_or("", SecretName::as_str));
}

fn options(from: &mut Bytes) -> Result<VolumeOptions, Malformed> {
    let size = ByteSize(u64::from_be_bytes(array(from)?));
    let record_size = match u64::from_be_bytes(array(from)?) {
        0 => None,
        bytes => Some(RecordSize::new(ByteSize(bytes))?),
    };
    let compression = Some(text(from)?).filter(|text| !text.is_empty());
    let compression = compression.map(|text| text.parse()).transpose()?;
    let reserved = flag(from)?;
    let secret = Some(text(from)?).filter(|text| !text.is_empty());
    let secret = secret.map(SecretName::new).transpose()?;
    Ok(VolumeOptions { size, record_size, compression, reserved, secret })
}

/// A text and, before it, its length. One that does not fit makes a message that the other side refuses by its size.
fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text.as_bytes());
}

fn text(from: &mut Bytes) -> Result<String, Malformed> {
    let length = u32::from_be_bytes(array(from)?) as usize;
    if from.remaining() < length {
        return Err(Malformed::Length);
    }
    String::from_utf8(from.split_to(length).into()).map_err(|_| Malformed::Text)
}

fn flag(from: &mut Bytes) -> Result<bool, Malformed> {
    match array(from)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [_] => Err(Malformed::Length),
    }
}

fn array<const N: usize>(from: &mut Bytes) -> Result<[u8; N], Malformed> {
    let mut out = [0; N];
    if from.remaining() < N {
        return Err(Malformed::Length);
    }
    from.copy_to_slice(&mut out);
    Ok(out)
}
