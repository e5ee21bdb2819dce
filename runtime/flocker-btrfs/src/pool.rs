//! A pool: a folder on an existing btrfs, or a file of our own with a btrfs inside. Opens it once, for one program.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use flocker_model::ByteSize;
use flocker_ports::{BackendError, Change};
use flocker_system::command::{command, find, output, tail};

use crate::{
    command::Btrfs,
    layout::Layout,
    mount::{self, MountError},
    subvolume::Subvolume,
};

/// Where the storage of a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolConfig {
    /// A folder on a btrfs that the operator made; only a subvolume `flocker` in it is touched.
    Filesystem(PathBuf),
    /// A sparse file with a btrfs inside, made when it is missing, mounted under `state_dir`. A larger `size` than it
    /// has makes it grow.
    File {
        /// Where the mount and the lock are.
        state_dir: PathBuf,
        /// The file.
        path: PathBuf,
        /// How large the file claims to be; it takes only what is written.
        size: ByteSize,
    },
}

impl PoolConfig {
    /// The size of a pool that nobody chose.
    pub const SIZE_DEFAULT: ByteSize = ByteSize::gib(10);
    /// Below this, btrfs spends more on itself than on data.
    pub const SIZE_MIN: ByteSize = ByteSize::mib(256);
}

/// Why a pool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Mounts and subvolumes need it.
    #[error("the btrfs backend needs root\nhint: start it as root, for example with `sudo`")]
    NotRoot,
    /// A program is not installed.
    #[error(
        "the program `{program}` was not found\nhint: install it, on Debian with `apt-get install {package}`"
    )]
    MissingProgram { program: &'static str, package: &'static str },
    /// The kernel cannot.
    #[error(
        "this kernel has no btrfs\nhint: `modprobe btrfs` should load it; where the module is missing, use a kernel \
         that has it or another backend"
    )]
    NoKernelSupport,
    /// It is something else.
    #[error(
        "`{path}` is not on a btrfs\nhint: name a folder on one, or leave the pool out to use a file of its own"
    )]
    NotBtrfs { path: PathBuf },
    /// Someone made a plain folder of the name that our subvolume would have.
    #[error(
        "`{path}` is a plain folder, and no subvolume of ours\nhint: move it away, or name another folder for the pool"
    )]
    NotOurs { path: PathBuf },
    /// Another program has it.
    #[error(
        "pool `{path}` is in use by another program\nhint: is another `flocker-runtime` running with this pool?"
    )]
    InUse { path: PathBuf },
    /// The size that was asked for cannot work.
    #[error("a pool of {size} is too small\nhint: give it at least {min} with `--pool-size`", min = PoolConfig::SIZE_MIN)]
    TooSmall { size: ByteSize },
    /// The disk under the file is nearly full.
    #[error(
        "the disk that holds `{path}` has only {free} left\nhint: free space there, or put the pool on another disk \
         with `--pool file:PATH`"
    )]
    DiskFull { path: PathBuf, free: ByteSize },
    /// The mount failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A file or folder could not be made or read.
    #[error("could not {action} `{path}`")]
    Files {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The pool is there, but what is in it could not be read or put in order.
    #[error("could not put the pool in order")]
    Contents(#[source] BackendError),
}

/// An open pool.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) layout: Layout,
    pub(crate) btrfs: Btrfs,
    /// The number of the subvolume that is the pool's root.
    pub(crate) root_id: u64,
    /// Where it is mounted, where that is our doing: then the whole filesystem is ours.
    pub(crate) mounted: Option<Mounted>,
    /// Held as long as the pool is open; the kernel lets go of it when the program ends, however it ends.
    _lock: File,
}

/// Where a pool in a file is mounted.
#[derive(Debug, Clone)]
pub(crate) struct Mounted {
    folder: PathBuf,
    /// Whether that was done now. An earlier program may have left it mounted, and containers use it.
    change: Change,
}

impl Mounted {
    /// Unmounts what was mounted now. What stays is found again by the next start.
    async fn undo(&self) {
        if self.change == Change::Made
            && let Err(error) = mount::unmount(&self.folder).await
        {
            tracing::warn!(%error, "the pool stays mounted");
        }
    }
}

impl Pool {
    pub(crate) async fn open(config: &PoolConfig) -> Result<Self, OpenError> {
        let program = check_machine().await?;
        match config {
            PoolConfig::Filesystem(folder) => {
                let btrfs = Btrfs { program, pool: folder.display().to_string() };
                let (root, lock) = open_folder(&btrfs, folder).await?;
                Self::on(btrfs, root, None, lock).await
            }
            PoolConfig::File { state_dir, path, size } => {
                make_folder(state_dir)?;
                let lock = lock(&state_dir.join("pool.lock"), path)?;
                make_file(path, *size).await?;
                let root = state_dir.join("pool");
                make_folder(&root)?;
                let (path, root) = (canonical(path)?, canonical(&root)?);
                let mount = mount::mount_file(&path, &root).await?;
                let btrfs = Btrfs { program, pool: path.display().to_string() };
                let mounted = Mounted { folder: root.clone(), change: mount };
                let opened = match grow(&btrfs.program, &path, &root, *size).await {
                    Ok(()) => Self::on(btrfs, root, Some(mounted.clone()), lock).await,
                    Err(error) => Err(error),
                };
                if opened.is_err() {
                    mounted.undo().await;
                }
                opened
            }
        }
    }

    /// The pool in a folder that shows a btrfs.
    async fn on(
        btrfs: Btrfs,
        root: PathBuf,
        mounted: Option<Mounted>,
        lock: File,
    ) -> Result<Self, OpenError> {
        let layout = Layout::new(root);
        for folder in layout.folders() {
            make_folder(&folder)?;
        }
        let root_id = prepare(&btrfs, layout.root()).await.map_err(OpenError::Contents)?;
        Ok(Self { layout, btrfs, root_id, mounted, _lock: lock })
    }

    /// Takes back what opening did to the machine.
    pub(crate) async fn undo_open(&self) {
        if let Some(mounted) = &self.mounted {
            mounted.undo().await;
        }
    }

    /// The subvolumes of the pool, with paths from its root. What lies in other subvolumes, an operator's or a
    /// container's, is not ours to see.
    pub(crate) async fn list(&self) -> Result<Vec<Subvolume>, BackendError> {
        let mut listed = self.btrfs.list(self.layout.root()).await?;
        listed.retain(|subvolume| subvolume.top == self.root_id);
        Ok(listed)
    }

    /// Unmounts a pool that was mounted by us. Containers that still have a volume mounted keep it.
    pub(crate) async fn close(&self) -> Result<(), MountError> {
        match &self.mounted {
            Some(mounted) => mount::unmount(&mounted.folder).await,
            None => Ok(()),
        }
    }
}

async fn check_machine() -> Result<PathBuf, OpenError> {
    if !rustix::process::geteuid().is_root() {
        return Err(OpenError::NotRoot);
    }
    let program = find("btrfs")
        .ok_or(OpenError::MissingProgram { program: "btrfs", package: "btrfs-progs" })?;
    if !kernel_knows_btrfs() {
        if let Some(modprobe) = find("modprobe") {
            let mut load = command(&modprobe);
            load.arg("btrfs");
            // Its own words would say less than the question that follows.
            let _ = output(load).await;
        }
        if !kernel_knows_btrfs() {
            return Err(OpenError::NoKernelSupport);
        }
    }
    Ok(program)
}

fn kernel_knows_btrfs() -> bool {
    fs::read_to_string("/proc/filesystems").is_ok_and(|text| {
        text.lines().any(|line| line.split_whitespace().next_back() == Some("btrfs"))
    })
}

/// Makes or finds the subvolume of ours in an operator's filesystem.
async fn open_folder(btrfs: &Btrfs, folder: &Path) -> Result<(PathBuf, File), OpenError> {
    let folder = canonical(folder)?;
    let statfs = rustix::fs::statfs(&folder).map_err(|error| OpenError::Files {
        action: "look at",
        path: folder.clone(),
        source: error.into(),
    })?;
    // The type is signed on some machines and unsigned on others, and the number fits both.
    if i128::from(statfs.f_type) != BTRFS_MAGIC {
        return Err(OpenError::NotBtrfs { path: folder });
    }
    let lock = lock(&folder.join(".flocker.lock"), &folder)?;
    let root = folder.join("flocker");
    if !btrfs.is_there(&root).map_err(OpenError::Contents)? {
        btrfs.create(&root).await.map_err(OpenError::Contents)?;
    }
    let metadata = fs::metadata(&root).map_err(|source| OpenError::Files {
        action: "look at",
        path: root.clone(),
        source,
    })?;
    if metadata.ino() != SUBVOLUME_INODE {
        return Err(OpenError::NotOurs { path: root });
    }
    Ok((root, lock))
}

const BTRFS_MAGIC: i128 = 0x9123_683E;

/// The root folder of every subvolume has it, and no other folder.
const SUBVOLUME_INODE: u64 = 256;

/// Turns on quotas, and finds out the number of the pool's root.
async fn prepare(btrfs: &Btrfs, root: &Path) -> Result<u64, BackendError> {
    let enable: [&OsStr; 3] = ["quota".as_ref(), "enable".as_ref(), root.as_ref()];
    btrfs.run("could not turn on quotas", &enable).await?;
    let action = "could not find the pool's subvolume";
    let ask: [&OsStr; 3] = ["inspect-internal".as_ref(), "rootid".as_ref(), root.as_ref()];
    let id = btrfs.run(action, &ask).await?;
    id.trim().parse().map_err(|_| BackendError::Failed {
        action: action.to_owned(),
        reason: format!("got `{id}`"),
    })
}

/// Makes the pool's file where it is missing: under another name first, so that a file by the right name is complete.
async fn make_file(path: &Path, size: ByteSize) -> Result<(), OpenError> {
    if path.exists() {
        return Ok(());
    }
    if size < PoolConfig::SIZE_MIN {
        return Err(OpenError::TooSmall { size });
    }
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(folder)?;
    check_room(folder, path, size)?;
    let mkfs = find("mkfs.btrfs")
        .ok_or(OpenError::MissingProgram { program: "mkfs.btrfs", package: "btrfs-progs" })?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let failed = |action| {
        let path = unfinished.clone();
        move |source| OpenError::Files { action, path, source }
    };
    let file = File::create(&unfinished).map_err(failed("make"))?;
    file.set_len(size.0).map_err(failed("set the size of"))?;
    let mut format = command(&mkfs);
    format.args(["--quiet", "--force", "--label", "flocker"]).arg(&unfinished);
    let made = output(format).await.map_err(failed("format"))?;
    if !made.status.success() {
        return Err(failed("format")(io::Error::other(tail(&made.stderr))));
    }
    file.sync_all().map_err(failed("flush"))?;
    fs::rename(&unfinished, path).map_err(failed("rename"))?;
    crate::sidecar::sync_folder(folder).map_err(failed("flush the folder of"))
}

/// A thin file may promise more than there is; that is worth a warning. One that cannot even start is refused.
fn check_room(folder: &Path, path: &Path, size: ByteSize) -> Result<(), OpenError> {
    let statvfs = rustix::fs::statvfs(folder).map_err(|error| OpenError::Files {
        action: "look at",
        path: folder.to_owned(),
        source: error.into(),
    })?;
    let free = ByteSize(statvfs.f_bavail * statvfs.f_frsize);
    if free < PoolConfig::SIZE_MIN {
        return Err(OpenError::DiskFull { path: path.to_owned(), free });
    }
    if free < size {
        tracing::warn!(path = %path.display(), %free, %size, "the pool may grow larger than what its disk has free");
    }
    Ok(())
}

/// Gives the filesystem the size that was asked for, where that is more than it has.
async fn grow(program: &Path, path: &Path, root: &Path, size: ByteSize) -> Result<(), OpenError> {
    let failed = |source| OpenError::Files { action: "grow", path: path.to_owned(), source };
    let length = ByteSize(fs::metadata(path).map_err(failed)?.len());
    if size < length {
        tracing::warn!(path = %path.display(), has = %length, asked = %size, "a pool does not shrink; left as it is");
    }
    if size > length {
        let file = File::options().write(true).open(path).map_err(failed)?;
        file.set_len(size.0).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    // Also where only the file grew before a crash.
    let statvfs = rustix::fs::statvfs(root).map_err(|error| failed(error.into()))?;
    let missing = size.max(length).0.saturating_sub(statvfs.f_blocks * statvfs.f_frsize);
    if missing < statvfs.f_frsize {
        return Ok(());
    }
    mount::reread_size(path).await?;
    let btrfs = Btrfs { program: program.to_owned(), pool: path.display().to_string() };
    let args: [&OsStr; 4] =
        ["filesystem".as_ref(), "resize".as_ref(), "max".as_ref(), root.as_ref()];
    btrfs.run("could not grow the pool", &args).await.map(drop).map_err(OpenError::Contents)
}

fn lock(path: &Path, pool: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Files { action: "lock", path: path.to_owned(), source };
    let file =
        File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: pool.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn make_folder(path: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(path).map_err(|source| OpenError::Files {
        action: "make folder",
        path: path.to_owned(),
        source,
    })
}

fn canonical(path: &Path) -> Result<PathBuf, OpenError> {
    path.canonicalize().map_err(|source| OpenError::Files {
        action: "find",
        path: path.to_owned(),
        source,
    })
}
