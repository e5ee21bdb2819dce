//! The two ends of a ZFS stream: the record that says what it makes, and the one that makes it count. Pure.
//!
//! ZFS makes the snapshot as soon as it has read the last record. So that one is held back until the caller has verified
//! the stream as a whole, and nothing at all is handed on before the first one said what was announced.

use bytes::{Bytes, BytesMut};
use flocker_ports::BackendError;

/// The length of a record without its data; the first and the last record have none, or have it behind themselves.
const RECORD: usize = 312;
/// In the first record, eight bytes from here on.
const MAGIC: u64 = 0x2_f5ba_cbac;
const AT_MAGIC: usize = 8;
const AT_VERSION: usize = 16;
const AT_TO: usize = 40;
const AT_FROM: usize = 48;

/// What a stream must make, by identity; without a base, out of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) to: u64,
    pub(crate) base: Option<u64>,
}

/// Lets through all of a stream but its last record, once its first is what was announced.
#[derive(Debug)]
pub(crate) struct Valve {
    announced: Announced,
    head: Vec<u8>,
    tail: BytesMut,
}

impl Valve {
    pub(crate) fn new(announced: Announced) -> Self {
        Self { announced, head: Vec::with_capacity(RECORD), tail: BytesMut::new() }
    }

    /// Takes the next bytes. Answers those that may be handed on, in order.
    pub(crate) fn push(&mut self, mut chunk: Bytes) -> Result<[Bytes; 2], BackendError> {
        if self.head.len() < RECORD {
            let missing = RECORD - self.head.len();
            self.head.extend_from_slice(&chunk[..chunk.len().min(missing)]);
            if self.head.len() == RECORD {
                check(&self.head, self.announced)?;
            }
        }
        if chunk.len() < RECORD {
            self.tail.extend_from_slice(&chunk);
            let ready = self.tail.len().saturating_sub(RECORD);
            return Ok([self.tail.split_to(ready).freeze(), Bytes::new()]);
        }
        let before = std::mem::take(&mut self.tail).freeze();
        let last = chunk.split_off(chunk.len() - RECORD);
        self.tail.extend_from_slice(&last);
        Ok([before, chunk])
    }

    /// The stream is complete and was verified. Answers its last record.
    pub(crate) fn end(&mut self) -> Result<Bytes, BackendError> {
        if self.head.len() < RECORD {
            return Err(corrupt("it ends in its first record".to_owned()));
        }
        Ok(std::mem::take(&mut self.tail).freeze())
    }
}

fn corrupt(reason: String) -> BackendError {
    BackendError::CorruptStream { reason }
}

fn check(head: &[u8], announced: Announced) -> Result<(), BackendError> {
    let found = parse(head).ok_or_else(|| corrupt("it is no stream of ZFS".to_owned()))?;
    if found == announced {
        return Ok(());
    }
    let from = |base: Option<u64>| base.map_or("nothing".to_owned(), |base| format!("`{base}`"));
    Err(corrupt(format!(
        "it makes snapshot `{}` out of {}, announced was `{}` out of {}",
        found.to,
        from(found.base),
        announced.to,
        from(announced.base)
    )))
}

/// What a stream says that it makes. It may come from a machine that writes numbers the other way around.
fn parse(head: &[u8]) -> Option<Announced> {
    let number = |at: usize| -> Option<[u8; 8]> { head.get(at..at + 8)?.try_into().ok() };
    let magic = number(AT_MAGIC)?;
    let read = if u64::from_le_bytes(magic) == MAGIC {
        u64::from_le_bytes
    } else if u64::from_be_bytes(magic) == MAGIC {
        u64::from_be_bytes
    } else {
        return None;
    };
    // The lowest two bits tell a stream of one snapshot from a bundle of several.
    if read(number(AT_VERSION)?) & 0b11 != 1 {
        return None;
    }
    let (to, base) = (read(number(AT_TO)?), read(number(AT_FROM)?));
    Some(Announced { to, base: (base != 0).then_some(base) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNOUNCED: Announced = Announced { to: 77, base: Some(5) };

    /// A stream of one snapshot that is `n` bytes long.
    fn stream(n: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..n).map(|i| u8::try_from(i % 251).unwrap()).collect();
        for (at, value) in [(AT_MAGIC, MAGIC), (AT_VERSION, 1), (AT_TO, 77), (AT_FROM, 5)] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn all_but_the_last_record_passes_however_it_is_cut() {
        let whole = stream(5000);
        for size in [1, 7, 311, 312, 313, 1000, 4999, 5000] {
            let (mut valve, mut passed) = (Valve::new(ANNOUNCED), Vec::new());
            for piece in whole.chunks(size) {
                let ready = valve.push(Bytes::copy_from_slice(piece)).unwrap();
                passed.extend(ready.concat());
            }
            assert_eq!(passed, whole[..5000 - RECORD], "in pieces of {size}");
            assert_eq!(valve.end().unwrap(), &whole[5000 - RECORD..]);
        }
    }

    #[test]
    fn nothing_passes_of_a_stream_that_was_not_announced() {
        for announced in [
            Announced { to: 78, ..ANNOUNCED },
            Announced { base: None, ..ANNOUNCED },
            Announced { base: Some(6), ..ANNOUNCED },
        ] {
            let refused = Valve::new(announced).push(Bytes::from(stream(1000)));
            assert!(matches!(refused, Err(BackendError::CorruptStream { .. })), "{announced:?}");
        }
        let mut bundle = stream(1000);
        bundle[AT_VERSION] = 2;
        for nonsense in [bundle, vec![0; 1000]] {
            assert!(Valve::new(ANNOUNCED).push(Bytes::from(nonsense)).is_err());
        }
    }

    #[test]
    fn a_stream_that_ends_in_its_first_record_is_none() {
        for n in [0, 1, 311] {
            let mut valve = Valve::new(ANNOUNCED);
            let bytes = Bytes::from(stream(400)).slice(..n);
            assert_eq!(valve.push(bytes).unwrap().concat(), b"");
            assert!(valve.end().is_err(), "{n} bytes");
        }
    }

    #[test]
    fn a_stream_of_a_machine_of_the_other_kind_is_read() {
        let mut bytes = stream(1000);
        for at in [AT_MAGIC, AT_VERSION, AT_TO, AT_FROM] {
            bytes[at..at + 8].reverse();
        }
        assert_eq!(parse(&bytes), Some(ANNOUNCED));
    }
}
