//! The order that opens a gate: fields that end with a zero byte, which no path can hold.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

use crate::Proof;

/// Names the format, so that a gate of another release refuses rather than guesses.
const HEADER: &[u8] = b"flocker-gate/1";

/// The last field. A writer that died half-way never wrote it.
const END: &[u8] = b"open";

/// The order to let the app run, once every proof holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Order {
    /// What must be mounted.
    pub proofs: Vec<Proof>,
}

/// An order that is complete and makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidOrder;

impl Order {
    /// The bytes that go through the FIFO.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Ends the last field of a writer that died in the middle of it.
        bytes.push(0);
        let mut field = |value: &[u8]| {
            bytes.extend_from_slice(value);
            bytes.push(0);
        };
        field(HEADER);
        for proof in &self.proofs {
            field(proof.device.to_string().as_bytes());
            field(proof.inode.to_string().as_bytes());
            field(if proof.read_only { b"ro" } else { b"rw" });
            field(proof.path.as_os_str().as_bytes());
        }
        field(END);
        bytes
    }

    /// Reads an order; `None` while its end has not arrived. What stands before its beginning is from a writer that died.
    ///
    /// # Errors
    /// [`InvalidOrder`] when it has, and the rest is not an order of this release.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, InvalidOrder> {
        let Some(fields) = bytes.strip_suffix(b"\0") else { return Ok(None) };
        let fields: Vec<&[u8]> = fields.split(|byte| *byte == 0).collect();
        let Some((&END, fields)) = fields.split_last() else { return Ok(None) };
        let begin = fields.iter().rposition(|field| *field == HEADER).ok_or(InvalidOrder)?;
        let (proofs, rest) = fields[begin + 1..].as_chunks::<4>();
        if !rest.is_empty() {
            return Err(InvalidOrder);
        }
        let proofs = proofs.iter().map(proof).collect::<Option<_>>().ok_or(InvalidOrder)?;
        Ok(Some(Self { proofs }))
    }
}

fn proof([device, inode, mode, path]: &[&[u8]; 4]) -> Option<Proof> {
    let number = |field: &[u8]| str::from_utf8(field).ok()?.parse::<u64>().ok();
    Some(Proof {
        device: number(device)?,
        inode: number(inode)?,
        read_only: match *mode {
            b"ro" => true,
            b"rw" => false,
            _ => return None,
        },
        path: PathBuf::from(OsStr::from_bytes(path)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        let proof =
            |path: &str, read_only| Proof { path: path.into(), device: 64, inode: 256, read_only };
        Order { proofs: vec![proof("/data", false), proof("/with space\nand line", true)] }
    }

    #[test]
    fn an_order_arrives_as_it_was_sent() {
        for order in [order(), Order::default()] {
            assert_eq!(Order::decode(&order.encode()), Ok(Some(order)));
        }
    }

    #[test]
    fn no_part_of_an_order_opens_the_gate() {
        let bytes = order().encode();
        for length in 0..bytes.len() {
            assert_eq!(Order::decode(&bytes[..length]), Ok(None), "{length} bytes");
        }
    }

    #[test]
    fn half_an_order_before_a_whole_one_is_forgotten() {
        let bytes = order().encode();
        for length in 0..bytes.len() {
            let both = [&bytes[..length], &Order::default().encode()].concat();
            assert_eq!(Order::decode(&both), Ok(Some(Order::default())), "{length} bytes");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for nonsense in [
            &b"open\0"[..],
            b"flocker-gate/2\0open\0",
            b"flocker-gate/1\0one field\0open\0",
            b"flocker-gate/1\0x\x001\0rw\0/data\0open\0",
            b"flocker-gate/1\x001\x001\0maybe\0/data\0open\0",
        ] {
            assert_eq!(Order::decode(nonsense), Err(InvalidOrder), "{}", nonsense.escape_ascii());
        }
    }
}
