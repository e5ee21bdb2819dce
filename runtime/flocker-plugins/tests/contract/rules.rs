//! The rules, each tried on a copy of the contract that keeps or breaks it.

use std::fs;

use crate::{compatible, wit};

/// The version in `wit/`, and the next one.
const PRESENT: &str = "0.1.0";
const NEXT: &str = "0.1.1";

/// Changes one file of a copy of the present contract, which becomes the next version, and says whether plugins of the
/// present one would still run.
#[track_caller]
fn next(file: &str, from: &str, to: &str) -> Result<(), String> {
    changed(NEXT, file, from, to)
}

#[track_caller]
fn changed(version: &str, file: &str, from: &str, to: &str) -> Result<(), String> {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(wit()).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_none_or(|extension| extension != "wit") {
            continue;
        }
        let name = entry.file_name().unwrap();
        let mut text = fs::read_to_string(&entry).unwrap();
        if name == file {
            assert!(text.contains(from), "`{from}` is not in {file}");
            text = text.replacen(from, to, 1);
        }
        let package = |version| format!("package flocker:plugin@{version};");
        assert!(text.contains(&package(PRESENT)), "{name:?} is not of version {PRESENT}");
        let text = text.replacen(&package(PRESENT), &package(version), 1);
        fs::write(copy.path().join(name), text).unwrap();
    }
    compatible::check(&wit(), copy.path())
}

#[track_caller]
fn breaks(why: &str, outcome: Result<(), String>) {
    let said = outcome.expect_err(why);
    assert!(said.contains(why), "`{said}` does not say `{why}`");
}

const LEVELS: &str = "enum level { trace, debug, info, warn, error }";

#[test]
fn a_next_version_without_changes_is_compatible() {
    next("host.wit", LEVELS, LEVELS).unwrap();
}

#[test]
fn the_host_may_offer_more() {
    next("host.wit", LEVELS, &format!("{LEVELS}\n  flush: func();")).unwrap();
    next(
        "host.wit",
        "generation: func() -> u64;",
        "generation: func() -> u64; age: func() -> u64;",
    )
    .unwrap();
}

#[test]
fn a_new_hook_is_a_new_interface_and_a_new_world() {
    let hook = "interface quota { check: func() -> bool; }\nworld quota-policy { export quota; }\n";
    next("worlds.wit", "@since", &format!("{hook}@since")).unwrap();
}

#[test]
fn the_host_may_not_offer_less() {
    breaks("missing expected", next("host.wit", "  enabled: func(at: level) -> bool;\n", ""));
    breaks(
        "no world `failover-policy`",
        next("worlds.wit", "world failover-policy", "world failure-policy"),
    );
}

#[test]
fn an_enum_gets_no_further_case() {
    let more = LEVELS.replace("error", "error, fatal");
    breaks("semver-compatible", next("host.wit", LEVELS, &more));
}

#[test]
fn a_record_gets_no_further_field() {
    let (from, to) = ("record attr { key: string,", "record attr { since: u64, key: string,");
    breaks("semver-compatible", next("types.wit", from, to));
    let (from, to) = ("record reason {", "record reason { weight: u32,");
    breaks("semver-compatible", next("placement.wit", from, to));
}

#[test]
fn what_plugins_export_gets_no_further_function() {
    let more = "evaluate-many: func();\n  evaluate: func(";
    breaks("functions of `placement` changed", next("placement.wit", "evaluate: func(", more));
}

#[test]
fn what_plugins_export_loses_no_function() {
    let text = fs::read_to_string(wit().join("backup-schedule.wit")).unwrap();
    let prune = text.lines().find(|line| line.contains("prune: func")).unwrap();
    breaks("functions of `backup-schedule` changed", next("backup-schedule.wit", prune, ""));
}

#[test]
fn no_parameter_changes_its_type() {
    let (from, to) = ("candidates: list<u32>)", "candidates: list<u64>)");
    breaks("semver-compatible", next("placement.wit", from, to));
}

#[test]
fn plugins_need_not_export_more_than_before() {
    let (from, to) = ("export placement; }", "export placement; export rebalance; }");
    breaks("semver-compatible", next("worlds.wit", from, to));
    breaks("not exported any more", next("worlds.wit", from, "}"));
}

#[test]
fn what_is_released_under_a_version_stays_as_it_is() {
    changed(PRESENT, "host.wit", "/// The cluster, frozen", "/// The whole cluster, frozen")
        .unwrap();
    breaks(
        "both are 0.1.0",
        changed(PRESENT, "host.wit", LEVELS, &format!("{LEVELS} flush: func();")),
    );
}
