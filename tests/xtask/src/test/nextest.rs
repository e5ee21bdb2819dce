//! Runs cargo-nextest and counts from its own records; never from what a terminal shows.

use std::{fmt, fs, os::unix::process::CommandExt as _, path::Path, process::Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{artifacts, machine::Ability, shell};

/// How many tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Totals {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Tests that run in a guest of their own, with OpenZFS.
const IN_GUEST: &str = "test(/zfs_guest/)";

/// Runs the tests of the workspace on this machine, without those that need what is lacking.
pub(crate) fn workspace(lacking: &[Ability], arguments: &[String]) -> Result<Totals> {
    let filter = match lost_filter(lacking) {
        Some(lost) => format!("not ({lost}) and not {IN_GUEST}"),
        None => format!("not {IN_GUEST}"),
    };
    let mut scope = vec!["--filterset".to_owned(), filter];
    scope.extend(whole(arguments).map(str::to_owned));
    run(&crate::root(), &scope, arguments)
}

/// Runs the tests of the workspace that need OpenZFS, each in a guest.
pub(crate) fn in_guests(arguments: &[String]) -> Result<Totals> {
    let config = crate::root().join("tests/zfs-guest/nextest.toml").display().to_string();
    let mut scope = ["--config-file", &config, "--filterset", IN_GUEST].map(str::to_owned).to_vec();
    scope.extend(whole(arguments).map(str::to_owned));
    let totals = run(&crate::root(), &scope, arguments)?;
    ensure!(
        totals != Totals::default() || !arguments.is_empty(),
        "no test has `zfs_guest` in its name, and some should"
    );
    Ok(totals)
}

/// All crates, unless the arguments name some.
fn whole(arguments: &[String]) -> Option<&'static str> {
    let names_crates =
        |argument: &String| argument.starts_with("-p") || argument.starts_with("--package");
    (!arguments.iter().any(names_crates)).then_some("--workspace")
}

/// Runs the unit tests of guests on this machine, those of optional parts too.
pub(crate) fn guests(folder: &Path) -> Result<Totals> {
    let host = artifacts::host()?;
    let config = crate::root().join(".config/nextest.toml").display().to_string();
    run(
        folder,
        &[
            "--workspace".into(),
            "--all-features".into(),
            "--config-file".into(),
            config,
            "--target".into(),
            host,
        ],
        &[],
    )
}

/// The tests that [`workspace`] leaves out, each with the first reason.
pub(crate) fn skipped(
    lacking: &[Ability],
    arguments: &[String],
) -> Result<Vec<(String, &'static str)>> {
    let mut skipped: Vec<(String, &'static str)> = Vec::new();
    for ability in lacking {
        let mut list = shell::cargo(&crate::root());
        list.args(["nextest", "list", "--message-format", "json", "--ignore-default-filter"]);
        list.args(["--filterset", needs(*ability)]);
        let listed = shell::output(list.args(whole(arguments)).args(arguments))?;
        for test in matching(&listed)? {
            if !skipped.iter().any(|(known, _)| *known == test) {
                skipped.push((test, ability.lack()));
            }
        }
    }
    Ok(skipped)
}

/// The tests that need it, as a filter. Live tests say so in their names; what they need, their crates say.
fn needs(ability: Ability) -> &'static str {
    match ability {
        Ability::Root => "test(/live/)",
        Ability::Docker => {
            "test(/live/) and package(/^(flocker-docker|flocker-runtime|scenarios)$/)"
        }
        Ability::Btrfs => "test(/live/) and package(/^(flocker-btrfs|flocker-runtime|scenarios)$/)",
        Ability::Registry => "test(/live_registry/)",
        Ability::Zfs => IN_GUEST,
        Ability::Guests => "test(/live_guests/)",
    }
}

fn lost_filter(lacking: &[Ability]) -> Option<String> {
    let parts: Vec<String> =
        lacking.iter().map(|ability| format!("({})", needs(*ability))).collect();
    (!parts.is_empty()).then(|| parts.join(" or "))
}

fn run(folder: &Path, scope: &[String], arguments: &[String]) -> Result<Totals> {
    let target = shell::output(shell::cargo(folder).args([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
    ]))?;
    let target: Value = serde_json::from_str(&target).context("could not read `cargo metadata`")?;
    let target =
        target["target_directory"].as_str().context("`cargo metadata` names no target folder")?;
    let report = Path::new(target).join("nextest/ci/junit.xml");
    // The record of an earlier run must not be taken for that of one that could not even start.
    let _ = fs::remove_file(&report);

    let mut nextest = shell::cargo(folder);
    // Built before, so that no test has to start a cargo of its own: the gate by `test`, the helper before tests in guests.
    nextest.env("FLOCKER_GATE", artifacts::gate()?);
    nextest.env("FLOCKER_ZFS_HELPER", artifacts::zfs_helper());
    nextest
        .args([
            "nextest",
            "run",
            "--profile",
            "ci",
            "--no-tests",
            "pass",
            "--ignore-default-filter",
        ])
        .args(scope)
        .args(arguments);
    crate::say::line(&format!("$ {}", shell::shown(&nextest)));
    // In a group of its own it does not hear Ctrl-C, and cannot end tests before they cleaned up after themselves.
    let status = shell::status(nextest.process_group(0).stdin(Stdio::null()))?;
    let totals = match fs::read_to_string(&report) {
        Ok(xml) => totals(&xml)?,
        Err(_) if status.success() => Totals::default(),
        Err(error) => bail!("the tests did not run ({status}, `{}`: {error})", report.display()),
    };
    if !status.success() && totals.failed == 0 {
        bail!("nextest ended with {status}, although every test that ran passed");
    }
    Ok(totals)
}

/// The totals of a JUnit report: they stand in its root element.
fn totals(xml: &str) -> Result<Totals> {
    let start = xml.find("<testsuites").context("nextest's report has no `testsuites`")?;
    let root = xml[start..].split('>').next().unwrap_or_default();
    let count = |name: &str| -> Result<usize> {
        let value =
            root.split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        let value = value.with_context(|| format!("nextest's report does not count `{name}`"))?;
        value.parse().with_context(|| format!("nextest's report counts `{value}` {name}"))
    };
    let failed = count("failures")? + count("errors")?;
    let passed = count("tests")?
        .checked_sub(failed)
        .context("nextest's report counts more failures than tests")?;
    Ok(Totals { passed, failed, skipped: 0 })
}

/// The names of all matching tests in the output of `nextest list`.
fn matching(listed: &str) -> Result<Vec<String>> {
    let listed: Value =
        serde_json::from_str(listed).context("could not read `cargo nextest list`")?;
    let suites =
        listed["rust-suites"].as_object().context("`cargo nextest list` names no suites")?;
    let mut names = Vec::new();
    for (suite, content) in suites {
        for (test, case) in content["testcases"].as_object().into_iter().flatten() {
            if case["filter-match"]["status"] == "matches" {
                names.push(format!("{suite} {test}"));
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_errors_as_failures_and_not_as_passes() {
        let xml = r#"<?xml version="1.0"?>
            <testsuites name="nextest-run" tests="7" failures="1" errors="2" uuid="x" time="0.1">
              <testsuite name="a" tests="99" failures="99">"#;

        assert_eq!(totals(xml).unwrap(), Totals { passed: 4, failed: 3, skipped: 0 });
    }

    #[test]
    fn a_report_without_totals_is_an_error_and_not_a_success() {
        assert!(totals("<testsuites name=\"x\">").is_err());
        assert!(totals("").is_err());
    }

    #[test]
    fn lists_only_what_matches() {
        let listed = r#"{"rust-suites": {"crate::bin": {"testcases": {
            "live::mounts": {"filter-match": {"status": "matches"}},
            "plain": {"filter-match": {"status": "mismatch", "reason": "expression"}}}}}}"#;

        assert_eq!(matching(listed).unwrap(), ["crate::bin live::mounts"]);
    }
}
