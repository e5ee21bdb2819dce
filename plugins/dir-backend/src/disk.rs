//! The granted directory: small files through WASI, whole trees through the host. Paths here begin below it.

use wasip2::{
    clocks::wall_clock,
    filesystem::{
        preopens,
        types::{Descriptor, DescriptorFlags, DescriptorType, ErrorCode, OpenFlags, PathFlags},
    },
    random::random,
};

use flocker_sdk::backend::{Answer, FULL, Failure, Owner, coded, failure, trees};

use crate::DIRECTORY;

/// The largest `about.json`: some ten thousand snapshots.
const FILE_BYTES_MAX: u64 = 4 << 20;

fn root() -> Answer<Descriptor> {
    let wanted = format!("/{DIRECTORY}");
    let mut granted = preopens::get_directories().into_iter();
    granted
        .find(|(_, name)| *name == wanted)
        .map(|(root, _)| root)
        .ok_or_else(|| failure(format!("the directory `{DIRECTORY}` was not granted")))
}

/// A path as the host knows it.
pub(crate) fn host(path: &str) -> String {
    format!("/{DIRECTORY}/{path}")
}

fn refused(what: &str, path: &str) -> impl Fn(ErrorCode) -> Failure {
    let about = format!("could not {what} `{path}`");
    move |code| {
        let full = matches!(code, ErrorCode::InsufficientSpace | ErrorCode::Quota);
        coded(if full { FULL } else { 0 }, format!("{about}: {code:?}"))
    }
}

fn open(path: &str, how: OpenFlags, flags: DescriptorFlags) -> Result<Descriptor, ErrorCode> {
    let root = root().map_err(|_| ErrorCode::Access)?;
    root.open_at(PathFlags::empty(), path, how, flags)
}

fn open_folder(path: &str) -> Result<Descriptor, ErrorCode> {
    open(path, OpenFlags::DIRECTORY, DescriptorFlags::READ)
}

/// A whole small file; none where there is none.
pub(crate) fn read(path: &str) -> Answer<Option<Vec<u8>>> {
    let failed = refused("read", path);
    let file = match open(path, OpenFlags::empty(), DescriptorFlags::READ) {
        Ok(file) => file,
        Err(ErrorCode::NoEntry) => return Ok(None),
        Err(code) => return Err(failed(code)),
    };
    let mut bytes = Vec::new();
    loop {
        let (chunk, end) = file.read(FILE_BYTES_MAX, bytes.len() as u64).map_err(&failed)?;
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(failure(format!("`{path}` is too large")));
        }
        if end || chunk.is_empty() {
            return Ok(Some(bytes));
        }
    }
}

/// Puts a file in the place of another, durably and at once.
pub(crate) fn replace(folder: &str, name: &str, bytes: &[u8]) -> Answer<()> {
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failure(format!("`{name}` would be too large to be read again")));
    }
    let failed = refused("write", name);
    let temporary = format!("{folder}/{name}.new");
    let how = OpenFlags::CREATE | OpenFlags::TRUNCATE;
    let file = open(&temporary, how, DescriptorFlags::WRITE).map_err(&failed)?;
    let mut written = 0;
    while written < bytes.len() {
        let n = file.write(&bytes[written..], written as u64).map_err(&failed)?;
        written += usize::try_from(n).unwrap_or(usize::MAX);
    }
    file.sync().map_err(&failed)?;
    let root = root()?;
    root.rename_at(&temporary, &root, &format!("{folder}/{name}")).map_err(&failed)?;
    sync_folder(folder)
}

fn sync_folder(path: &str) -> Answer<()> {
    open_folder(path).and_then(|folder| folder.sync()).map_err(refused("flush", path))
}

/// Makes a folder where there is none, durably.
pub(crate) fn ensure_folder(parent: &str, name: &str) -> Answer<()> {
    let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
    match root()?.create_directory_at(&path) {
        Ok(()) => sync_folder(if parent.is_empty() { "." } else { parent }),
        Err(ErrorCode::Exist) => Ok(()),
        Err(code) => Err(refused("make", &path)(code)),
    }
}

/// Whether it is a folder with nothing in it.
pub(crate) fn is_empty_folder(path: &str) -> Answer<bool> {
    let found = root()?.stat_at(PathFlags::empty(), path).map_err(refused("look at", path))?;
    Ok(found.type_ == DescriptorType::Directory && list(path)?.is_empty())
}

/// The names in a folder, sorted; none where there is no folder.
pub(crate) fn list(path: &str) -> Answer<Vec<String>> {
    let failed = refused("list", path);
    let folder = match open_folder(path) {
        Ok(folder) => folder,
        Err(ErrorCode::NoEntry) => return Ok(Vec::new()),
        Err(code) => return Err(failed(code)),
    };
    let entries = folder.read_directory().map_err(&failed)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.read_directory_entry().map_err(&failed)? {
        names.push(entry.name);
    }
    names.sort();
    Ok(names)
}

/// An empty folder, whoever it belongs to.
pub(crate) fn make(path: &str, owner: Option<Owner>) -> Answer<()> {
    let owner = owner.map(|Owner { user, group }| trees::Owner { user, group });
    trees::make(&host(path), owner)
}

/// A copy of a folder, whole or not at all. Answers the bytes in it.
pub(crate) fn copy(from: &str, to: &str) -> Answer<u64> {
    trees::copy(&host(from), &host(to))
}

/// Removes a folder, if there is one.
pub(crate) fn remove(path: &str) -> Answer<()> {
    trees::remove(&host(path)).map(drop)
}

/// All and free bytes of the pool.
pub(crate) fn space() -> Answer<(u64, u64)> {
    trees::space(&format!("/{DIRECTORY}"))
}

pub(crate) fn now_ms() -> u64 {
    let now = wall_clock::now();
    now.seconds * 1000 + u64::from(now.nanoseconds / 1_000_000)
}

/// A GUID that nobody else has.
pub(crate) fn fresh_guid() -> String {
    format!("{:016x}{:016x}", random::get_random_u64(), random::get_random_u64())
}
