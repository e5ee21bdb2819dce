//! Mounts a volume into the mount namespace of a container that waits at its gate. Nothing of it reaches back to the host:
//! the mounts are private, and end with the container.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    thread,
};

use flocker_ports::VerifiedMount;
use rustix::{
    fs::{CWD, StatVfsMountFlags, fstat, statvfs},
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        mount_change, mount_remount, move_mount, open_tree, unmount,
    },
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// How many mounts of attempts that failed may lie over a placeholder. More mean that something else is wrong.
const STALE_MAX: usize = 8;

/// Why a volume could not be mounted.
#[derive(Debug)]
pub(crate) struct MountError {
    path: PathBuf,
    reason: String,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not mount its volume at `{}`: {}", self.path.display(), self.reason)
    }
}

/// Mounts each volume over its placeholder inside `namespace`; one that is there already stays as it is.
pub(crate) async fn mount_into(
    namespace: File,
    placeholder: PathBuf,
    mounts: Vec<VerifiedMount>,
) -> Result<(), MountError> {
    let first = mounts.first().map(|mount| mount.path.clone()).unwrap_or_default();
    let lost = |reason: String| MountError { path: first.clone(), reason };
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread that is in another mount namespace must never be used for anything else, so it is not one of a pool.
    thread::Builder::new()
        .name("mount-into".to_owned())
        .spawn(move || sender.send(mount_here(&namespace, &placeholder, &mounts)))
        .map_err(|error| lost(error.to_string()))?;
    receiver.await.map_err(|_| lost("the thread that mounts ended early".to_owned()))?
}

/// A volume on its way: taken in the host's namespace, put down in the container's.
struct Carried<'a> {
    mount: &'a VerifiedMount,
    tree: OwnedFd,
}

/// The rest of the calling thread's life is spent inside the container.
fn mount_here(
    namespace: &File,
    placeholder: &Path,
    mounts: &[VerifiedMount],
) -> Result<(), MountError> {
    let failed = |mount: &VerifiedMount, error: io::Error| MountError {
        path: mount.path.clone(),
        reason: error.to_string(),
    };
    let Some(first) = mounts.first() else { return Ok(()) };
    let placeholder = fs::metadata(placeholder).map_err(|error| failed(first, error))?;
    let placeholder = (placeholder.dev(), placeholder.ino());
    let carried: Vec<Carried<'_>> = mounts
        .iter()
        .map(|mount| take(mount).map_err(|error| failed(mount, error)))
        .collect::<Result<_, _>>()?;
    enter(namespace).map_err(|error| failed(first, error))?;
    for volume in &carried {
        put(volume, placeholder).map_err(|error| failed(volume.mount, error))?;
    }
    Ok(())
}

/// A detached copy of the mount that shows the volume's folder.
fn take(mount: &VerifiedMount) -> io::Result<Carried<'_>> {
    let source = mount.source.display();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, &mount.source, flags)
        .map_err(|error| io::Error::other(format!("`{source}`: {}", io::Error::from(error))))?;
    let seen = fstat(&tree)?;
    if (seen.st_dev, seen.st_ino) != (mount.device, mount.inode) {
        let reason = format!(
            "`{source}` is not the volume: device {} and inode {}",
            seen.st_dev, seen.st_ino
        );
        return Err(io::Error::other(reason));
    }
    Ok(Carried { mount, tree })
}

fn enter(namespace: &File) -> io::Result<()> {
    // The kernel refuses to move a thread that shares root and working directory with others.
    #[expect(
        deprecated,
        reason = "it is deprecated for the file table's sake, which this does not touch"
    )]
    rustix::thread::unshare(rustix::thread::UnshareFlags::FS)?;
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?)
}

/// Whatever an attempt before left over the placeholder goes; what must be there stays.
fn put(volume: &Carried<'_>, placeholder: (u64, u64)) -> io::Result<()> {
    let Carried { mount, tree } = volume;
    for _ in 0..=STALE_MAX {
        let seen = fs::metadata(&mount.path)?;
        let seen = (seen.dev(), seen.ino());
        if seen == (mount.device, mount.inode) {
            return restrict(mount);
        }
        if seen == placeholder {
            let flags =
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
            move_mount(tree, "", CWD, &mount.path, flags)?;
        } else {
            unmount(&mount.path, UnmountFlags::empty())?;
        }
    }
    Err(io::Error::other("neither the volume nor its placeholder can be seen there"))
}

/// The copy is still a peer of the host's mount: parted from it, mounts on either side stay there.
fn restrict(mount: &VerifiedMount) -> io::Result<()> {
    mount_change(&mount.path, MountPropagationFlags::PRIVATE)?;
    if !mount.read_only {
        return Ok(());
    }
    // A remount sets all flags of a mount anew.
    let before = statvfs(&mount.path)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (kept, flag) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ] {
        flags.set(flag, before.contains(kept));
    }
    Ok(mount_remount(&mount.path, flags, "")?)
}
