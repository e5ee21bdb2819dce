//! `cargo xtask guest`: machines with OpenZFS, for tests and for people. Thin over `tests/zfs-guest`: the scripts there do
//! the work, this says what it takes, installs it where it may, and passes on what they say.

use std::{
    env, ffi::OsString, fs, os::unix::process::CommandExt as _, path::PathBuf,
    process::Command as Process,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    interrupt, machine, say,
    setup::{self, Need},
    shell, test, wasm_target,
};

/// What they run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// User-mode Linux: ordinary processes of this machine, nearly as fast as it, one CPU each.
    Uml,
    /// qemu without KVM: slower, several CPUs, for processors that user-mode Linux does not know.
    Tcg,
}

impl Backend {
    const fn name(self) -> &'static str {
        match self {
            Self::Uml => "uml",
            Self::Tcg => "tcg",
        }
    }

    /// The one for this machine.
    fn usual() -> Result<Self> {
        let said = shell::output(script("guest.sh").arg("backend"))?;
        Self::from_str(said.trim(), false)
            .map_err(|_| anyhow::anyhow!("there is no backend `{}`\nhint: uml or tcg", said.trim()))
    }
}

/// What to do with guests.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Builds what guests boot, into your cache: Debian's kernel, and OpenZFS for it. Two to three minutes, 150 MB to
    /// download, 40 MB to keep; seconds where it was built of the same versions. Root, on Debian 12.
    Build {
        /// What they run on; `uml`, unless this processor needs the other.
        #[arg(long)]
        backend: Option<Backend>,
        /// Does not ask before it installs something.
        #[arg(long)]
        yes: bool,
    },
    /// Boots a guest, runs a command of this machine in it as root, and exits as the command did.
    Run {
        #[command(flatten)]
        hardware: Hardware,
        /// The longest that it may take, in seconds.
        #[arg(short, long, default_value_t = 600)]
        time: u32,
        /// A folder of this machine that the guest may write; all else that it writes vanishes.
        #[arg(short, long, value_name = "FOLDER")]
        writable: Option<String>,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Boots a guest in the background. Guests reach each other by n1, n2… and this machine as 10.77.0.254.
    Up {
        #[command(flatten)]
        hardware: Hardware,
        /// Its number on the LAN: n1 has the address 10.77.0.1.
        #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
        id: u8,
        /// What the other commands call it.
        name: String,
    },
    /// Runs a command in a guest that is up; without one, a shell.
    Exec {
        name: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Moves a guest's cable to another switch: guests on different switches do not reach each other.
    Plug {
        name: String,
        /// Any number; all guests begin on 0.
        switch: u8,
    },
    /// Cuts a guest's power. `up` with the same name and disks boots it again.
    Kill { name: String },
    /// Ends guests, and deletes their disks.
    Down {
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Ends every guest that was started by hand, and removes what is left of them.
    Clean {
        /// Also those of tests, also if they run.
        #[arg(long)]
        all: bool,
    },
    /// Runs the tests that have `zfs_guest` in their names, each in a guest of its own.
    Test {
        /// Arguments for `cargo nextest run`: a test's name, `--test NAME`…
        #[arg(last = true)]
        nextest: Vec<String>,
    },
}

/// What a guest has.
#[derive(Debug, Args)]
pub(crate) struct Hardware {
    /// An empty disk of this size (`2G`); the first is /dev/vda, the next /dev/vdb.
    #[arg(short, long = "disk", value_name = "SIZE")]
    disks: Vec<String>,
    /// Its memory, in MiB.
    #[arg(short, long, default_value_t = 1024)]
    memory: u32,
    /// Modules that are loaded at boot, besides zfs.
    #[arg(short = 'k', long, value_name = "MODULE,…")]
    modules: Option<String>,
    /// Says what happens while it boots.
    #[arg(short, long)]
    verbose: bool,
}

impl Hardware {
    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> =
            self.disks.iter().flat_map(|size| ["-d".to_owned(), size.clone()]).collect();
        words.extend(["-m".to_owned(), self.memory.to_string()]);
        words.extend(self.modules.iter().flat_map(|list| ["-k".to_owned(), list.clone()]));
        words.extend(self.verbose.then(|| "-v".to_owned()));
        words
    }
}

/// Does it; for all but `build` and `test` the script takes our place, and its exit status is ours.
pub(crate) fn run(command: &Command) -> Result<bool> {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let words = match command {
        Command::Build { backend, yes } => {
            let backend = backend.map_or_else(Backend::usual, Ok)?;
            build(backend, *yes)?;
            return Ok(true);
        }
        Command::Test { nextest } => return test::zfs(nextest),
        Command::Run { hardware, time, writable, command } => {
            let mut words = [own(&["run", "-t", &time.to_string()]), hardware.words()].concat();
            words.extend(writable.iter().flat_map(|folder| own(&["-w", folder])));
            [words, own(&["--"]), command.clone()].concat()
        }
        Command::Up { hardware, id, name } => {
            [own(&["up", "-i", &id.to_string()]), hardware.words(), own(&[name])].concat()
        }
        Command::Exec { name, command } => [own(&["exec", name]), command.clone()].concat(),
        Command::Plug { name, switch } => own(&["plug", name, &switch.to_string()]),
        Command::Kill { name } => own(&["kill", name]),
        Command::Down { names } => [own(&["down"]), names.clone()].concat(),
        Command::Clean { all } => own(if *all { &["clean", "all"] } else { &["clean"] }),
    };
    let error = script("guest.sh").args(words).exec();
    Err(error).context("could not run `tests/zfs-guest/guest.sh`")
}

/// A script of `tests/zfs-guest`.
pub(crate) fn script(name: &str) -> Process {
    Process::new(crate::root().join("tests/zfs-guest").join(name))
}

/// Whether guests can run on this machine; if not, why.
pub(crate) fn possible() -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "guests need x86-64");
    ensure!(machine::is_root(), "guests need root");
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = system.lines().any(|line| line == "VERSION_CODENAME=bookworm");
    ensure!(release, "guests are built of the packages of Debian 12, and this is another system");
    Ok(())
}

/// Builds a guest of the usual kind, unless the scripts that are here built one. What it takes to run one is installed in
/// either case: a cache may well outlive the packages that were there when it was filled.
pub(crate) fn ensure_built(yes: bool) -> Result<()> {
    possible()?;
    let backend = Backend::usual()?;
    if shell::output(script("build.sh").args(["built", backend.name()])).is_ok() {
        return install("run", needs_to_run(backend), yes);
    }
    build(backend, yes)
}

fn install(what_for: &str, needs: Vec<&'static Need>, yes: bool) -> Result<()> {
    let missing = setup::packages(needs, yes)?;
    ensure!(
        missing.is_empty(),
        "no guest can {what_for} without {}\nhint: `cargo xtask guest build` installs them",
        missing.join(", ")
    );
    Ok(())
}

fn build(backend: Backend, yes: bool) -> Result<()> {
    possible().context("no guest can be built here")?;
    let needs = NEEDS_TO_BUILD.iter().chain(needs_to_run(backend)).collect();
    install("be built", needs, yes)?;
    say::line(
        "building a guest with OpenZFS into your cache, unless there is one of the newest packages (about three minutes, \
         150 MB to download)",
    );
    // Ctrl-C reaches the script as well, which then removes what it began.
    let built = interrupt::shielded(|| shell::run(script("build.sh").arg(backend.name())));
    interrupt::check()?;
    built.context("no guest was built; the reason is above")
}

const NEEDS_TO_BUILD: [Need; 10] = [
    Need::new("gcc", "gcc", "compiles OpenZFS for the kernel of guests"),
    Need::new("/usr/include/stdio.h", "libc6-dev", "compiles OpenZFS for the kernel of guests"),
    Need::new("make", "make", "compiles OpenZFS for the kernel of guests"),
    Need::new("flex", "flex", "configures the kernel of guests"),
    Need::new("bison", "bison", "configures the kernel of guests"),
    Need::new("bc", "bc", "configures the kernel of guests"),
    Need::new("xz", "xz-utils", "unpacks the kernel of guests"),
    Need::new("depmod", "kmod", "sorts the modules of guests"),
    Need::new("cpio", "cpio", "packs what guests boot from"),
    Need::new("zstd", "zstd", "packs what guests boot from"),
];

const NEEDS_TO_RUN: [Need; 6] = [
    Need::new("pkg-config", "pkg-config", "finds the libraries of OpenZFS"),
    Need::new("busybox", "busybox-static", "the first program of a guest"),
    Need::new("dropbear", "dropbear-bin", "lets commands into a guest"),
    Need::new("ssh", "openssh-client", "sends commands to a guest"),
    Need::new("ip", "iproute2", "the LAN of guests"),
    Need::new(
        "/usr/lib/x86_64-linux-gnu/libtirpc.so.3",
        "libtirpc3",
        "the commands of OpenZFS, which run in guests with this machine's libraries",
    ),
];

const NEEDS_OF_TCG: [Need; 4] = [
    Need::new("qemu-system-x86_64", "qemu-system-x86", "runs guests"),
    Need::new("/usr/lib/qemu/virtiofsd", "qemu-system-common", "shows guests this machine's files"),
    Need::new("gcc-12", "gcc-12", "compiles OpenZFS for the kernel of guests"),
    Need::new("/usr/lib/x86_64-linux-gnu/libelf.so.1", "libelf1", "compiles modules of guests"),
];

/// Those of the other backend are few, and wanted for building and running at once.
fn needs_to_run(backend: Backend) -> Vec<&'static Need> {
    let more = match backend {
        Backend::Uml => &[][..],
        Backend::Tcg => &NEEDS_OF_TCG[..],
    };
    NEEDS_TO_RUN.iter().chain(more).collect()
}

/// The folder that guests are built into; the scripts have the same rule.
fn cache() -> Result<PathBuf> {
    let named = env::var_os("ZFS_GUEST_CACHE").map(PathBuf::from);
    named.map_or_else(|| Ok(wasm_target::cache()?.with_file_name("zfs-guest")), Ok)
}

/// What `cargo build` has to be told so that it finds the libraries of OpenZFS: nothing where the system has them,
/// else where they were unpacked for guests. What is linked with them runs in guests as it is; on this machine it would
/// also need `LD_LIBRARY_PATH`, the same folder as `LIBRARY_PATH`, and an OpenZFS in the kernel.
pub(crate) fn link_environment() -> Result<Vec<(&'static str, OsString)>> {
    if shell::output(shell::command("pkg-config").args(["--exists", "libzfs_core"])).is_ok() {
        return Ok(Vec::new());
    }
    let libraries = cache()?.join("sysroot/usr/lib/x86_64-linux-gnu");
    ensure!(
        libraries.is_dir(),
        "there are no libraries of OpenZFS to link with\nhint: `cargo xtask guest build`, or install libzfslinux-dev"
    );
    let descriptions = libraries.join("pkgconfig");
    Ok(vec![("PKG_CONFIG_PATH", descriptions.into()), ("LIBRARY_PATH", libraries.into())])
}
