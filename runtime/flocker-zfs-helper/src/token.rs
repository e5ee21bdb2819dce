//! Resume tokens: `1-CHECKSUM-LENGTH-HEX`, where the digits are a list of values, packed and compressed.
//!
//! libzfs_core takes what a token says, and leaves reading it to the caller.

use flocker_zfs_wire::{Failure, Map};
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use rustix::io::Errno;

use crate::list::List;

/// A token names a few numbers and a snapshot.
const LENGTH_MAX: usize = 64 << 10;

/// What a token says.
pub(crate) fn read(token: &str) -> Result<Map, Failure> {
    let refuse =
        || Failure::saying(Errno::INVAL.raw_os_error(), "it is no resume token of this ZFS");
    let compressed = compressed(token).ok_or_else(refuse)?;
    let mut packed =
        decompress_to_vec_zlib_with_limit(&compressed, LENGTH_MAX).map_err(|_| refuse())?;
    Ok(List::unpack(&mut packed)?.read())
}

/// The bytes of a token whose checksum is right.
fn compressed(token: &str) -> Option<Vec<u8>> {
    let mut parts = token.split('-');
    let (version, sum, _length, digits) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "1" || parts.next().is_some() || digits.len() > LENGTH_MAX {
        return None;
    }
    let sum = u64::from_str_radix(sum, 16).ok()?;
    let bytes = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    (digits.len().is_multiple_of(2) && checksum(&bytes) == sum).then_some(bytes)
}

/// The first word of Fletcher's checksum: the sum of all whole words.
fn checksum(bytes: &[u8]) -> u64 {
    let words =
        bytes.chunks_exact(4).filter_map(|word| word.try_into().ok().map(u32::from_ne_bytes));
    words.map(u64::from).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        let almost = "1-0-10-789c";
        for token in
            ["", "nonsense", "1-2-3", "2-0-0-", "1-0-0-0", "1-0-0-zz", almost, "1-ffff-1-00"]
        {
            assert!(read(token).is_err(), "{token}");
        }
    }
}
