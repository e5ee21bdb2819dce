//! The guests themselves: they pass on what happens in them, reach each other or do not, and go with who started them.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use zfs_guest::{Guest, Lan};

/// So long may take what takes a second on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("guest.sh"))
}

/// Whether any process names the text in its command line.
fn named(text: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
}

#[test]
fn live_guests_end_as_their_command_did() {
    let run = |line: &str, seconds: &str| {
        let words = ["run", "-t", seconds, "--", "sh", "-c", line];
        script().args(words).stdin(Stdio::null()).output().unwrap()
    };

    let said = run("zfs version; exit 7", "60");
    let printed = String::from_utf8_lossy(&said.stdout);
    assert_eq!(said.status.code(), Some(7), "{said:?}");
    assert!(printed.contains("zfs-kmod-2."), "{printed}");

    let hung = run("exec sleep 600", "6");
    assert_eq!(hung.status.code(), Some(125), "{hung:?}");
    assert!(String::from_utf8_lossy(&hung.stderr).contains("longer than 6 s"), "{hung:?}");
}

#[test]
fn live_guests_end_with_who_started_them() {
    let lan = Lan::claim().unwrap();
    let mut owner = Command::new("sleep").arg("600").spawn().unwrap();
    let mut up = script();
    up.args(["up", "-p", &owner.id().to_string(), "orphan"]);
    let booted =
        up.env("ZFS_GUEST_LAN", lan.number().to_string()).stdin(Stdio::null()).output().unwrap();
    assert!(booted.status.success(), "{booted:?}");
    let job = env::temp_dir().join(format!("flocker-zfs-guest.{}.orphan", lan.number()));
    let job = job.to_str().unwrap();
    assert!(named(job), "nothing of `{job}` runs");

    owner.kill().unwrap();
    owner.wait().unwrap();

    until("the guest goes when its owner is killed", || !named(job) && !Path::new(job).exists());
}

#[test]
fn live_guests_replicate_across_a_pulled_cable_and_a_power_cut() {
    let lan = Lan::claim().unwrap();
    let (one, two) = thread::scope(|scope| {
        let first = scope.spawn(|| Guest::up(&lan, 1, &["1G"]));
        let second = Guest::up(&lan, 2, &["1G"]);
        (first.join().unwrap().unwrap(), second.unwrap())
    });
    one.run("zpool create -m /tank tank /dev/vda && zfs create tank/a").unwrap();
    one.run("head -c 48M /dev/urandom >/tank/a/data && zfs snapshot tank/a@1").unwrap();
    two.run("zpool create -m /tank tank /dev/vda").unwrap();
    let received = || two.run("cat /sys/class/net/[ev]*/statistics/rx_bytes").unwrap();
    let listen = || {
        let receive = two.command("busybox nc -l -p 9000 -e zfs receive -s -u tank/b").spawn();
        until("somebody listens", || two.run("busybox netstat -tln | grep -q :9000").is_ok());
        receive.unwrap()
    };

    let mut receive = listen();
    let mut send = one.command("zfs send tank/a@1 | busybox nc n2 9000").spawn().unwrap();
    until("8 MiB arrive", || received().trim().parse::<u64>().unwrap() > 8 << 20);
    two.cut_cable().unwrap();
    assert!(one.run("busybox nc -w 1 n2 22 </dev/null").is_err(), "a pulled cable is none");
    two.run("kill $(busybox pidof zfs)").unwrap();
    assert!(!receive.wait().unwrap().success());
    send.kill().unwrap();
    send.wait().unwrap();
    let token = || two.run("zfs get -H -o value receive_resume_token tank/b").unwrap();
    until("what arrived is kept", || token().starts_with("1-"));

    two.cut_power().unwrap();
    two.boot().unwrap();
    two.run("zpool import tank").unwrap();
    let token = token();
    assert!(token.starts_with("1-"), "the power cut lost it: {token:?}");
    let mut receive = listen();
    one.run(&format!("zfs send -t {} | busybox nc n2 9000", token.trim())).unwrap();
    assert!(receive.wait().unwrap().success());

    let sum = |guest: &Guest<'_>, of: &str| guest.run(&format!("sha256sum </tank/{of}/data"));
    two.run("zfs mount tank/b").unwrap();
    assert_eq!(sum(&one, "a").unwrap(), sum(&two, "b").unwrap());
}
