//! Cleans up after a demo, by what the machine shows and not by what a run remembers: so the end of a run, the way out
//! of a failed one, and the start after one that was killed all do the same. Removes only what lies in the work folder,
//! or carries our labels, control group or addresses.

use std::{
    collections::BTreeSet,
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, WaitOptions, kill_process, waitpid},
};

use super::{
    docker::{Docker, control_group},
    firewall, images,
    nodes::{ADDRESSES, NAMES},
    zfs,
};
use crate::shell;

/// The label on everything that a node made in Docker; its value is the node's name.
const LABEL: &str = "io.flocker.node";

/// Programs of a demo that are found by the work folder in their command lines.
const PROGRAMS: [&str; 7] = [
    "flocker-runtime",
    "flocker",
    "flocker-gate",
    "dockerd",
    "containerd",
    "containerd-shim-runc-v2",
    "runc",
];

/// How long a program may take to end when asked.
const GRACE: Duration = Duration::from_secs(8);

/// Removes everything of a demo in this folder, and the folder; says what it found.
pub(super) fn sweep(work: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    end("node processes", &mut found, || {
        processes(work, |program| program.starts_with("flocker"))
    })?;
    if let Some(docker) = Docker::of_the_system() {
        of_system_docker(&docker, &mut found)?;
    }
    end("containers' processes", &mut found, || contained(work))?;
    // A dockerd ends its containerd, and waits for it for long where somebody else ended it.
    end("Docker of our own", &mut found, || processes(work, |program| program == "dockerd"))?;
    end("processes of that Docker", &mut found, || processes(work, |_| true))?;
    reap();
    mounts(work, &mut found)?;
    zfs::destroy_pools(work, &mut found)?;
    loop_devices(work, &mut found)?;
    bridges(&mut found)?;
    firewall::close(&mut found)?;
    control_groups(work);
    if work.exists() {
        // A file system that is still mounted here would lose its files with the folder.
        if let Some(mount) = mounted_in(work)?.first() {
            bail!(
                "`{}` is still mounted; nothing in `{}` was removed",
                mount.display(),
                work.display()
            );
        }
        fs::remove_dir_all(work)
            .with_context(|| format!("could not remove `{}`", work.display()))?;
        found.push(format!("folder {}", work.display()));
    }
    Ok(found)
}

/// Asks the processes to end, then makes them.
fn end(what: &str, found: &mut Vec<String>, list: impl Fn() -> Vec<Pid>) -> Result<()> {
    let first = list();
    if first.is_empty() {
        return Ok(());
    }
    found.push(format!("{} {what}", first.len()));
    for (signal, limit) in [(Signal::TERM, GRACE), (Signal::KILL, GRACE)] {
        for pid in list() {
            // It may have ended by itself in between.
            let _ = kill_process(pid, signal);
        }
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if list().is_empty() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    bail!("{what} did not end, not even when killed: {:?}", list())
}

/// Looks after children of ours that ended: where nobody adopts them properly, they would stay as zombies.
fn reap() {
    while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
}

/// Processes of our programs whose command line names the work folder.
fn processes(work: &Path, wanted: impl Fn(&str) -> bool) -> Vec<Pid> {
    let inside = format!("{}/", work.display());
    all_pids().filter(|pid| is_ours(*pid, &inside, &wanted)).collect()
}

fn is_ours(pid: Pid, inside: &str, wanted: &impl Fn(&str) -> bool) -> bool {
    // A process that ended has an empty command line until its parent looks after it.
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).into_owned();
    let program =
        line.split('\0').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    PROGRAMS.contains(&program) && wanted(program) && line.contains(inside)
}

/// Processes in the control group of our own Docker's containers.
fn contained(work: &Path) -> Vec<Pid> {
    let group = format!(":/{}/", control_group(work));
    let is_in = |pid: &Pid| {
        let id = pid.as_raw_nonzero();
        fs::read_to_string(format!("/proc/{id}/cgroup")).is_ok_and(|groups| groups.contains(&group))
            && fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty())
    };
    all_pids().filter(is_in).collect()
}

fn all_pids() -> impl Iterator<Item = Pid> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(move |pid| *pid != own).filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
}

/// Containers and networks that our nodes made in the system's Docker, and our images.
fn of_system_docker(docker: &Docker, found: &mut Vec<String>) -> Result<()> {
    for node in NAMES {
        let filter = format!("label={LABEL}={node}");
        let list = |words: &[&str]| -> Result<Vec<String>> {
            let listed =
                shell::output(docker.command().args(words).args(["--quiet", "--filter", &filter]))?;
            Ok(listed.lines().map(str::to_owned).collect())
        };
        let containers = list(&["ps", "--all"])?;
        if !containers.is_empty() {
            shell::output(docker.command().args(["rm", "--force"]).args(&containers))?;
            found.push(format!("{} containers of {node}", containers.len()));
        }
        let networks = list(&["network", "ls"])?;
        if !networks.is_empty() {
            shell::output(docker.command().args(["network", "rm"]).args(&networks))?;
            found.push(format!("the network of {node}"));
        }
    }
    for image in images::NAMES.into_iter().filter(|image| docker.has_image(image)) {
        shell::output(docker.command().args(["image", "rm", image]))?;
        found.push(format!("image {image}"));
    }
    Ok(())
}

/// Mount points in the folder, the innermost first.
fn mounted_in(work: &Path) -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("could not list mounts")?;
    let paths = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    let mut inside: Vec<PathBuf> = paths.filter(|path| path.starts_with(work)).collect();
    inside.reverse();
    Ok(inside)
}

/// The kernel writes blanks in paths as octal numbers.
fn unescaped(path: &str) -> PathBuf {
    PathBuf::from(path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
}

fn mounts(work: &Path, found: &mut Vec<String>) -> Result<()> {
    let inside = mounted_in(work)?;
    for path in &inside {
        // Lazily: a process that was killed a moment ago may still hold it.
        match unmount(path, UnmountFlags::DETACH) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("could not unmount `{}`", path.display()));
            }
        }
    }
    if !inside.is_empty() {
        found.push(format!("{} mounts", inside.len()));
    }
    Ok(())
}

fn loop_devices(work: &Path, found: &mut Vec<String>) -> Result<()> {
    let mut seen = BTreeSet::new();
    let deadline = Instant::now() + GRACE;
    // A lazily unmounted pool keeps its device for a moment.
    loop {
        let devices = loops_in(work)?;
        if devices.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            bail!(
                "loop devices on files in `{}` are still busy: {}",
                work.display(),
                devices.join(", ")
            );
        }
        for device in devices {
            let detached = shell::output(
                shell::command("losetup").args(["--detach", &format!("/dev/{device}")]),
            );
            seen.insert(device);
            // It may be gone by itself; whether it is, the next look tells.
            drop(detached);
        }
        thread::sleep(Duration::from_millis(50));
    }
    if !seen.is_empty() {
        found.push(format!("{} loop devices", seen.len()));
    }
    Ok(())
}

fn loops_in(work: &Path) -> Result<Vec<String>> {
    let mut devices = Vec::new();
    for entry in fs::read_dir("/sys/block").context("could not list block devices")? {
        let name = entry
            .context("could not list block devices")?
            .file_name()
            .to_string_lossy()
            .into_owned();
        let Ok(file) = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")) else {
            continue;
        };
        if Path::new(file.trim_end()).starts_with(work) {
            devices.push(name);
        }
    }
    Ok(devices)
}

/// Bridges with exactly our addresses. They outlive a Docker that was killed, and so does a cable whose other end was
/// not yet in a container.
fn bridges(found: &mut Vec<String>) -> Result<()> {
    for address in ADDRESSES {
        for bridge in bridges_with(address)? {
            let cables = fs::read_dir(format!("/sys/class/net/{bridge}/brif")).into_iter();
            for cable in cables.flatten().flatten() {
                // One that led to a container that ended is going by itself.
                let mut delete = shell::command("ip");
                let _ = shell::output(delete.args(["link", "delete"]).arg(cable.file_name()));
            }
            shell::output(shell::command("ip").args(["link", "delete", &bridge]))?;
            found.push(format!("bridge {bridge} ({address})"));
        }
    }
    Ok(())
}

fn bridges_with(address: Ipv4Addr) -> Result<Vec<String>> {
    let mut list = shell::command("ip");
    let listed = shell::output(list.args([
        "-4",
        "-oneline",
        "address",
        "show",
        "to",
        &format!("{address}/32"),
    ]))?;
    let names = listed.lines().filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned);
    Ok(names
        .filter(|name| Path::new("/sys/class/net").join(name).join("bridge").is_dir())
        .collect())
}

/// Empty control groups of our own Docker: they cost nothing, and are not worth an error.
fn control_groups(work: &Path) {
    let controllers =
        fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for folder in controllers.chain([PathBuf::from("/sys/fs/cgroup")]) {
        let _ = remove_groups(&folder.join(control_group(work)));
    }
}

fn remove_groups(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
