//! Takes away everything that a test daemon may have left on the machine, however it ended. Best effort: it runs while a
//! test may be failing already, so nothing here can fail.

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    query_parameters::{ListContainersOptions, RemoveContainerOptions},
};
use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};

/// How long a daemon may take to end when asked nicely.
const GRACE: Duration = Duration::from_secs(20);

/// Time between two looks at something that is ending.
const LOOK: Duration = Duration::from_millis(20);

pub(super) fn remove(
    daemon: Option<Child>,
    socket: &Path,
    folder: &Path,
    name: &str,
    pool: [u8; 4],
) {
    if let Some(mut daemon) = daemon {
        remove_containers(socket);
        signal(Pid::from_child(&daemon), Signal::TERM);
        if !wait(|| matches!(daemon.try_wait(), Ok(Some(_)) | Err(_))) {
            signal(Pid::from_child(&daemon), Signal::KILL);
        }
        drop(daemon.wait());
    }
    let ours = || processes(folder, name);
    ours().into_iter().for_each(|pid| signal(pid, Signal::KILL));
    wait(|| ours().is_empty());
    unmount_under(folder);
    remove_bridges(pool);
    let Ok(hierarchies) = fs::read_dir("/sys/fs/cgroup") else { return };
    remove_groups(&Path::new("/sys/fs/cgroup").join(name));
    hierarchies.flatten().for_each(|hierarchy| remove_groups(&hierarchy.path().join(name)));
}

fn signal(pid: Pid, signal: Signal) {
    // One that has ended in the meantime is what was wanted.
    let _ = kill_process(pid, signal);
}

fn wait(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + GRACE;
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK);
    }
    true
}

/// On a thread of its own, for the test may be dropping its daemon inside its own runtime.
fn remove_containers(socket: &Path) {
    let socket = socket.to_string_lossy().into_owned();
    let removal = async move {
        let docker = Docker::connect_with_unix(&socket, 20, API_DEFAULT_VERSION)?
            .negotiate_version()
            .await?;
        let all = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        for id in docker
            .list_containers(Some(all))
            .await?
            .into_iter()
            .filter_map(|container| container.id)
        {
            let force = RemoveContainerOptions { v: true, force: true, link: false };
            drop(docker.remove_container(&id, Some(force)).await);
        }
        Ok::<_, bollard::errors::Error>(())
    };
    let thread = thread::spawn(|| {
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            drop(runtime.block_on(removal));
        }
    });
    drop(thread.join());
}

/// containerd and its shims have the folder on their command lines, containers are in the cgroup.
fn processes(folder: &Path, group: &str) -> Vec<Pid> {
    let folder = folder.to_string_lossy().into_owned();
    let group = format!("/{group}/");
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id();
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| u32::try_from(*pid) != Ok(own))
        .filter(|pid| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            text(read("cmdline")).contains(&folder) || text(read("cgroup")).contains(&group)
        })
        .filter_map(Pid::from_raw)
        .collect()
}

fn unmount_under(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| Path::new(point).starts_with(folder)) {
        let _ = unmount(point, UnmountFlags::DETACH);
    }
}

/// Docker leaves the bridges of its networks when it ends. They are known by their addresses.
fn remove_bridges([a, b, c, _]: [u8; 4]) {
    let Ok(listed) = Command::new("ip").args(["-o", "-4", "addr", "show"]).output() else { return };
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let mut words = line.split_whitespace().skip(1);
        let (Some(interface), Some(_), Some(address)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let address =
            address.split('/').next().and_then(|address| address.parse::<Ipv4Addr>().ok());
        let is_ours = address.is_some_and(|address| address.octets()[..3] == [a, b, c]);
        if is_ours && interface.starts_with("br-") {
            drop(Command::new("ip").args(["link", "delete", interface]).status());
        }
    }
}

fn remove_groups(group: &Path) {
    let Ok(inner) = fs::read_dir(group) else { return };
    inner
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .for_each(|entry| remove_groups(&entry.path()));
    drop(fs::remove_dir(group));
}
