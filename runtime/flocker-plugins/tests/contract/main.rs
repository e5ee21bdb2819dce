//! The contract with plugins: what was released keeps working. The rules stand in `wit/README.md`; these tests hold them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod compatible;
mod registries;
mod rules;

use std::{
    fs,
    path::{Path, PathBuf},
};

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")
}

/// The frozen copies, one folder a version. A version that has only a corpus yet is about to be released.
fn releases() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(wit().join("released")) else { return Vec::new() };
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.join("worlds.wit").exists());
    found.sort();
    found
}

#[test]
fn plugins_of_every_release_fit_the_present_contract() {
    for release in releases() {
        compatible::check(&release, &wit()).unwrap_or_else(|why| {
            panic!("`wit/` no longer fits `{}`: {why}", release.display());
        });
    }
}
