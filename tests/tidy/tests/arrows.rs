//! The arrows between crates: who may depend on whom. ARCHITECTURE.md draws them, this is what holds them.

use std::{collections::BTreeMap, fs};

use tidy::{dependencies, files, read, root, shown};

/// Each crate, and what of ours it may depend on; for tests it may depend on anything.
const ARROWS: [(&str, &[&str]); 20] = [
    ("model", &[]),
    ("planner", &["model"]),
    ("ports", &["model"]),
    ("compose", &["model"]),
    // Runs as the first process in other people's containers.
    ("gate", &[]),
    ("engine", &["planner", "ports", "model", "compose"]),
    ("store", &["ports", "model", "api"]),
    ("system", &[]),
    ("btrfs", &["ports", "model", "system"]),
    ("zfs-wire", &[]),
    ("zfs-helper", &["zfs-wire"]),
    ("zfs", &["ports", "model", "system", "zfs-wire"]),
    // It writes the orders that the gate reads: one definition for both.
    ("docker", &["ports", "model", "gate"]),
    ("replication", &["ports", "model"]),
    ("proxy", &["model"]),
    ("api", &["model"]),
    ("plugins", &["planner", "ports", "model", "system"]),
    ("sim", &["engine", "planner", "ports", "model", "plugins", "proxy"]),
    // The tools of plugin authors run the node's own host and planner.
    ("cli", &["api", "compose", "plugins", "planner", "model"]),
    (
        "runtime",
        &[
            "api",
            "btrfs",
            "compose",
            "docker",
            "engine",
            "gate",
            "model",
            "planner",
            "plugins",
            "ports",
            "proxy",
            "replication",
            "store",
            "zfs",
        ],
    ),
];

#[test]
fn crates_depend_only_along_the_arrows() {
    let arrows = BTreeMap::from(ARROWS);
    let mut bad = Vec::new();
    for folder in fs::read_dir(root().join("runtime")).unwrap().map(|entry| entry.unwrap().path()) {
        let manifest = read(&folder.join("Cargo.toml"));
        let folder = folder.file_name().unwrap().to_string_lossy().into_owned();
        let name = folder.strip_prefix("flocker-").unwrap_or(&folder);
        let Some(may) = arrows.get(name) else {
            bad.push(format!("  {folder} is not in the list of arrows"));
            continue;
        };
        for on in dependencies(&manifest) {
            if let Some(on) = on.strip_prefix("flocker-")
                && !may.contains(&on)
            {
                bad.push(format!("  {folder} -> flocker-{on}"));
            }
        }
    }
    assert!(bad.is_empty(), "arrows that ARCHITECTURE.md does not draw:\n{}", bad.join("\n"));
}

#[test]
fn every_dependency_of_the_workspace_says_why_it_is_there() {
    let manifest = read(&root().join("Cargo.toml"));
    let (_, rest) = manifest.split_once("[workspace.dependencies]").unwrap();
    let (section, _) = rest.split_once("\n[").unwrap();
    let (mut said, mut bad) = (false, Vec::new());
    for line in section.lines().map(str::trim) {
        if line.is_empty() {
            said = false;
        } else if line.starts_with('#') {
            said = true;
        } else if !said && !line.starts_with("flocker-") {
            // One comment may speak for the lines up to the next comment or blank line.
            bad.push(format!("  {line}"));
        }
    }
    assert!(bad.is_empty(), "no comment above:\n{}", bad.join("\n"));
}

#[test]
fn every_crate_follows_the_lints_of_the_workspace() {
    let mut bad = Vec::new();
    for folder in ["runtime", "tests"] {
        for manifest in
            files(folder, "toml").into_iter().filter(|path| path.ends_with("Cargo.toml"))
        {
            let text = read(&manifest);
            // A guest that misbehaves on purpose is a package of its own, outside the workspace.
            if !text.contains("[workspace]") && !text.contains("[lints]\nworkspace = true") {
                bad.push(shown(&manifest));
            }
        }
    }
    assert!(bad.is_empty(), "no `[lints] workspace = true` in {bad:?}");
}

/// Where a lint of the compiler's is lifted, and why nothing else would do, is said there.
#[test]
fn unsafe_code_is_in_one_file_alone() {
    let lifted = ["allow", "expect", "warn"].map(|how| format!("{how}(unsafe_code"));
    let lifts = |path: &std::path::PathBuf| {
        let text: String = read(path).split_whitespace().collect();
        lifted.iter().any(|how| text.contains(how))
    };
    let found: Vec<_> = ["runtime", "tests"]
        .into_iter()
        .flat_map(|folder| files(folder, "rs"))
        .filter(|path| !path.ends_with("tidy/tests/arrows.rs") && lifts(path))
        .map(|path| shown(&path))
        .collect();
    assert_eq!(found, ["runtime/flocker-btrfs/src/written.rs"]);
}

#[test]
fn dependencies_of_tests_draw_no_arrows() {
    let manifest = "[dependencies]\na = \"1\"\nflocker-b.workspace = true\n# c = 1\n[dev-dependencies]\nd = \"1\"\n\
                    [target.'cfg(unix)'.dependencies]\ne = { path = \"..\" }\n[dependencies.f]\nversion = \"1\"\n\
                    [dev-dependencies.g]\nversion = \"1\"\n[build-dependencies]\nh = \"1\"\n[lints]\nworkspace = true\n";

    assert_eq!(dependencies(manifest), ["a", "flocker-b", "e", "f", "h"]);
}
