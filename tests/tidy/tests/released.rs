//! What was released of the contract never changes: its files, and the compiled plugins that must load for ever.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use sha2::{Digest, Sha256};
use tidy::{all_files, read, root};

/// Checksums of everything else in the folder, as `sha256sum` writes them. Lines are added by `cargo xtask wit release`;
/// none is ever changed.
const SUMS: &str = "SHA256SUMS";

/// What is wrong in a folder of releases.
fn complaints(folder: &Path) -> Vec<String> {
    let sums = folder.join(SUMS);
    let sums = if sums.exists() { read(&sums) } else { String::new() };
    let listed: BTreeMap<&str, &str> = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, name)| (name, sum))
        .collect();
    let mut bad = Vec::new();
    for path in all_files(folder) {
        let name = path.strip_prefix(folder).unwrap().display().to_string();
        match listed.get(name.as_str()) {
            Some(sum) if **sum == checksum(&path) => {}
            Some(_) => bad.push(format!("{name} was changed")),
            None if name == SUMS || path.ends_with("README.md") => {}
            None => bad.push(format!("{name} has no checksum: `cargo xtask wit release` adds it")),
        }
    }
    bad.extend(
        listed
            .keys()
            .filter(|name| !folder.join(name).exists())
            .map(|name| format!("{name} is gone")),
    );
    bad
}

fn checksum(path: &Path) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(fs::read(path).unwrap()) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

#[test]
fn released_contracts_are_unchanged() {
    let bad = complaints(&root().join("wit/released"));
    assert!(bad.is_empty(), "in wit/released:\n  {}", bad.join("\n  "));
}

/// Compilers write the paths of sources into what may panic: somebody's home and registry, for ever.
#[test]
fn compiled_plugins_name_no_place_of_the_machine_that_built_them() {
    let names_one = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let places = ["/home/", "/root/", "/tmp/"].map(str::as_bytes);
        places.iter().any(|place| bytes.windows(place.len()).any(|part| part == *place))
    };
    let corpus = all_files(&root().join("wit/released"));
    let compiled: Vec<_> =
        corpus.iter().filter(|p| p.extension() == Some("wasm".as_ref())).collect();
    assert!(!compiled.is_empty(), "there is no corpus");
    let bad: Vec<_> = compiled.into_iter().filter(|path| names_one(path)).collect();
    assert!(bad.is_empty(), "build them with `--remap-path-prefix`: {bad:?}");
}

#[test]
fn a_change_an_addition_and_a_loss_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::create_dir_all(file("0.1.0/corpus")).unwrap();
    fs::write(file("0.1.0/host.wit"), "interface log {}").unwrap();
    fs::write(file("0.1.0/corpus/a.wasm"), [0, b'a', b's', b'm', 0xff]).unwrap();
    let line = |name: &str| format!("{}  {name}\n", checksum(&file(name)));
    fs::write(file(SUMS), line("0.1.0/host.wit") + &line("0.1.0/corpus/a.wasm")).unwrap();
    assert_eq!(complaints(folder.path()), Vec::<String>::new());

    fs::write(file("0.1.0/host.wit"), "interface log { }").unwrap();
    fs::write(file("0.1.0/new.wit"), "").unwrap();
    fs::remove_file(file("0.1.0/corpus/a.wasm")).unwrap();

    let bad = complaints(folder.path()).join("; ");
    assert!(bad.contains("0.1.0/host.wit was changed"), "{bad}");
    assert!(bad.contains("0.1.0/new.wit has no checksum"), "{bad}");
    assert!(bad.contains("0.1.0/corpus/a.wasm is gone"), "{bad}");
}
