//! ZFS's lists of named values (`nvlist_t`), made of ours and read back into ours. Owns them.

use std::{
    ffi::{CStr, CString, c_char},
    ptr,
};

use flocker_zfs_wire::{Failure, Map, Value};
use nvpair_sys as nv;
use nvpair_sys::data_type_t as kind;
use rustix::io::Errno;

/// Lists within lists that are read; what a channel program answers is not deeper than this.
const DEPTH_MAX: usize = 32;

/// Text for C.
pub(crate) fn text(text: &str) -> Result<CString, Failure> {
    CString::new(text)
        .map_err(|_| Failure::saying(Errno::INVAL.raw_os_error(), "a name has a zero byte in it"))
}

/// A list that is ours to free, or none: calls that answer with one may leave the place empty.
#[derive(Debug)]
pub(crate) struct List(*mut nv::nvlist_t);

impl List {
    /// A place for a call to put its answer into.
    pub(crate) fn none() -> Self {
        Self(ptr::null_mut())
    }

    /// A list of these values.
    pub(crate) fn of(map: &Map) -> Result<Self, Failure> {
        let mut list = Self::none();
        // SAFETY: the pointer is valid for the one write, and what is written belongs to `list` from then on.
        check(unsafe { nv::nvlist_alloc(&mut list.0, nv::NV_UNIQUE_NAME, 0) })?;
        for (name, value) in map {
            list.add(&text(name)?, value)?;
        }
        Ok(list)
    }

    /// A list that was packed into bytes.
    pub(crate) fn unpack(bytes: &mut [u8]) -> Result<Self, Failure> {
        let mut list = Self::none();
        let (start, length) = (bytes.as_mut_ptr().cast::<c_char>(), bytes.len() as u64);
        // SAFETY: the buffer is valid for `length` bytes, which the decoder keeps to; what it allocates belongs to `list`.
        check(unsafe { nv::nvlist_unpack(start, length, &mut list.0, 0) })?;
        Ok(list)
    }

    /// For calls that read a list. They take it as if they would change it, and do not.
    pub(crate) fn as_ptr(&self) -> *mut nv::nvlist_t {
        self.0
    }

    /// For calls that answer with a list. Only of a place that is empty: another list in it would not be freed.
    pub(crate) fn place(&mut self) -> *mut *mut nv::nvlist_t {
        debug_assert!(self.0.is_null(), "an answer would take the place of a list");
        &mut self.0
    }

    fn add(&mut self, name: &CStr, value: &Value) -> Result<(), Failure> {
        let (list, name) = (self.0, name.as_ptr());
        // In each: `list` is a list that `nvlist_alloc` made, and name and value live until the call ends, which copies.
        check(match value {
            // SAFETY: as said above.
            Value::Flag => unsafe { nv::nvlist_add_boolean(list, name) },
            // SAFETY: as said above.
            Value::Bool(value) => unsafe {
                nv::nvlist_add_boolean_value(list, name, u32::from(*value))
            },
            // SAFETY: as said above.
            Value::Unsigned(value) => unsafe { nv::nvlist_add_uint64(list, name, *value) },
            // SAFETY: as said above.
            Value::Signed(value) => unsafe { nv::nvlist_add_int64(list, name, *value) },
            Value::Text(value) => {
                let value = text(value)?;
                // SAFETY: as said above.
                unsafe { nv::nvlist_add_string(list, name, value.as_ptr()) }
            }
            Value::List(value) => {
                let inner = Self::of(value)?;
                // SAFETY: as said above; the inner list is copied, so both are freed once.
                unsafe { nv::nvlist_add_nvlist(list, name, inner.0) }
            }
            Value::Other => Errno::INVAL.raw_os_error(),
        })
    }

    /// What is in it; nothing where there is no list.
    pub(crate) fn read(&self) -> Map {
        if self.0.is_null() {
            return Map::new();
        }
        // SAFETY: it is a list that a call of the library made, and nobody changes it while `self` is borrowed.
        unsafe { read(self.0, DEPTH_MAX) }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the list is ours alone; no list at all is fine.
        unsafe { nv::nvlist_free(self.0) };
    }
}

fn check(errno: i32) -> Result<(), Failure> {
    if errno == 0 { Ok(()) } else { Err(Failure::of(errno)) }
}

/// # Safety
/// `list` is a valid list that nobody changes meanwhile.
unsafe fn read(list: *mut nv::nvlist_t, depth: usize) -> Map {
    let mut map = Map::new();
    let mut pair = ptr::null_mut();
    loop {
        // SAFETY: the list is valid, and `pair` is null or one of its pairs.
        pair = unsafe { nv::nvlist_next_nvpair(list, pair) };
        if pair.is_null() {
            return map;
        }
        // SAFETY: a pair's name is a string with an end, which lives as long as the pair.
        let name = unsafe { name_of(pair) };
        // SAFETY: the pair is valid.
        map.insert(name, unsafe { value(pair, depth) });
    }
}

/// # Safety
/// `pair` is a valid pair.
unsafe fn name_of(pair: *mut nv::nvpair_t) -> String {
    // SAFETY: the pair is valid; so is its name.
    let name = unsafe { nv::nvpair_name(pair) };
    // SAFETY: it has an end, and the bytes are copied before anything can change.
    unsafe { owned(name) }
}

/// # Safety
/// `text` is a string with an end.
unsafe fn owned(text: *const c_char) -> String {
    // SAFETY: the caller says so.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// # Safety
/// `pair` is a valid pair.
unsafe fn value(pair: *mut nv::nvpair_t, depth: usize) -> Value {
    /// Reads a plain value of the type that the pair was asked for and has.
    macro_rules! plain {
        ($get:ident, $start:expr, $make:expr) => {{
            let mut value = $start;
            // SAFETY: the pair is valid and of this type, and the place is valid for one write.
            if unsafe { nv::$get(pair, &mut value) } == 0 { $make(value) } else { Value::Other }
        }};
    }
    // SAFETY: the pair is valid.
    match unsafe { nv::nvpair_type(pair) } {
        kind::DATA_TYPE_BOOLEAN => Value::Flag,
        kind::DATA_TYPE_BOOLEAN_VALUE => {
            plain!(nvpair_value_boolean_value, 0, |value| Value::Bool(value != 0))
        }
        kind::DATA_TYPE_INT32 => {
            plain!(nvpair_value_int32, 0, |value| Value::Signed(i64::from(value)))
        }
        kind::DATA_TYPE_UINT32 => {
            plain!(nvpair_value_uint32, 0, |value| Value::Unsigned(u64::from(value)))
        }
        kind::DATA_TYPE_INT64 => plain!(nvpair_value_int64, 0, Value::Signed),
        kind::DATA_TYPE_UINT64 => plain!(nvpair_value_uint64, 0, Value::Unsigned),
        kind::DATA_TYPE_STRING => {
            plain!(nvpair_value_string, ptr::null_mut(), |value: *mut c_char| {
                // SAFETY: the string belongs to the pair and has an end; it is copied at once.
                Value::Text(unsafe { owned(value) })
            })
        }
        kind::DATA_TYPE_NVLIST if depth > 0 => {
            plain!(nvpair_value_nvlist, ptr::null_mut(), |value| {
                // SAFETY: the inner list belongs to the pair, which nobody changes.
                Value::List(unsafe { read(value, depth - 1) })
            })
        }
        _ => Value::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let inner = Map::from([("a".to_owned(), Value::Flag), ("b".to_owned(), "text".into())]);
        let map = Map::from([
            ("flag".to_owned(), Value::Flag),
            ("yes".to_owned(), Value::Bool(true)),
            ("most".to_owned(), Value::Unsigned(u64::MAX)),
            ("least".to_owned(), Value::Signed(i64::MIN)),
            ("text".to_owned(), "tank/a@b".into()),
            ("list".to_owned(), Value::List(inner)),
            ("none".to_owned(), Value::List(Map::new())),
        ]);

        assert_eq!(List::of(&map).unwrap().read(), map);
        assert_eq!(List::none().read(), Map::new());
    }

    #[test]
    fn a_name_with_a_zero_byte_is_refused() {
        let map = Map::from([("a\0b".to_owned(), Value::Flag)]);

        assert_eq!(List::of(&map).unwrap_err().errno, Errno::INVAL.raw_os_error());
    }

    #[test]
    fn bytes_that_are_no_list_are_refused() {
        for bytes in [&b""[..], b"\x01", b"nonsense that is no list at all", &[0xff; 64]] {
            assert!(List::unpack(&mut bytes.to_vec()).is_err(), "{bytes:?}");
        }
    }
}
