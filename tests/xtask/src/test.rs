//! `cargo xtask test`: every check and every test that can run here, and an honest last line.
//!
//! One failing check does not hide the next: all run, the summary names those that failed.

mod languages;
mod nextest;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;

use crate::{artifacts, guest, interrupt, leftovers::Moment, machine::Ability, say, setup, shell};
use nextest::Totals;

/// How long what ends by itself (a shim, a lazily unmounted pool) may take to do so.
const SETTLE: Duration = Duration::from_secs(10);

/// The longest that a test may take, see `.config/nextest.toml`.
const TEST_MAX: Duration = Duration::from_secs(300);

/// Which tests.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only what needs neither root nor Docker.
    #[arg(long)]
    quick: bool,
    /// Does not ask before it installs something.
    #[arg(long)]
    yes: bool,
    /// Arguments for `cargo nextest run`, after `--`: a test's name, `-p CRATE`…
    #[arg(last = true)]
    nextest: Vec<String>,
}

/// What came of all checks.
struct Summary {
    totals: Totals,
    lines: Vec<String>,
}

impl Summary {
    /// Runs one check that either holds or does not.
    fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
        self.tests(name, || check().map(|()| Totals::default()))
    }

    /// Runs something that counts tests.
    fn tests(&mut self, name: &str, run: impl FnOnce() -> Result<Totals>) -> Result<()> {
        say::part(name);
        let started = Instant::now();
        let outcome = run();
        interrupt::check()?;
        let verdict = match outcome {
            Ok(totals) if totals == Totals::default() => "ok".to_owned(),
            Ok(totals) => {
                let verdict = totals.to_string();
                self.totals.add(totals);
                verdict
            }
            Err(error) => {
                say::line(&format!("error: {error:#}"));
                self.totals.failed += 1;
                "FAILED".to_owned()
            }
        };
        self.lines.push(format!("  {name:<34} {:>6}  {verdict}", seconds(started.elapsed())));
        Ok(())
    }

    fn say(&self) {
        for line in &self.lines {
            say::line(line);
        }
    }

    /// Notes something that could not run here.
    fn skip(&mut self, name: &str, why: &str) {
        self.totals.skipped += 1;
        self.lines.push(format!("  skipped: {name} ({why})"));
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

/// Runs what is written in other languages alone; whether all of it passed.
pub(crate) fn sdks(only: &[String]) -> Result<bool> {
    let mut summary = Summary { totals: Totals::default(), lines: Vec::new() };
    languages::run(&mut summary, only)?;
    say::part("summary");
    summary.say();
    Ok(summary.totals.failed == 0)
}

/// Runs the tests that need OpenZFS alone; whether all of them passed.
pub(crate) fn zfs(arguments: &[String]) -> Result<bool> {
    let totals = zfs_tests(true, arguments)?;
    say::line(&totals.to_string());
    Ok(totals.failed == 0)
}

fn zfs_tests(yes: bool, arguments: &[String]) -> Result<Totals> {
    if guest::possible().is_ok() {
        guest::ensure_built(yes)?;
    }
    artifacts::build_zfs_helper()?;
    nextest::in_guests(arguments)
}

/// Runs everything; whether all of it passed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut summary = Summary { totals: Totals::default(), lines: Vec::new() };
    let started = Instant::now();
    say::part("setup");
    let missing =
        if options.quick { setup::tools(options.yes)? } else { setup::everything(options.yes)? };
    let before = Moment::now();

    let skipped = checks(&mut summary, options, &before)?;

    say::part("summary");
    summary.say();
    for (test, why) in &skipped {
        say::line(&format!("  skipped: {test} ({why})"));
    }
    for thing in &missing {
        say::line(&format!("  missing: {thing} (`cargo xtask setup` says how to get it)"));
    }
    say::line(&format!("  {} in all", seconds(started.elapsed())));
    say::line(&summary.totals.to_string());
    Ok(summary.totals.failed == 0)
}

/// All checks; returns the tests that cannot run here, and why.
fn checks(
    summary: &mut Summary,
    options: &Options,
    before: &Moment,
) -> Result<Vec<(String, &'static str)>> {
    summary.check("plugins", artifacts::plugins)?;
    // Built before the tests of the workspace: some of them start these programs.
    summary.check("gate", || artifacts::static_program("flocker-gate").map(|_| ()))?;
    summary.check("programs and tests", artifacts::workspace)?;
    style(summary)?;
    let skipped = nextest_runs(summary, options);
    if interrupt::asked() {
        say::line("interrupted; waiting until the tests that run have ended and cleaned up");
        interrupt::shielded(|| nothing_left(before, TEST_MAX))?;
    }
    let skipped = skipped?;
    if !options.quick {
        summary.check("nothing left behind", || nothing_left(before, SETTLE))?;
    }
    Ok(skipped)
}

/// Formatting, lints, the dependency tree.
fn style(summary: &mut Summary) -> Result<()> {
    let root = crate::root();
    let guests = artifacts::guest_folders();
    let format = |folder: &Path| shell::run(shell::cargo(folder).args(["fmt", "--all", "--check"]));
    summary.check("rustfmt", || {
        format(&root)?;
        guests.iter().try_for_each(|folder| format(folder))
    })?;
    summary.check("clippy", || {
        let mut clippy = shell::cargo(&root);
        shell::run(clippy.args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    for folder in &guests {
        let name = format!("clippy of {}", shown(folder));
        summary.check(&name, || {
            let mut clippy = shell::cargo(folder);
            clippy.env_remove("CARGO_TARGET_DIR").args([
                "clippy",
                "--release",
                "--all-features",
                "--target",
                artifacts::GUEST,
            ]);
            shell::run(clippy.args(["--quiet", "--", "-D", "warnings"]))
        })?;
    }
    if shell::find("cargo-deny").is_some() {
        summary.check("cargo deny", || {
            shell::run(shell::cargo(&root).args(["deny", "--offline", "check"]))
        })?;
    } else {
        summary.skip("cargo deny", "cargo-deny is not installed");
    }
    Ok(())
}

/// The tests of the workspace and of the guests; returns those that cannot run here, and why.
fn nextest_runs(summary: &mut Summary, options: &Options) -> Result<Vec<(String, &'static str)>> {
    let lacking: Vec<Ability> = if options.quick {
        vec![Ability::Root]
    } else {
        [
            Ability::Root,
            Ability::Docker,
            Ability::Btrfs,
            Ability::Registry,
            Ability::Zfs,
            Ability::Guests,
        ]
        .into_iter()
        .filter(|ability| !ability.here())
        .collect()
    };
    let mut skipped = Vec::new();
    summary.tests("tests of the workspace", || {
        let mut totals = nextest::workspace(&lacking, &options.nextest)?;
        skipped = nextest::skipped(&lacking, &options.nextest)?;
        totals.skipped += skipped.len();
        Ok(totals)
    })?;
    if !options.quick && !lacking.contains(&Ability::Zfs) {
        summary
            .tests("tests in guests with OpenZFS", || zfs_tests(options.yes, &options.nextest))?;
    }
    // Arguments choose tests of the workspace; the guests of plugins have others.
    if options.nextest.is_empty() {
        for folder in artifacts::guest_folders() {
            summary.tests(&format!("tests of {}", shown(&folder)), || nextest::guests(&folder))?;
        }
        languages::run(summary, &[])?;
    }
    Ok(skipped)
}

fn nothing_left(before: &Moment, limit: Duration) -> Result<()> {
    let left = before.left_since(limit);
    anyhow::ensure!(left.is_empty(), "the tests left behind:\n  {}", left.join("\n  "));
    Ok(())
}

fn shown(folder: &Path) -> String {
    folder.strip_prefix(crate::root()).unwrap_or(folder).display().to_string()
}
