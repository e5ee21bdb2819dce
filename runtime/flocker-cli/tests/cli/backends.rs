//! The tools of those who write storage backends.

use std::{fs, path::Path, process::Output};

use serde_json::{Value, json};

use crate::{author::wasm, command};

fn run(words: &[&str]) -> Output {
    command("unix:///nowhere", &["plugin", "--json"]).args(words).output().unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn backend() -> String {
    wasm("dir_backend").display().to_string()
}

/// What an operator has to grant is known before anything of it is given.
#[test]
fn what_a_backend_needs_is_said_and_what_of_it_is_missing() {
    let output = run(&["check", &backend()]);
    let (found, said) = (answer(&output), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("hint: `--grant directory=pool:/PATH`"), "{said}");
    assert_eq!(found["hooks"], json!(["storage-backend"]));
    let need = |granted: bool| {
        let (what, grant) = ("a directory called `pool`", "directory=pool:/PATH");
        json!([{"what": what, "grant": grant, "granted": granted}])
    };
    assert_eq!(found["needs"], need(false));

    let output = run(&["check", &backend(), "--grant", "directory=pool:/srv"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(answer(&output)["needs"], need(true));

    let found = answer(&run(&["inspect", &backend()]));
    assert_eq!(found["fits"], true, "{found:#}");
    let imports = found["imports"].as_array().unwrap();
    assert!(imports.iter().all(|import| import["refused"] == Value::Null), "{found:#}");
    assert!(found["needs"].is_null(), "nothing of it was run: {found:#}");
}

/// One who looks at a backend with what he means to grant sees at once what is forgotten.
#[test]
fn inspecting_a_backend_with_grants_shows_what_it_would_lack() {
    let needs = |grant: &str| {
        let output = run(&["inspect", &backend(), "--grant", grant]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        answer(&output)["needs"].clone()
    };
    let other = needs("directory=other:/srv");
    assert_eq!(
        (&other[0]["granted"], &other[0]["grant"]),
        (&json!(false), &json!("directory=pool:/PATH"))
    );
    assert_eq!(needs("directory=pool:/srv")[0]["granted"], true);

    let output = command("unix:///nowhere", &["plugin", "inspect", &backend()])
        .args(["--grant", "kv=1MiB"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("NOT GRANTED: `--grant directory=pool:/PATH`"), "{said}");
}

#[test]
fn what_is_for_the_other_kind_of_plugin_is_refused_with_a_hint() {
    let spread = wasm("spread").display().to_string();
    let refused = |words: &[&str], word: &str| {
        let output = run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_ne!(output.status.code(), Some(0), "{said}");
        assert!(said.contains(word) && said.contains("hint: "), "{said}");
    };
    refused(&["test", &spread], "without scenarios");
    refused(&["test", &spread, "--grant", "kv=1MiB"], "is granted nothing");
    refused(&["check", &spread, "--grant", "kv=1MiB"], "is granted nothing");
    refused(&["inspect", &spread, "--grant", "kv=1MiB"], "is granted nothing");
    let elsewhere = "registry.example/acme/backend:1.0";
    refused(&["inspect", elsewhere, "--grant", "kv=1MiB"], "is in a registry");
    refused(&["test", &backend(), "scenario.toml"], "has no scenarios");
}

/// What it exports comes last, so half of it looks like something else.
#[test]
fn a_backend_that_is_damaged_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let torn = folder.path().join("torn.wasm");
    let bytes = fs::read(wasm("dir_backend")).unwrap();
    fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
    for command in ["test", "check", "inspect"] {
        let output = run(&[command, torn.to_str().unwrap(), "--grant", "directory=pool:/srv"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("torn.wasm`: it is damaged"), "{said}");
    }
}

#[test]
fn live_every_rule_is_tried_on_a_backend() {
    keeps_the_rules(&backend());
}

/// It loads for ever, as released policies do.
#[test]
fn live_a_released_backend_keeps_the_rules() {
    keeps_the_rules(crate::corpus::backend().to_str().unwrap());
}

/// All rules are kept but those about quotas, which it does not claim to have, and about clones and ways back, which no
/// plugin can;
/// nothing is left of the trial.
fn keeps_the_rules(backend: &str) {
    let folder = tempfile::tempdir().unwrap();
    let grant = format!("directory=pool:{}", folder.path().display());

    let output = run(&["test", backend, "--grant", &grant]);

    let found = answer(&output);
    assert_eq!(output.status.code(), Some(0), "{found:#}");
    let rules = found["rules"].as_array().unwrap();
    let count = |outcome: &str| rules.iter().filter(|rule| rule["outcome"] == outcome).count();
    assert_eq!(count("failed"), 0, "{found:#}");
    assert_eq!(found["passed"], count("passed"));
    assert!(count("passed") >= 29, "{found:#}");
    let over: Vec<_> = rules.iter().filter(|rule| rule["outcome"] == "passed-over").collect();
    let about = |over: &Value, feature: &str| over["why"].as_str().unwrap().contains(feature);
    let quota: Vec<_> = over.iter().filter(|over| about(over, "`quota`")).collect();
    assert!(quota.len() == 1 && quota[0]["rule"] == "a_writer_hits_the_limit", "{found:#}");
    let others = over.iter().filter(|over| !about(over, "`quota`"));
    let cannot = |over: &Value| about(over, "`clone`") || about(over, "`keeping-rollback`");
    assert!(others.clone().all(|over| cannot(over)), "{found:#}");
    nothing_left(folder.path());
}

/// A backend that cannot receive is told which rules it breaks, and how.
#[test]
fn live_a_backend_that_breaks_rules_is_told_which() {
    let folder = tempfile::tempdir().unwrap();
    let grant = format!("directory=pool:{}", folder.path().display());
    // As an author's mistake would be: the same component with another path in it.
    let broken = folder.path().join("broken.wasm");
    let mut torn = fs::read(wasm("dir_backend")).unwrap();
    let name = b"received";
    while let Some(at) = torn.windows(name.len()).position(|window| window == name) {
        torn[at + 4] = b'/';
    }
    fs::write(&broken, torn).unwrap();

    let output = run(&["test", &broken.display().to_string(), "--grant", &grant]);

    let found = answer(&output);
    assert_eq!(output.status.code(), Some(1), "{found:#}");
    let rules = found["rules"].as_array().unwrap();
    let of = |name: &str| rules.iter().find(|rule| rule["rule"] == name).unwrap();
    assert_eq!(of("create_makes_an_empty_live_volume_once")["outcome"], "passed", "{found:#}");
    let failed = of("a_sent_snapshot_keeps_its_guid");
    assert_eq!(failed["outcome"], "failed", "{found:#}");
    assert!(failed["why"].as_str().unwrap().contains("plugin `dir`"), "{failed:#}");
    fs::remove_file(&broken).unwrap();
    nothing_left(folder.path());
}

fn nothing_left(granted: &Path) {
    assert_eq!(fs::read_dir(granted).unwrap().count(), 0, "something is left of the trial");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&granted.display().to_string()), "{mounts}");
}
