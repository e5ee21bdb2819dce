//! What tests may leave behind on a machine: processes, mounts, loop devices, network interfaces,
//! containers, temporary files, and what guests with OpenZFS put into the firewall.
//! Compares two moments; repairs nothing.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{artifacts, machine, shell};

/// Programs that only our tests and demo start in such numbers; a new one after the tests is a leak, as is one of those
/// that cargo built.
const PROGRAMS: [&str; 7] = [
    "flocker-runtime",
    "flocker",
    "flocker-gate",
    "dockerd",
    "containerd",
    "containerd-shim-runc-v2",
    "redis-server",
];

/// One moment of this machine; each line names one thing.
pub(crate) struct Moment(BTreeSet<String>);

impl Moment {
    /// The machine as it is.
    pub(crate) fn now() -> Self {
        let mut things = BTreeSet::new();
        things.extend(processes());
        things.extend(mounts());
        things.extend(loop_devices());
        things.extend(names("/sys/class/net").map(|name| format!("network interface {name}")));
        things.extend(containers());
        things.extend(temporary());
        things.extend(firewall());
        Self(things)
    }

    /// What is here now and was not then. Waits so long at most for what is on its way out.
    pub(crate) fn left_since(&self, limit: Duration) -> Vec<String> {
        let deadline = Instant::now() + limit;
        loop {
            let left: Vec<String> = Self::now().0.difference(&self.0).cloned().collect();
            if left.is_empty() || Instant::now() >= deadline {
                return left;
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}

#[cfg(test)]
impl Moment {
    /// What of this moment names the text.
    pub(crate) fn naming(&self, text: &str) -> Vec<&String> {
        self.0.iter().filter(|thing| thing.contains(text)).collect()
    }
}

fn names(folder: &str) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// What our tests, and the containerd that they start, call their temporary files.
fn temporary() -> impl Iterator<Item = String> {
    let folder = std::env::temp_dir();
    let ours = |name: &String| name.starts_with("flocker-") || name.starts_with("containerd.");
    let found = names(&folder.to_string_lossy()).filter(ours);
    found.map(move |name| format!("file {}", folder.join(name).display()))
}

fn processes() -> impl Iterator<Item = String> {
    names("/proc").filter_map(|pid| {
        pid.parse::<u32>().ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words: Vec<String> =
            line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        let path = Path::new(words.first()?);
        let program = path.file_name()?.to_str()?;
        // Whatever a guest is made of, and whoever watches it, names its folder.
        let of_guest = || words.iter().any(|word| word.contains("/flocker-zfs-guest."));
        (PROGRAMS.contains(&program) || path.starts_with(artifacts::target_folder()) || of_guest())
            .then(|| format!("process {pid}: {}", words.join(" ").trim_end()))
    })
}

/// The rules of the switches of guests.
fn firewall() -> Vec<String> {
    let listed = shell::output(shell::command("iptables").args(["-w", "-S", "FORWARD"]));
    let rules = listed.unwrap_or_default();
    let ours = rules.lines().filter(|rule| rule.contains(" -i fz"));
    ours.map(|rule| format!("firewall rule {rule}")).collect()
}

fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| format!("mount {path}"))
        .collect()
}

fn loop_devices() -> Vec<String> {
    let used =
        |name: &String| fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok();
    let devices = names("/sys/block").filter_map(|name| used(&name).map(|file| (name, file)));
    devices.map(|(name, file)| format!("loop device {name} on {}", file.trim())).collect()
}

fn containers() -> Vec<String> {
    if !machine::docker_answers() {
        return Vec::new();
    }
    let mut list = shell::command("docker");
    list.args([
        "--host",
        &format!("unix://{}", machine::DOCKER_SOCKET),
        "ps",
        "--all",
        "--no-trunc",
    ]);
    let listed =
        shell::output(list.args(["--format", "{{.Names}} {{.Image}}"])).unwrap_or_default();
    listed.lines().map(|line| format!("container {line}")).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn names_what_came_and_not_what_was_there() {
        let mut before = Moment::now();
        assert!(before.0.iter().any(|thing| thing == "network interface lo"));

        before.0.remove("network interface lo");
        let left: Vec<_> = Moment::now().0.difference(&before.0).cloned().collect();

        assert!(left.contains(&"network interface lo".to_owned()), "{left:?}");
    }

    #[test]
    fn live_guests_that_stay_are_noticed() {
        let script = crate::root().join("tests/zfs-guest/guest.sh");
        // The limit ends it should this test fail before it does.
        let words = ["run", "-t", "60", "--", "sleep", "600"];
        let mut run = Command::new(script).args(words).spawn().unwrap();
        let watch = format!(" {}", run.id());
        let deadline = Instant::now() + Duration::from_secs(60);
        let folder = loop {
            let now = Moment::now();
            // `guest.sh watch FOLDER PID`
            let words = now.naming(&watch).into_iter().find(|line| line.contains(" watch "));
            if let Some(folder) = words.and_then(|line| line.split(' ').rev().nth(1)) {
                break folder.to_owned();
            }
            assert!(Instant::now() < deadline, "nobody watches the guest: {:?}", now.0);
        };

        let now = Moment::now();
        let named = now.naming(&folder);
        run.kill().unwrap();
        run.wait().unwrap();
        assert!(named.iter().any(|thing| thing.contains("/kernel mem=")), "{named:?}");
        assert!(named.contains(&&format!("file {folder}")), "{named:?}");
        while !Moment::now().naming(&folder).is_empty() {
            assert!(Instant::now() < deadline, "it stays: {:?}", Moment::now().naming(&folder));
        }
    }
}
