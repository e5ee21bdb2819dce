//! `cargo xtask demo`: the main job end to end, on this machine, for real. Sets up, builds, cleans up what an earlier
//! run left, runs the story, cleans up again however it ended, and says each.

mod client;
mod docker;
mod firewall;
mod flocker;
mod images;
mod nodes;
mod report;
mod resp;
mod story;
mod sweep;
mod zfs;

#[cfg(test)]
mod live;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rustix::fs::{FlockOperation, flock};

use crate::{
    artifacts::{self, Profile},
    interrupt, machine, say, setup, shell,
};
use docker::Docker;
use report::Report;

/// How the demo runs.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Prints the result as one JSON object on the last line.
    #[arg(long)]
    json: bool,
    /// Does not ask before it installs something.
    #[arg(long)]
    yes: bool,
    /// Leaves the cluster running; the next demo removes it.
    #[arg(long)]
    keep: bool,
    /// The folder that everything of the demo lives in.
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Runs optimised programs: what a node in use would take. Building them takes some minutes more.
    #[arg(long)]
    release: bool,
    /// Keeps the volumes on ZFS: on this machine's where it has it, else all of it runs in a guest that has.
    #[arg(long)]
    zfs: bool,
    /// It runs in a guest, with what was built outside.
    #[arg(long, hide = true)]
    inside: bool,
    /// The policy that places the app: a component.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
}

/// Runs the demo; whether nothing was lost or refused.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let started = Instant::now();
    if !machine::is_root() {
        say::line("the demo mounts volumes and makes networks, which needs root:");
        say::line(&format!("  {}", as_root()));
        say::line("what that builds belongs to root; `sudo chown -R \"$USER\" .` gives it to you");
        bail!("not root");
    }
    if options.zfs && !options.inside && !zfs::is_here() {
        return zfs::in_guest(options);
    }
    if options.inside {
        zfs_guest::make_room_for_docker()?;
    }
    let work = work_folder(options)?;
    let _alone = lock(&work)?;

    say::part("setup");
    clean(&work, "an earlier demo left")?;
    nodes::ports_are_free()?;
    let built = if options.inside { Built::found(options)? } else { set_up(options)? };

    fs::create_dir_all(&work).with_context(|| format!("could not create `{}`", work.display()))?;
    let outcome = tell(&work, &built);
    if let Err(error) = &outcome {
        say::line(&format!("error: {error:#}"));
        keep_logs(&work, &logs_folder(options)?);
    }
    if options.keep && outcome.is_ok() {
        say::line(&format!(
            "kept running in {}; the next `cargo xtask demo` removes it",
            work.display()
        ));
    } else {
        say::part("clean up");
        interrupt::shielded(|| clean(&work, "removed"))?;
    }

    // The error was said before the cleaning.
    let Ok(report) = outcome else { return Ok(false) };
    report.print(!options.inside);
    if options.json {
        say::line(&report.json(started.elapsed()).to_string());
    }
    Ok(report.holds())
}

/// What a demo needs on the machine, and what runs in it.
fn set_up(options: &Options) -> Result<Built> {
    let missing = setup::for_demo(options.yes)?;
    if !missing.is_empty() {
        bail!("cannot run without {}", missing.join(", "));
    }
    say::part("build");
    Built::new(options)
}

/// The command that was given, to be run by root: with this user's Rust, which root may not have.
fn as_root() -> String {
    let rustup =
        env::var("RUSTUP_HOME").map(|home| format!("RUSTUP_HOME={} ", shell::quoted(&home)));
    let words: Vec<String> = env::args().skip(1).map(|word| shell::quoted(&word)).collect();
    format!("sudo env PATH=\"$PATH\" {}cargo xtask {}", rustup.unwrap_or_default(), words.join(" "))
}

/// Docker, images, and the story on them.
fn tell(work: &Path, built: &Built) -> Result<Report> {
    say::part("Docker and images");
    let docker = Docker::find_or_start(work)?;
    let images = images_folder();
    if !built.is_inside {
        images::prepare(&images, Some(&docker))?;
    }
    images::load(&docker, &images)?;
    story::tell(work, &docker, built)
}

fn images_folder() -> PathBuf {
    artifacts::target_folder().join("demo-images")
}

/// What runs in the demo.
#[derive(Debug)]
struct Built {
    /// It was built outside of the guest that this is.
    is_inside: bool,
    /// Its volumes are kept on ZFS.
    on_zfs: bool,
    /// The folder with the daemon and the command.
    programs: PathBuf,
    /// The component that places the app.
    policy: PathBuf,
}

impl Built {
    fn new(options: &Options) -> Result<Self> {
        let profile = if options.release { Profile::Release } else { Profile::Debug };
        let programs = artifacts::everything(profile)?;
        if options.zfs {
            artifacts::build_zfs_helper()?;
        }
        Self::of(options, programs)
    }

    /// What was built outside.
    fn found(options: &Options) -> Result<Self> {
        let folder = if options.release { "release" } else { "debug" };
        Self::of(options, artifacts::target_folder().join(folder))
    }

    fn of(options: &Options, programs: PathBuf) -> Result<Self> {
        let policy = options.plugin.clone().unwrap_or_else(|| artifacts::plugin("spread"));
        // The daemon's folder is not ours: a relative path would lead elsewhere.
        let policy = policy
            .canonicalize()
            .with_context(|| format!("there is no policy at `{}`", policy.display()))?;
        Ok(Self { programs, policy, is_inside: options.inside, on_zfs: options.zfs })
    }
}

/// The work folder with no links in it, as `/proc` shows paths.
fn default_work_folder() -> PathBuf {
    artifacts::target_folder().join("demo")
}

fn work_folder(options: &Options) -> Result<PathBuf> {
    let work = options.work.clone().unwrap_or_else(default_work_folder);
    let (Some(parent), Some(name)) = (work.parent(), work.file_name()) else {
        bail!("`{}` cannot be a work folder", work.display());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    fs::create_dir_all(parent)
        .with_context(|| format!("could not create `{}`", parent.display()))?;
    let parent =
        parent.canonicalize().with_context(|| format!("could not find `{}`", parent.display()))?;
    Ok(parent.join(name))
}

/// One demo at a time: two would clean each other up. The lock goes with the process.
fn lock(work: &Path) -> Result<File> {
    let path = work.with_extension("lock");
    let file =
        File::create(&path).with_context(|| format!("could not create `{}`", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another demo is running in `{}`", work.display());
    }
    Ok(file)
}

/// Cleans up and says what was there.
fn clean(work: &Path, verb: &str) -> Result<()> {
    let found = sweep::sweep(work).context("could not clean up")?;
    if found.is_empty() {
        return Ok(());
    }
    say::line(&format!("{verb}: {}; all of it is gone now", found.join(", ")));
    Ok(())
}

/// Where the logs of a failed run are kept. A guest keeps them where this machine can read them.
fn logs_folder(options: &Options) -> Result<PathBuf> {
    let work = if options.inside { default_work_folder() } else { work_folder(options)? };
    Ok(work.with_extension("logs"))
}

/// The logs of a failed run survive the cleaning.
fn keep_logs(work: &Path, kept: &Path) {
    for old in fs::read_dir(kept).into_iter().flatten().flatten() {
        let _ = fs::remove_file(old.path());
    }
    let logs = fs::read_dir(work).into_iter().flatten().flatten().map(|entry| entry.path());
    let logs = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    if fs::create_dir_all(kept).is_ok() {
        for log in logs {
            let _ = fs::copy(&log, kept.join(log.file_name().unwrap_or_default()));
        }
        say::line(&format!("the logs of this run are in {}", kept.display()));
    }
}
