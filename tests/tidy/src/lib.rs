//! Reads the checkout for the tests beside it, which are the project's rules. Changes nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The checkout.
#[must_use]
pub fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).map_or_else(|| own.clone(), PathBuf::from)
}

/// All files of ours with this ending, below a folder of the checkout.
#[must_use]
pub fn files(below: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = all_files(&root().join(below));
    found.retain(|path| path.extension().is_some_and(|extension| extension == ending));
    found
}

/// All files below a folder, but for what was built or fetched. Empty where there is no such folder.
#[must_use]
pub fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path())
        {
            if path.is_dir() && !is_foreign(&path) {
                open.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text of a file.
///
/// # Panics
/// When it cannot be read: a test that skips what it cannot read passes for the wrong reason.
#[must_use]
pub fn read(path: &Path) -> String {
    fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("could not read `{}`: {error}", path.display()))
}

/// The path as it stands in the checkout.
#[must_use]
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The names of what a manifest depends on to build: not for its tests.
#[must_use]
pub fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut counts = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let section = section.trim();
            // A section per dependency, `[dependencies.flocker-model]`, is the same in other words.
            if let Some((kind, name)) = section.rsplit_once("dependencies.") {
                counts = false;
                if !kind.ends_with("dev-") {
                    names.push(name.to_owned());
                }
            } else {
                counts =
                    section.ends_with("dependencies") && !section.ends_with("dev-dependencies");
            }
        } else if counts && !line.starts_with('#') {
            names.extend(line.split(['=', '.']).next().map(|name| name.trim().to_owned()));
        }
    }
    names.retain(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    });
    names
}

/// What SDKs depend on in `wit/`: the interfaces of policies, and no comments.
const POLICIES: [&str; 7] =
    ["types", "host", "lifecycle", "placement", "rebalance", "backup-schedule", "failover"];

/// A number that changes with the interfaces of policies. Bindings that are not made at build time carry it.
#[must_use]
pub fn contract_of_policies() -> String {
    let text = POLICIES.map(|name| read(&root().join("wit").join(name).with_extension("wit")));
    let code = text.iter().flat_map(|t| t.lines()).filter_map(|l| l.split("//").next());
    let bytes = code.flat_map(str::bytes).filter(|byte| !byte.is_ascii_whitespace());
    format!("{:016x}", checksum(bytes))
}

/// FNV-1a: against mistakes, not against malice; git is there for that.
fn checksum(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Folders that hold what was built, fetched, or recorded by other programs.
fn is_foreign(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name == "target" || name == "node_modules"
}
