//! Rules for what the storage backends may ask of the machine, as their source shows it. Runs nothing.

use tidy::{files, read, root, shown};

/// The Rust files of these crates.
fn sources(crates: &[&str]) -> Vec<(String, String)> {
    let of = |name: &&str| files(&format!("runtime/{name}/src"), "rs");
    let found: Vec<_> = crates.iter().flat_map(of).collect();
    assert!(found.len() > crates.len(), "only {} files were found", found.len());
    found.iter().map(|path| (shown(path), read(path))).collect()
}

#[track_caller]
fn nowhere(rule: &str, crates: &[&str], words: &[&str]) {
    let bad: Vec<_> = sources(crates)
        .into_iter()
        .flat_map(|(path, text)| {
            let found = words.iter().filter(|word| text.contains(**word));
            found.map(|word| format!("  {path}: `{word}`")).collect::<Vec<_>>()
        })
        .collect();
    assert!(bad.is_empty(), "{rule}:\n{}", bad.join("\n"));
}

/// `zfs receive -F`, and the flag of the library that is the same, destroy what the sender does not know.
#[test]
fn no_receive_of_zfs_rolls_back_what_is_here() {
    let words = ["\"-F\"", "\"recv\"", "\"receive\"", "\"rollback\"", "Call::Rollback"];
    nowhere("nothing of a user's is overwritten", &["flocker-zfs"], &words);

    let calls = read(&root().join("runtime/flocker-zfs-helper/src/calls.rs"));
    assert_eq!(calls.matches("lzc_receive").count(), 1, "one place receives");
    let flags: Vec<_> = calls.lines().filter(|line| line.contains("let (force")).collect();
    assert_eq!(
        flags,
        ["    let (force, resumable, raw) = (0, 1, u32::from(raw));"],
        "it never forces"
    );
}

/// A node's name may change, and its volumes stay where they are.
#[test]
fn no_path_of_a_volume_has_the_name_of_a_node() {
    let crates = ["flocker-zfs", "flocker-zfs-helper", "flocker-btrfs"];
    let words = ["hostname", "HOSTNAME", "uname(", "nodename", "NodeName"];
    nowhere("the storage does not know on which node it is", &crates, &words);
}
