//! `cargo xtask wit release`: freezes the contract with plugins. What is frozen is listed with its checksum, which
//! `tests/tidy` compares; nothing here changes a line of that list.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use crate::{say, shell};

/// What is done about the contract in `wit/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Freezes the present version: copies it to `wit/released`, and lists what is new there with its checksum.
    ///
    /// Once more for the same version, it adds plugins that were put into its corpus since, and refuses if the contract
    /// is another by now.
    Release,
}

/// The list of checksums, as `sha256sum` writes it.
const SUMS: &str = "SHA256SUMS";

/// These grow: tests of `flocker-plugins` compare them line by line with what was released.
const REGISTRIES: [&str; 2] = ["codes.md", "columns.md"];

pub(crate) fn run(command: &Command) -> Result<bool> {
    match command {
        Command::Release => release(&crate::root().join("wit"))?,
    }
    Ok(true)
}

fn release(wit: &Path) -> Result<()> {
    let version = version(wit)?;
    let folder = wit.join("released").join(&version);
    let is_new = !holds_wit(&folder);
    fs::create_dir_all(&folder)?;
    for source in contract(wit)? {
        let copy = folder.join(source.file_name().unwrap_or_default());
        if is_new {
            fs::copy(&source, &copy)?;
        } else if !is_registry(&source) && fs::read(&source)? != fs::read(&copy).unwrap_or_default()
        {
            bail!(
                "`{}` is not what was released as {version}\nhint: a changed contract gets the next version in its `package` lines; wit/README.md says what may change",
                source.display()
            );
        }
    }
    let added = add_sums(&wit.join("released"))?;
    for name in &added {
        say::line(&format!("frozen: wit/released/{name}"));
    }
    say::line(&format!("{version}: {} files were added", added.len()));
    Ok(())
}

/// The files that are the contract: what WIT says, and the numbers and names that it leaves open.
fn contract(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = wit_files(folder)?;
    files.extend(REGISTRIES.map(|name| folder.join(name)));
    Ok(files)
}

fn wit_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no `{}`", folder.display()))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension() == Some(OsStr::new("wit")));
    files.sort();
    Ok(files)
}

fn is_registry(path: &Path) -> bool {
    REGISTRIES.iter().any(|name| path.ends_with(name))
}

fn holds_wit(folder: &Path) -> bool {
    wit_files(folder).is_ok_and(|files| !files.is_empty())
}

/// The version in the `package` lines, which must agree.
fn version(wit: &Path) -> Result<String> {
    let mut versions = BTreeSet::new();
    for file in wit_files(wit)? {
        let text = fs::read_to_string(&file)?;
        let of = |line: &str| {
            line.strip_prefix("package flocker:plugin@")?.strip_suffix(';').map(str::to_owned)
        };
        let found = text.lines().find_map(of);
        versions.insert(found.with_context(|| format!("no version in `{}`", file.display()))?);
    }
    match versions.pop_first() {
        Some(version) if versions.is_empty() => Ok(version),
        Some(_) | None => bail!("the files in `{}` are of several versions", wit.display()),
    }
}

/// Adds a line for each file that has none; returns their names.
fn add_sums(released: &Path) -> Result<Vec<String>> {
    let list = released.join(SUMS);
    let mut sums = fs::read_to_string(&list).unwrap_or_default();
    let listed: BTreeSet<&str> =
        sums.lines().filter_map(|line| Some(line.split_once("  ")?.1)).collect();
    let names = names(released, released)?;
    let new: Vec<String> = names.into_iter().filter(|name| !listed.contains(&**name)).collect();
    if !new.is_empty() {
        let mut sum = shell::command("sha256sum");
        sums += &shell::output(sum.current_dir(released).arg("--").args(&new))?;
        if !sums.ends_with('\n') {
            sums.push('\n');
        }
        fs::write(&list, sums)?;
    }
    Ok(new)
}

/// Every file below a folder but the list itself and what is said about it, as paths below `root`, in order.
fn names(root: &Path, folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())) {
        let path = path?;
        if path.is_dir() {
            found.extend(names(root, &path)?);
        } else if ![SUMS, "README.md"].iter().any(|name| path.ends_with(name)) {
            found.push(path.strip_prefix(root)?.display().to_string());
        }
    }
    found.sort();
    Ok(found)
}
