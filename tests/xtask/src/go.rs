//! A Go for the SDK in `sdk/go`: the system's, where it is new enough, or Debian's backport, unpacked into the cache. Go's
//! tools need nothing of the system, so that a later Debian's run on this one. Installs nothing into the system.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{shell, wasm_target};

/// The first that exports functions from WebAssembly.
const OLDEST: (u32, u32) = (1, 24);
const PACKAGES: [&str; 2] = ["golang-1.27-go", "golang-1.27-src"];
const SUITE: &str = "trixie-backports";

/// A Go that compiles policies.
pub(crate) fn find() -> Option<PathBuf> {
    let unpacked = folder().ok()?.join("usr/lib/go-1.27/bin/go");
    let systems = shell::find("go").into_iter();
    systems.chain([unpacked]).filter(|path| path.is_file()).find(|path| {
        shell::output(std::process::Command::new(path).arg("version"))
            .is_ok_and(|said| version(&said).is_some_and(|version| version >= OLDEST))
    })
}

/// `go version go1.27.4 linux/amd64`
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.split_whitespace().nth(2)?.strip_prefix("go")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn folder() -> Result<PathBuf> {
    Ok(wasm_target::cache()?.with_file_name("go"))
}

/// Unpacks one, unless there is one. About 50 MB are downloaded, with apt's own check of their signatures.
pub(crate) fn ensure(say: &mut dyn FnMut(&str)) -> Result<()> {
    if find().is_some() {
        return Ok(());
    }
    say(&format!("unpacking Go from {SUITE} into your cache (48 MB to download)"));
    let folder = folder()?;
    let debs = folder.join("debs");
    fs::create_dir_all(&debs).with_context(|| format!("could not make `{}`", debs.display()))?;
    let options = wasm_target::apt_options(&folder, Some(SUITE))?;
    let mut download = shell::command("apt-get");
    shell::output(
        download.args(&options).args(["download", "-qq"]).args(PACKAGES).current_dir(&debs),
    )?;
    for deb in fs::read_dir(&debs)?.flatten() {
        shell::output(shell::command("dpkg-deb").arg("-x").arg(deb.path()).arg(&folder))?;
    }
    fs::remove_dir_all(&debs)?;
    find().map(drop).context("it was unpacked, but does not run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("go version go1.27.4 linux/amd64"), Some((1, 27)));
        assert!(version("go version go1.9 linux/amd64") < Some(OLDEST));
        assert_eq!(version("go version devel linux/amd64"), None);
    }
}
