//! Mounts a file with a btrfs inside, finds it again when an earlier program left it mounted, and unmounts it.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use flocker_ports::Change;
use flocker_system::{
    command::{command, find, output, tail},
    mounts::source_at,
};

/// Why a pool's file could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A program is not installed.
    #[error(
        "the program `{program}` was not found\nhint: install it, on Debian with `apt-get install mount`"
    )]
    MissingProgram { program: &'static str },
    /// Something else is mounted where the pool should be.
    #[error("`{folder}` already shows `{source_found}`\nhint: unmount it with `umount {folder}`")]
    Occupied { folder: PathBuf, source_found: String },
    /// The command refused.
    #[error("could not {action} `{path}`: {reason}{hint}")]
    Failed { action: &'static str, path: PathBuf, reason: String, hint: &'static str },
    /// The kernel's list of mounts could not be read.
    #[error("could not read the kernel's list of mounts")]
    Unknown(#[source] io::Error),
}

/// Makes `folder` show the btrfs in `file`. One that shows it already, since an earlier program was killed, is left so.
pub(crate) async fn mount_file(file: &Path, folder: &Path) -> Result<Change, MountError> {
    if let Some(source) = source_at(folder).map_err(MountError::Unknown)? {
        // A device that shows our file is ours, whoever attached it.
        if loop_devices_of(file).iter().any(|device| Path::new(&source) == device) {
            return Ok(Change::None);
        }
        return Err(MountError::Occupied { folder: folder.to_owned(), source_found: source });
    }
    // Containers may still hold the filesystem after the pool was unmounted; a second loop device on the same file
    // would be a second writer, so the one that is there is mounted again.
    let attached = loop_devices_of(file).into_iter().next();
    let (options, source) = match &attached {
        Some(device) => ("noatime", device.as_path()),
        None => ("loop,noatime", file),
    };
    let args: [&OsStr; 6] = [
        "-t".as_ref(),
        "btrfs".as_ref(),
        "-o".as_ref(),
        options.as_ref(),
        source.as_ref(),
        folder.as_ref(),
    ];
    run(
        "mount",
        &args,
        "mount",
        file,
        "\nhint: `dmesg` says more; a damaged pool is left as it is",
    )
    .await?;
    past_the_cache(file).await;
    Ok(Change::Made)
}

/// The filesystem inside caches what is in the file; the one that the file is on need not do so once more. Streams are a
/// third faster without that. Where it cannot be turned off, all works as well.
async fn past_the_cache(file: &Path) {
    for device in loop_devices_of(file) {
        let args: [&OsStr; 2] = ["--direct-io=on".as_ref(), device.as_ref()];
        if let Err(error) = run("losetup", &args, "bypass the cache of", file, "").await {
            tracing::debug!("{error}");
        }
    }
}

/// Takes the mount away; the loop device goes with its last mount.
pub(crate) async fn unmount(folder: &Path) -> Result<(), MountError> {
    if source_at(folder).map_err(MountError::Unknown)?.is_none() {
        return Ok(());
    }
    run(
        "umount",
        &[folder],
        "unmount",
        folder,
        "\nhint: `fuser -vm` with this folder shows who uses it",
    )
    .await
}

/// Tells the loop device that its file has grown.
pub(crate) async fn reread_size(file: &Path) -> Result<(), MountError> {
    for device in loop_devices_of(file) {
        let args: [&OsStr; 2] = ["-c".as_ref(), device.as_ref()];
        run("losetup", &args, "grow the device of", file, "").await?;
    }
    Ok(())
}

async fn run<A: AsRef<OsStr>>(
    program: &'static str,
    args: &[A],
    action: &'static str,
    path: &Path,
    hint: &'static str,
) -> Result<(), MountError> {
    let found = find(program).ok_or(MountError::MissingProgram { program })?;
    let failed = |reason| MountError::Failed { action, path: path.to_owned(), reason, hint };
    let mut command = command(&found);
    command.args(args);
    let output = output(command).await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() { Ok(()) } else { Err(failed(tail(&output.stderr))) }
}

/// The loop devices that show `file`, a canonical path.
fn loop_devices_of(file: &Path) -> Vec<PathBuf> {
    let Ok(devices) = fs::read_dir("/sys/block") else { return Vec::new() };
    devices
        .filter_map(Result::ok)
        .filter(|device| {
            fs::read(device.path().join("loop/backing_file")).is_ok_and(|name| {
                name.strip_suffix(b"\n").unwrap_or(&name) == file.as_os_str().as_encoded_bytes()
            })
        })
        .map(|device| Path::new("/dev").join(device.file_name()))
        .collect()
}
