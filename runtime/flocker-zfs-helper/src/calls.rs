//! Each [`Call`] as the call of libzfs_core that it is.

use std::{
    collections::BTreeMap,
    ffi::c_char,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    ptr,
};

use flocker_zfs_wire::{Call, Failure, Key, Map, Outcome, ResumeAt, SendFlags, Value};
use rustix::io::Errno;
use zfs_core_sys as lzc;

use crate::{
    list::{List, text},
    token,
};

/// What a channel program may do before it is stopped; the most that the kernel grants by default.
const INSTRUCTIONS_MAX: u64 = 100_000_000;
/// What it may use: enough to list a hundred thousand snapshots.
const MEMORY_MAX: u64 = 100 << 20;
/// The bytes of a key.
const KEY_LENGTH: u32 = 32;
/// The longest name of a dataset, with its end.
const NAME_MAX: usize = lzc::ZFS_MAX_DATASET_NAME_LEN as usize;

/// Opens /dev/zfs. Answers the error's number, or zero.
pub(crate) fn init() -> i32 {
    // SAFETY: it takes nothing, and counts how often it was called.
    unsafe { lzc::libzfs_core_init() }
}

/// Makes the call. The pipe stays the caller's, who closes it afterwards: that is how the other end learns of the end.
///
/// In every call below, names are strings with an end and lists are valid, and all live until the call returns; the
/// library keeps none of them. It may be called from several threads at once.
pub(crate) fn run(call: Call, pipe: Option<&OwnedFd>) -> Outcome {
    match call {
        Call::Exists { name } => {
            let name = text(&name)?;
            // SAFETY: see above.
            let there = unsafe { lzc::lzc_exists(name.as_ptr()) } != 0;
            Ok(Map::from([("exists".to_owned(), Value::Bool(there))]))
        }
        Call::Destroy { name } => {
            let name = text(&name)?;
            // SAFETY: see above.
            done(unsafe { lzc::lzc_destroy(name.as_ptr()) })
        }
        Call::Rename { from, to } => {
            let (from, to) = (text(&from)?, text(&to)?);
            // SAFETY: see above.
            done(unsafe { lzc::lzc_rename(from.as_ptr(), to.as_ptr()) })
        }
        Call::Rollback { name, to } => {
            let (name, to) = (text(&name)?, text(&to)?);
            // SAFETY: see above.
            done(unsafe { lzc::lzc_rollback_to(name.as_ptr(), to.as_ptr()) })
        }
        Call::Promote { name } => promote(&name),
        Call::Create { name, properties, key } => create(&name, &properties, key),
        Call::LoadKey { name, key: Key(mut key), trial } => {
            let name = text(&name)?;
            let (trial, length) = (u32::from(trial), KEY_LENGTH);
            // SAFETY: see above; the key has this length.
            done(unsafe { lzc::lzc_load_key(name.as_ptr(), trial, key.as_mut_ptr(), length) })
        }
        Call::UnloadKey { name } => {
            let name = text(&name)?;
            // SAFETY: see above.
            done(unsafe { lzc::lzc_unload_key(name.as_ptr()) })
        }
        Call::Clone { name, origin, properties } => {
            let (name, origin, properties) = (text(&name)?, text(&origin)?, List::of(&properties)?);
            // SAFETY: see above.
            done(unsafe { lzc::lzc_clone(name.as_ptr(), origin.as_ptr(), properties.as_ptr()) })
        }
        Call::ReadToken { token } => token::read(&token),
        Call::Program { pool, program, sync, arguments } => {
            run_program(&pool, &program, sync, &arguments)
        }
        Call::Send { snapshot, base, flags, resume } => {
            send(&snapshot, base.as_deref(), flags, resume, descriptor(pipe)?)
        }
        Call::Receive { snapshot, properties, raw } => {
            receive(&snapshot, &properties, raw, descriptor(pipe)?)
        }
        Call::Snapshot { .. }
        | Call::DestroySnapshots { .. }
        | Call::Hold { .. }
        | Call::Release { .. }
        | Call::Bookmark { .. }
        | Call::Bookmarks { .. }
        | Call::DestroyBookmarks { .. } => run_batch(call),
    }
}

/// Calls that take several objects.
fn run_batch(call: Call) -> Outcome {
    match call {
        Call::Snapshot { names, properties } => {
            let (names, properties) = (flags(names)?, List::of(&properties)?);
            let mut failed = List::none();
            // SAFETY: see `run`; the place for the failures is empty.
            let errno =
                unsafe { lzc::lzc_snapshot(names.as_ptr(), properties.as_ptr(), failed.place()) };
            each_done(errno, &failed)
        }
        Call::DestroySnapshots { names } => {
            let (names, mut failed) = (flags(names)?, List::none());
            // SAFETY: see `run`; the place for the failures is empty.
            let errno = unsafe { lzc::lzc_destroy_snaps(names.as_ptr(), 0, failed.place()) };
            each_done(errno, &failed)
        }
        Call::Hold { holds } => {
            let (holds, mut failed) = (texts(holds)?, List::none());
            // SAFETY: see `run`; the place for the failures is empty, and no descriptor ends the holds.
            let errno = unsafe { lzc::lzc_hold(holds.as_ptr(), -1, failed.place()) };
            each_done(errno, &failed)
        }
        Call::Release { holds } => {
            let tags = |tag: String| Value::List(Map::from([(tag, Value::Flag)]));
            let holds = holds.into_iter().map(|(snapshot, tag)| (snapshot, tags(tag)));
            let (holds, mut failed) = (List::of(&holds.collect())?, List::none());
            // SAFETY: see `run`; the place for the failures is empty.
            let errno = unsafe { lzc::lzc_release(holds.as_ptr(), failed.place()) };
            each_done(errno, &failed)
        }
        Call::Bookmark { marks } => {
            let (marks, mut failed) = (texts(marks)?, List::none());
            // SAFETY: see `run`; the place for the failures is empty.
            let errno = unsafe { lzc::lzc_bookmark(marks.as_ptr(), failed.place()) };
            each_done(errno, &failed)
        }
        Call::Bookmarks { name } => {
            let name = text(&name)?;
            let wanted = flags(["guid", "createtxg", "creation"].map(str::to_owned))?;
            let mut found = List::none();
            // SAFETY: see `run`; the place for the bookmarks is empty.
            let errno =
                unsafe { lzc::lzc_get_bookmarks(name.as_ptr(), wanted.as_ptr(), found.place()) };
            done(errno).map(|_| found.read())
        }
        Call::DestroyBookmarks { names } => {
            let (names, mut failed) = (flags(names)?, List::none());
            // SAFETY: see `run`; the place for the failures is empty.
            let errno = unsafe { lzc::lzc_destroy_bookmarks(names.as_ptr(), failed.place()) };
            each_done(errno, &failed)
        }
        _ => Err(Failure::of(Errno::NOSYS.raw_os_error())),
    }
}

fn create(name: &str, properties: &Map, key: Option<Key>) -> Outcome {
    let (name, properties) = (text(name)?, List::of(properties)?);
    let kind = lzc::lzc_dataset_type::LZC_DATSET_TYPE_ZFS;
    let mut key = key.map(|Key(bytes)| bytes);
    let length = if key.is_some() { KEY_LENGTH } else { 0 };
    let key = key.as_mut().map_or(ptr::null_mut(), |key| key.as_mut_ptr());
    // SAFETY: see `run`; a key has its length, and where none is given none is read.
    done(unsafe { lzc::lzc_create(name.as_ptr(), kind, properties.as_ptr(), key, length) })
}

fn promote(name: &str) -> Outcome {
    let name = text(name)?;
    let mut conflict = [0_u8; NAME_MAX];
    let room = NAME_MAX as i32;
    // SAFETY: see `run`; the buffer takes `room` bytes, and the library ends what it writes there.
    let errno =
        unsafe { lzc::lzc_promote(name.as_ptr(), conflict.as_mut_ptr().cast::<c_char>(), room) };
    done(errno).map_err(|failure| {
        let end = conflict.iter().position(|byte| *byte == 0).unwrap_or(NAME_MAX);
        let conflict = String::from_utf8_lossy(&conflict[..end]).into_owned();
        Failure { message: (!conflict.is_empty()).then_some(conflict), ..failure }
    })
}

fn run_program(pool: &str, program: &str, sync: bool, arguments: &Map) -> Outcome {
    let (pool, program, arguments) = (text(pool)?, text(program)?, List::of(arguments)?);
    let (pool, program) = (pool.as_ptr(), program.as_ptr());
    let mut out = List::none();
    let (arguments, place) = (arguments.as_ptr(), out.place());
    let errno = if sync {
        // SAFETY: see `run`, where all of these live; the place for the answer is empty.
        unsafe {
            lzc::lzc_channel_program(pool, program, INSTRUCTIONS_MAX, MEMORY_MAX, arguments, place)
        }
    } else {
        // SAFETY: as above.
        unsafe {
            lzc::lzc_channel_program_nosync(
                pool,
                program,
                INSTRUCTIONS_MAX,
                MEMORY_MAX,
                arguments,
                place,
            )
        }
    };
    let answer = out.read();
    done(errno).map_err(|failure| Failure {
        message: answer.get("error").map(|error| match error {
            Value::Text(text) => text.clone(),
            other => format!("{other:?}"),
        }),
        ..failure
    })?;
    Ok(answer)
}

fn send(
    snapshot: &str,
    base: Option<&str>,
    flags: SendFlags,
    resume: Option<ResumeAt>,
    pipe: RawFd,
) -> Outcome {
    let snapshot = text(snapshot)?;
    let base = base.map(text).transpose()?;
    let base = base.as_ref().map_or(ptr::null(), |base| base.as_ptr());
    let flags = send_flags(flags);
    done(match resume {
        // SAFETY: see `run`; `base` is null or lives as long, and the descriptor is open until `run` returns.
        None => unsafe { lzc::lzc_send(snapshot.as_ptr(), base, pipe, flags) },
        // SAFETY: as above.
        Some(ResumeAt { object, offset }) => unsafe {
            lzc::lzc_send_resume(snapshot.as_ptr(), base, pipe, flags, object, offset)
        },
    })
}

fn send_flags(flags: SendFlags) -> lzc::lzc_send_flags::Type {
    use lzc::lzc_send_flags as known;
    [
        (flags.embedded, known::LZC_SEND_FLAG_EMBED_DATA),
        (flags.large_blocks, known::LZC_SEND_FLAG_LARGE_BLOCK),
        (flags.compressed, known::LZC_SEND_FLAG_COMPRESS),
        (flags.raw, known::LZC_SEND_FLAG_RAW),
    ]
    .into_iter()
    .filter(|(wanted, _)| *wanted)
    .fold(0, |all, (_, flag)| all | flag)
}

fn receive(snapshot: &str, properties: &Map, raw: bool, pipe: RawFd) -> Outcome {
    let (snapshot, properties) = (text(snapshot)?, List::of(properties)?);
    let (mut n_read, mut flags, mut handle) = (0, 0, 0);
    let mut failed = List::none();
    let (force, resumable, raw) = (0, 1, u32::from(raw));
    // SAFETY: see `run`; what may be absent is null (properties and origin of the stream, key, a record that was read
    // before), the numbers and the place for failures are valid for one write each, and the descriptor is open until `run`
    // returns.
    let errno = unsafe {
        lzc::lzc_receive_with_cmdprops(
            snapshot.as_ptr(),
            ptr::null_mut(),
            properties.as_ptr(),
            ptr::null_mut(),
            0,
            ptr::null(),
            force,
            resumable,
            raw,
            pipe,
            ptr::null(),
            -1,
            &mut n_read,
            &mut flags,
            &mut handle,
            failed.place(),
        )
    };
    each_done(errno, &failed)
}

fn descriptor(pipe: Option<&OwnedFd>) -> Result<RawFd, Failure> {
    let missing = || Failure::saying(Errno::BADF.raw_os_error(), "no pipe came with the request");
    Ok(pipe.ok_or_else(missing)?.as_raw_fd())
}

fn done(errno: i32) -> Outcome {
    if errno == 0 { Ok(Map::new()) } else { Err(Failure::of(errno)) }
}

/// Some calls succeed as a whole and say which objects failed; nobody shall take that for success.
fn each_done(errno: i32, failed: &List) -> Outcome {
    let objects: BTreeMap<String, i32> = failed
        .read()
        .into_iter()
        .filter_map(|(name, value)| match value {
            Value::Signed(errno) => Some((name, i32::try_from(errno).unwrap_or(i32::MAX))),
            _ => None,
        })
        .collect();
    let errno = if errno == 0 { objects.values().copied().next().unwrap_or(0) } else { errno };
    done(errno).map_err(|failure| Failure { objects, ..failure })
}

fn flags(names: impl IntoIterator<Item = String>) -> Result<List, Failure> {
    List::of(&names.into_iter().map(|name| (name, Value::Flag)).collect())
}

fn texts(texts: BTreeMap<String, String>) -> Result<List, Failure> {
    List::of(&texts.into_iter().map(|(name, text)| (name, Value::Text(text))).collect())
}
