//! Machines with OpenZFS for tests, on LANs whose cables can be pulled. Thin over `guest.sh`, which does the work and says
//! why it could not; nothing outlives the test, however that ends.

use std::{
    net::Ipv4Addr,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// LAN 0 is for people.
const LANS: std::ops::RangeInclusive<u8> = 1..=99;

/// The disks of a test that `cargo xtask test` runs in a guest of its own.
///
/// # Errors
/// The test runs somewhere else.
pub fn disks() -> Result<Vec<PathBuf>> {
    let named = std::env::var("ZFS_GUEST_DISKS").context(
        "ZFS_GUEST_DISKS names no disks\nhint: `cargo xtask guest test` runs this test in a guest",
    )?;
    Ok(named.split_whitespace().map(PathBuf::from).collect())
}

/// Lets a test start Docker in its guest: in memory, since no storage driver works on what a guest's `/` is, and with the
/// firewall that its kernel has. Does nothing on a machine that has OpenZFS itself.
///
/// # Errors
/// When that is refused.
pub fn make_room_for_docker() -> Result<()> {
    if !std::fs::read_to_string("/proc/cmdline")?.contains("vm.job=") {
        return Ok(());
    }
    // A checkout that lies in the folder for temporary files is put back into it.
    let line = r#"
        mkdir -p /run/checkout
        mount --bind "$2" /run/checkout
        mount -t tmpfs tmpfs "$1"
        [ -e "$2" ] || { mkdir -p "$2"; mount --bind /run/checkout "$2"; }
        for c in iptables ip6tables; do ln -sf /usr/sbin/$c-legacy /etc/alternatives/$c; done
    "#;
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let mut shell = Command::new("sh");
    shell.args(["-ec", line, "sh"]).arg(std::env::temp_dir()).arg(checkout);
    let done = shell.output()?;
    if !done.status.success() {
        bail!("Docker has no place here: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

/// A LAN of one test's own: no other test has guests on it.
#[derive(Debug)]
pub struct Lan {
    number: u8,
    /// A name that only one process has at a time, and that goes with it.
    _claim: UnixListener,
}

impl Lan {
    /// One that nobody has, cleared of what a killed test may have left on it.
    ///
    /// # Errors
    /// All are taken, or it could not be cleared.
    pub fn claim() -> Result<Self> {
        for number in LANS {
            let name = SocketAddr::from_abstract_name(format!("flocker-zfs-guest-lan-{number}"))?;
            if let Ok(claim) = UnixListener::bind_addr(&name) {
                let lan = Self { number, _claim: claim };
                lan.script(["clean"])?;
                return Ok(lan);
            }
        }
        bail!("all {} LANs are taken", LANS.count())
    }

    /// Its number, by which `guest.sh` knows it.
    #[must_use]
    pub const fn number(&self) -> u8 {
        self.number
    }

    fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest.sh");
        let mut command = Command::new(script);
        command.args(words).env("ZFS_GUEST_LAN", self.number.to_string()).stdin(Stdio::null());
        command
    }

    fn script<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<String> {
        output(&mut self.command(words))
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        if let Err(error) = self.script(["clean"]) {
            complain(&error);
        }
    }
}

/// A machine with OpenZFS. Its root folder is this machine's, under the same paths, and read-only.
#[derive(Debug)]
pub struct Guest<'lan> {
    lan: &'lan Lan,
    id: u8,
    disks: Vec<String>,
}

impl<'lan> Guest<'lan> {
    /// Boots one with empty disks of these sizes (`2G`): `/dev/vda`, `/dev/vdb`… Others reach it as `n1`, for id 1.
    ///
    /// # Errors
    /// No guest is built, or it did not come up; with its last words.
    pub fn up(lan: &'lan Lan, id: u8, disks: &[&str]) -> Result<Self> {
        let disks = disks.iter().map(|size| (*size).to_owned()).collect();
        let guest = Self { lan, id, disks };
        guest.boot()?;
        Ok(guest)
    }

    /// Boots it again on the same disks, after its power was cut, with its cable plugged in.
    ///
    /// # Errors
    /// It is up, or did not come up; with its last words.
    pub fn boot(&self) -> Result<()> {
        let (name, id, owner) = (self.name(), self.id.to_string(), std::process::id().to_string());
        let mut words = vec!["up", "-i", &id, "-p", &owner];
        for size in &self.disks {
            words.extend(["-d", size]);
        }
        words.push(&name);
        self.lan.script(words).map(drop)
    }

    /// Its address, which this machine reaches on every port, also with its cable pulled.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.lan.number, self.id)
    }

    /// A line for its shell, to be started by the caller.
    #[must_use]
    pub fn command(&self, line: &str) -> Command {
        self.lan.command(["exec", &self.name(), line])
    }

    /// Runs a line in its shell; returns what it printed.
    ///
    /// # Errors
    /// The line ended otherwise than with 0; with what it wrote to standard error.
    pub fn run(&self, line: &str) -> Result<String> {
        output(&mut self.command(line)).with_context(|| format!("on {}: {line}", self.name()))
    }

    /// No other guest reaches it any more, nor it them.
    ///
    /// # Errors
    /// It is not up.
    pub fn cut_cable(&self) -> Result<()> {
        // Each id has a switch of its own besides the common one.
        self.lan.script(["plug", &self.name(), &self.id.to_string()]).map(drop)
    }

    /// Undoes [`Guest::cut_cable`].
    ///
    /// # Errors
    /// It is not up.
    pub fn plug_in(&self) -> Result<()> {
        self.lan.script(["plug", &self.name(), "0"]).map(drop)
    }

    /// It ends at once. What it wrote to its disks is there at the next boot: writes that were not flushed are not lost.
    ///
    /// # Errors
    /// It never was up.
    pub fn cut_power(&self) -> Result<()> {
        self.lan.script(["kill", &self.name()]).map(drop)
    }

    fn name(&self) -> String {
        format!("n{}", self.id)
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.lan.script(["down", &self.name()]) {
            complain(&error);
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "for who reads the output of a test, as `Drop` returns nothing"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("{error:#}");
}

fn output(command: &mut Command) -> Result<String> {
    let out = command.output().context("could not run guest.sh")?;
    if !out.status.success() {
        bail!("{}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    String::from_utf8(out.stdout).context("it printed something that is not text")
}
