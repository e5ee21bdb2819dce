//! The demo's parts without a cluster: a Docker of our own, the images, the client, and that the sweep finds it all.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    client::{Client, Door, Verdict},
    docker::Docker,
    images,
    sweep::sweep,
};
use crate::{artifacts, interrupt, leftovers::Moment, shell};

/// Sweeps the folder, also when the test fails.
struct Swept(PathBuf);

impl Drop for Swept {
    fn drop(&mut self) {
        sweep(&self.0).expect("the sweep cleans up");
    }
}

fn wait_for_records(client: &mut Client, count: usize) {
    interrupt::wait_for("the client writing", Duration::from_secs(60), || {
        client.check()?;
        Ok((client.acked() >= count).then_some(()))
    })
    .unwrap();
}

fn redis(docker: &Docker, words: &[&str]) {
    shell::output(docker.command().args(words)).unwrap();
}

/// Given redis is stopped and started again under the client, the client counts the refusals and loses nothing; and a
/// sweep afterwards, as after `kill -9`, leaves nothing.
#[test]
fn a_restarted_redis_loses_no_acknowledged_record() {
    let work = artifacts::target_folder().join(format!("demo-test-{}", std::process::id()));
    fs::create_dir_all(&work).unwrap();
    let swept = Swept(work.canonicalize().unwrap());
    let work: &Path = &swept.0;
    let docker = Docker::start(work).unwrap();
    let images = artifacts::target_folder().join("demo-images");
    images::prepare(&images, Some(&docker)).unwrap();
    images::load(&docker, &images).unwrap();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let port = port.to_string();
    redis(
        &docker,
        &[
            "run",
            "--detach",
            "--name=redis",
            "--network=host",
            "demo-redis",
            "redis-server",
            "--port",
            &port,
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ],
    );
    let up = || Ok(std::net::TcpStream::connect(address).ok());
    interrupt::wait_for("redis", Duration::from_secs(20), up).unwrap();

    let door = Door { node: "host".into(), address };
    let mut client = Client::start(door, &work.join("acknowledged"), Duration::ZERO).unwrap();
    wait_for_records(&mut client, 50);
    redis(&docker, &["stop", "redis"]);
    let refused = || Ok((client.seen().refused > 0).then_some(()));
    interrupt::wait_for("a refusal", Duration::from_secs(20), refused).unwrap();
    redis(&docker, &["start", "redis"]);
    let before = client.acked();
    wait_for_records(&mut client, before + 50);
    let (seen, verdict) = client.finish().unwrap();

    assert_eq!(verdict, Verdict { survived: verdict.survived, ..Verdict::default() });
    assert!(seen.refused > 0 && seen.acked.len() >= 100, "{} refused", seen.refused);
    drop(swept);
    let name = format!("demo-test-{}", std::process::id());
    assert_eq!(Moment::now().naming(&format!("{name}/")), Vec::<&String>::new());
    let groups = folders_named(&format!("flocker-{name}"), Path::new("/sys/fs/cgroup"));
    assert_eq!(groups, Vec::<PathBuf>::new());
}

/// Folders of this name, however deep.
fn folders_named(name: &str, within: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(within).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let (found, others): (Vec<_>, Vec<_>) = folders
        .map(|folder| folder.path())
        .partition(|folder| folder.file_name().is_some_and(|known| known == name));
    found.into_iter().chain(others.iter().flat_map(|folder| folders_named(name, folder))).collect()
}
