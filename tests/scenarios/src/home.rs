//! A folder for the nodes' files, which takes the mounts in it and the devices on its files away with it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

use crate::wait::within;

/// A lazily unmounted pool keeps its device for a moment.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("flocker-scenario-").tempdir();
        Ok(Self(folder.context("could not make a folder for the nodes")?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = table.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(self.path())) {
            let _ = unmount(point, UnmountFlags::DETACH);
        }
        // Best effort: a drop cannot fail, and `cargo xtask test` looks for what was left.
        let _ = within(GRACE, "loop devices to go", || {
            let left = loop_devices(self.path());
            for device in &left {
                let _ = Command::new("losetup").arg("--detach").arg(device).output();
            }
            Ok(left.is_empty().then_some(()))
        });
    }
}

fn loop_devices(folder: &Path) -> Vec<PathBuf> {
    let Ok(all) = fs::read_dir("/sys/block") else { return Vec::new() };
    let ours = |device: &Path| {
        let file = fs::read_to_string(device.join("loop/backing_file")).unwrap_or_default();
        Path::new(file.trim_end()).starts_with(folder)
    };
    let ours = all.flatten().map(|entry| entry.path()).filter(|path| ours(path));
    ours.filter_map(|path| Some(Path::new("/dev").join(path.file_name()?))).collect()
}
