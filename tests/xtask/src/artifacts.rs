//! What has to be built before anything can run, and where it is then.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{guest, shell};

/// The target of guests.
pub(crate) const GUEST: &str = "wasm32-unknown-unknown";

/// Our policies, as crates of `plugins/`.
const POLICIES: [&str; 7] = ["spread", "binpack", "labels", "level", "gfs", "quiet", "careful"];

/// The folder that cargo builds into.
pub(crate) fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| crate::root().join("target"), |dir| crate::root().join(dir))
}

/// The target that this machine runs.
pub(crate) fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = shell::output(std::process::Command::new(rustc).arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

/// How cargo builds the programs of the workspace.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Profile {
    /// Quick to build, and the tests' own.
    Debug,
    /// Optimised.
    Release,
}

/// Builds what a cluster needs; returns the folder with its programs.
pub(crate) fn everything(profile: Profile) -> Result<PathBuf> {
    plugins()?;
    static_program("flocker-gate")?;
    programs(profile)
}

/// The components: policies and backends.
pub(crate) fn plugins() -> Result<()> {
    let folder = crate::root().join("plugins");
    let mut build = shell::cargo(&folder);
    // A target folder given for the workspace would be shared by two profiles that know nothing of each other.
    build.env_remove("CARGO_TARGET_DIR");
    shell::run(build.args(["build", "--release", "--target", GUEST]))
}

/// A component of ours by the name of its crate.
pub(crate) fn plugin(name: &str) -> PathBuf {
    let folder = crate::root().join("plugins/target").join(GUEST).join("release");
    folder.join(format!("{}.wasm", name.replace('-', "_")))
}

/// A program that runs in any container: linked statically, small.
pub(crate) fn static_program(package: &str) -> Result<PathBuf> {
    let host = host()?;
    let mut build = shell::cargo(&crate::root());
    build.args(["rustc", "--package", package, "--bin", package, "--release", "--target", &host]);
    shell::run(build.args(["--", "-C", "target-feature=+crt-static"]))?;
    where_static(package)
}

/// The gate, once it was built.
pub(crate) fn gate() -> Result<PathBuf> {
    where_static("flocker-gate")
}

fn where_static(package: &str) -> Result<PathBuf> {
    Ok(target_folder().join(host()?).join("release").join(package))
}

/// All programs and all tests in one build. Building the programs alone first would choose other features for what
/// they share with the tests, and compile half of the dependencies twice.
pub(crate) fn workspace() -> Result<()> {
    let mut build = shell::cargo(&crate::root());
    shell::run(build.args(["build", "--workspace", "--all-targets"]))
}

/// The program that talks to OpenZFS, once it was built.
pub(crate) fn zfs_helper() -> PathBuf {
    target_folder().join("debug/flocker-zfs-helper")
}

/// Builds the program that talks to OpenZFS, where the checkout has it. It is a package of its own, as it links with a
/// library of the system that nothing else needs.
pub(crate) fn build_zfs_helper() -> Result<()> {
    let folder = zfs_helper_source();
    if !has_manifest(&folder) {
        return Ok(());
    }
    shell::run(zfs_helper_build(&folder)?.arg("build"))
}

/// The same, optimised; returns where it is.
pub(crate) fn release_zfs_helper() -> Result<PathBuf> {
    shell::run(zfs_helper_build(&zfs_helper_source())?.args(["build", "--release"]))?;
    Ok(target_folder().join("release/flocker-zfs-helper"))
}

fn zfs_helper_source() -> PathBuf {
    crate::root().join("runtime/flocker-zfs-helper")
}

fn zfs_helper_build(folder: &Path) -> Result<Command> {
    let mut build = shell::cargo(folder);
    build.env("CARGO_TARGET_DIR", target_folder()).envs(guest::link_environment()?);
    Ok(build)
}

/// The daemon and the command; returns their folder.
fn programs(profile: Profile) -> Result<PathBuf> {
    let mut build = shell::cargo(&crate::root());
    build.args(["build", "--package", "flocker-runtime", "--package", "flocker-cli"]);
    let folder = match profile {
        Profile::Debug => "debug",
        Profile::Release => {
            build.arg("--release");
            "release"
        }
    };
    shell::run(&mut build)?;
    Ok(target_folder().join(folder))
}

/// Optimised programs and all plugins, side by side in one folder, as a node needs them; returns the folder.
pub(crate) fn distribution() -> Result<PathBuf> {
    plugins()?;
    let gate = static_program("flocker-gate")?;
    let release = programs(Profile::Release)?;
    let folder = target_folder().join("dist");
    fs::create_dir_all(&folder)
        .with_context(|| format!("could not create `{}`", folder.display()))?;
    let programs = [release.join("flocker-runtime"), release.join("flocker"), gate];
    for file in programs.into_iter().chain(POLICIES.map(plugin)) {
        let Some(name) = file.file_name() else { continue };
        // Copied beside and renamed: the old one may be running.
        let (beside, place) = (folder.join("new"), folder.join(name));
        fs::copy(&file, &beside)
            .and_then(|_| fs::rename(&beside, &place))
            .with_context(|| format!("could not copy `{}`", file.display()))?;
    }
    Ok(folder)
}

/// Folders outside the workspace that hold guests, as far as they are packages or workspaces.
pub(crate) fn guest_folders() -> Vec<PathBuf> {
    let candidates = ["plugins", "sdk", "sdk/rust"].map(|folder| crate::root().join(folder));
    candidates.into_iter().filter(|folder| has_manifest(folder)).collect()
}

fn has_manifest(folder: &Path) -> bool {
    folder.join("Cargo.toml").is_file()
}
