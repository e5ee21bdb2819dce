//! The tools of those who write plugins: no node is there, and none is asked. The components of `plugins/` must have
//! been built: `cargo xtask test` does it.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use expect_test::{Expect, expect};
use flocker_model::{
    AppName, ByteSize, Capacity, CpuMillis, NodeName, OperationId, Purpose, Revision, Timestamp,
};
use flocker_planner::{ClusterView, NodeRow, PlacementQuestion, Policies};
use flocker_plugins::{Configured, HostConfig, PluginHost, RecordsConfig};
use serde_json::Value;
use tempfile::TempDir;

use crate::{command, shown};

pub(crate) fn wasm(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../plugins/target/wasm32-unknown-unknown/release");
    let path = folder.join(format!("{name}.wasm"));
    let missing = path.display();
    assert!(path.exists(), "`{missing}` is missing\nhint: cd plugins && cargo build --release");
    path
}

/// A folder to work in, with some files, and the component `spread` as `policy.wasm`.
pub(crate) struct Desk(pub(crate) TempDir);

impl Desk {
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(wasm("spread"), folder.path().join("policy.wasm")).unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        Self(folder)
    }

    /// Digests and fuel follow from the compiler, which this is not about.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let mut command = command("unix:///nowhere", &["plugin"]);
        let output = command.args(arguments).current_dir(self.0.path()).output().unwrap();
        let masked = |line: &str| match (line.split_once("sha256:"), line.split_once("(fuel ")) {
            (Some((before, _)), _) => format!("{before}sha256:DIGEST\n"),
            (None, Some((before, _))) => format!("{before}(fuel FUEL)\n"),
            (None, None) => format!("{line}\n"),
        };
        shown(&output).lines().map(masked).collect()
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], want: &Expect) {
        want.assert_eq(&self.run(arguments));
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut command = command("unix:///nowhere", &["plugin", "--json"]);
        let output = command.args(arguments).current_dir(self.0.path()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

const SOCKETS: &str = r#"(component (import "wasi:sockets/instance-network@0.2.0" (instance))
    (import "flocker:plugin/log@0.2.0" (instance)) (import "env" (func)))"#;

#[test]
fn a_name_that_a_terminal_would_obey_is_shown_in_escapes() {
    const NASTY: &str = "a\x1b[2J\u{202e}b.wasm";
    let desk = Desk::with(&[(NASTY, b"#!/bin/sh\n")]);

    let there = desk.run(&["inspect", NASTY]);
    assert!(there.starts_with(r"file        a\u{1b}[2J\u{202e}b.wasm"), "{there}");
    let missing = desk.run(&["check", &format!("./no-{NASTY}")]);
    assert!(missing.contains(r"./no-a\u{1b}[2J\u{202e}b.wasm"), "{missing}");
    let mut inspect = command("unix:///nowhere", &["plugin", "inspect", "--json", NASTY]);
    let told = shown(&inspect.current_dir(desk.0.path()).output().unwrap());
    assert!(told.contains(r#""file":"a\u001b[2J\u202eb.wasm""#), "{told}");
    let unknown = desk.run(&["inspect", NASTY, NASTY]);
    // What looks like a colour is taken out of a usage error.
    assert!(unknown.contains(r"argument 'a\u{202e}b.wasm'"), "{unknown}");
    for shown in [there, missing, told, unknown] {
        assert!(!shown.contains(['\x1b', '\u{202e}']), "{shown:?}");
    }
}

#[test]
fn what_no_node_would_load_is_described_with_the_reason() {
    let torn = fs::read(wasm("spread")).unwrap();
    let desk = Desk::with(&[
        ("noise.wasm", b"#!/bin/sh\n"),
        ("core.wasm", b"\0asm\x01\0\0\0"),
        ("sockets.wasm", &wat::parse_str(SOCKETS).unwrap()),
        ("torn.wasm", &torn[..torn.len() / 2]),
    ]);
    desk.check(
        &["inspect", "noise.wasm"],
        &expect![[r#"
        file        noise.wasm
        kind        no WebAssembly, 10 B
        digest      sha256:DIGEST
        hooks       -
        imports     -
          of WASI   -
          unknown   -
        exports     -
        fits here   no: it is not WebAssembly
                    a plugin is a WebAssembly component, which ends in .wasm and is binary
    "#]],
    );
    desk.check(&["inspect", "core.wasm"], &expect![[r#"
        file        core.wasm
        kind        core module, 8 B
        digest      sha256:DIGEST
        hooks       -
        imports     -
          of WASI   -
          unknown   -
        exports     -
        fits here   no: it is a core WebAssembly module, not a component
                    with Rust, set `linker = "wasm-component-ld"` in .cargo/config.toml as sdk/rust/README.md shows; in other languages, `flocker plugin componentize`
    "#]]);
    desk.check(
        &["inspect", "sockets.wasm"],
        &expect![[r#"
        file        sockets.wasm
        kind        component, 108 B
        digest      sha256:DIGEST
        hooks       -
        imports     flocker:plugin/log@0.2.0   NOT GRANTED
          of WASI   wasi:sockets/instance-network@0.2.0   NOT GRANTED
          unknown   env   NOT GRANTED
        exports     -
        fits here   no: it asks for `wasi:sockets`, which was not granted
                    policies get no network and no devices; build it without
    "#]],
    );
    desk.check(&["inspect", "nothing.wasm"], &expect![[r#"
        stderr: error: could not load plugin `nothing.wasm`: there is no such file
        stderr: hint: a plugin written in Rust is at target/wasm32-unknown-unknown/release/NAME.wasm after `cargo build --release`
        exit status: 1
    "#]]);
    assert_eq!(desk.json(&["inspect", "torn.wasm"])["fits"], false);
}

#[test]
fn what_a_plugin_asks_for_is_seen_without_running_it() {
    let found = Desk::with(&[]).json(&["inspect", "policy.wasm"]);

    assert_eq!((&found["kind"], &found["fits"]), (&"component".into(), &true.into()), "{found}");
    assert_eq!(found["hooks"], serde_json::json!(["placement"]));
    let imports = found["imports"].as_array().unwrap();
    let cluster = imports.iter().find(|i| i["name"] == "flocker:plugin/cluster@0.1.0").unwrap();
    assert_eq!((&cluster["from"], &cluster["refused"]), (&"contract".into(), &Value::Null));
}

#[test]
fn a_plugin_is_loaded_as_a_node_does() {
    let desk = Desk::with(&[("settings.json", br#"{"speed": 11}"#)]);
    desk.check(
        &["check", "policy.wasm"],
        &expect![[r#"
        name        spread
        version     0.1.0
        digest      sha256:DIGEST
        hooks       placement
        settings    it says nothing about them
    "#]],
    );
    desk.check(&["check", "policy.wasm", "--settings", "@settings.json"], &expect![[r#"
        stderr: error: could not load plugin `policy.wasm`: it failed while it was configured (refused): this policy has no settings (code 1)
        exit status: 1
    "#]]);
    desk.check(
        &["check", "policy.wasm", "--settings", "@nothing.json"],
        &expect![[r#"
        stderr: error: could not read `nothing.json`: No such file or directory (os error 2)
        exit status: 1
    "#]],
    );
}

const SCENARIO: &str = r#"
[cluster]
nodes = [{ name = "a", draining = true }, { name = "b" }, { name = "c" }]
apps = [{ name = "blog", node = "b", memory-bytes = "8GiB" }]

[[placement]]
app = "shop"
memory-bytes = "1GiB"
expect = { node = "c", order = ["c", "b"], refused = [] }

[[placement]]
app = "blog"
expect = { node = "b" }
"#;

#[test]
fn answers_are_compared_with_what_is_expected() {
    let wrong = SCENARIO.replace(
        r#"node = "c", order = ["c", "b"]"#,
        r#"node = "b", order = ["b", "c"], scores = { a = 1 }"#,
    );
    let desk = Desk::with(&[("good.toml", SCENARIO.as_bytes()), ("wrong.toml", wrong.as_bytes())]);
    desk.check(
        &["test", "policy.wasm", "good.toml"],
        &expect![[r#"
        ok      good.toml: placement of `shop`
        ok      good.toml: placement of `blog`
        2 asked, 0 not answered as expected
    "#]],
    );
    desk.check(&["test", "policy.wasm", "good.toml", "wrong.toml"], &expect![[r#"
        ok      good.toml: placement of `shop`
        ok      good.toml: placement of `blog`
        FAILED  wrong.toml: placement of `shop`
          node
            expected  b
            got       c
          order
            expected  b, c
            got       c, b
          score of a
            expected  1
            got       it was excluded
          the answer
            app `shop` (create): `c`
            decided by the policies
              c               9812   spread 0.1.0: 9812 (0 other apps)
              b               5812   spread 0.1.0: 5812 (1 other apps)
              a                 no   is draining
              policy `spread 0.1.0` read nodes/apps, nodes/cpu-millis, nodes/cpu-promised-millis, nodes/memory-bytes, nodes/memory-promised-bytes, nodes/pool-bytes, nodes/pool-free-bytes (fuel FUEL)
        ok      wrong.toml: placement of `blog`
        4 asked, 1 not answered as expected
        stderr: error: 1 of 4 answers are not what was expected
        exit status: 1
    "#]]);

    let found = desk.json(&["test", "policy.wasm", "wrong.toml"]);

    assert_eq!((&found["asked"], &found["failed"]), (&2.into(), &1.into()));
    let mismatch = &found["scenarios"][0]["questions"][0]["mismatches"][0];
    assert_eq!(mismatch, &serde_json::json!({"what": "node", "expected": "b", "got": "c"}));
}

#[test]
fn a_scenario_that_makes_no_sense_is_told_where() {
    let cases = [
        ("key.toml", SCENARIO.replace("memory-bytes = \"8GiB\"", "memory = \"8GiB\"")),
        ("node.toml", SCENARIO.replace("node = \"c\", ", "node = \"z\", ")),
    ];
    let files: Vec<_> = cases.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let desk = Desk::with(&files);
    let said: String =
        cases.iter().map(|(name, _)| desk.run(&["test", "policy.wasm", name])).collect();
    expect![[r#"
        stderr: error: scenario `key.toml`: TOML parse error at line 4, column 38
        stderr:   |
        stderr: 4 | apps = [{ name = "blog", node = "b", memory = "8GiB" }]
        stderr:   |                                      ^^^^^^
        stderr: unknown field `memory`, expected one of `name`, `node`, `epoch`, `memory-bytes`, `cpu-millis`, `size-bytes`, `placed-ms`, `labels`
        stderr: hint: `flocker plugin test --help` shows a scenario; sdk/scenarios.md describes them
        exit status: 1
        stderr: error: scenario `node.toml`: placement of `shop`: there is no node `z` in the cluster; its nodes: `a`, `b`, `c`
        stderr: hint: `flocker plugin test --help` shows a scenario; sdk/scenarios.md describes them
        exit status: 1
    "#]].assert_eq(&said);
}

#[test]
fn costs_are_measured_at_three_sizes() {
    let found = Desk::with(&[]).json(&["bench", "policy.wasm"]);

    let costs = found["costs"].as_array().unwrap();
    let sizes: Vec<_> = costs.iter().map(|c| c["nodes"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [10, 1_000, 10_000], "{found}");
    let fuel: Vec<_> = costs.iter().map(|c| c["fuel"].as_u64().unwrap()).collect();
    assert!(fuel.is_sorted() && fuel[0] > 0, "{fuel:?}");
}

#[test]
fn a_limit_of_the_authors_is_what_is_measured_against() {
    let desk = Desk::with(&[]);
    let found = desk.json(&["bench", "policy.wasm", "--limit", "fuel=2M"]);
    assert_eq!(found["fuel_max"], 2_000_000);
    assert!(found["costs"][0]["fuel"].is_u64(), "{found}");
    let said = found["costs"][2].to_string();
    assert!(said.contains("it used up its 2000000 units of fuel"), "{said}");
    let said = desk.run(&["bench", "policy.wasm", "--limit", "fuel=2M"]);
    let row = said.lines().find(|line| line.starts_with("placement  10000")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>()[2..], ["-", "-", "-", "-", "failed"]);
    let below =
        "\n\nplacement failed with 10000 nodes (fuel): it used up its 2000000 units of fuel";
    assert!(said.contains(below), "{said}");

    let said = desk.run(&["check", "policy.wasm", "--limit", "wall=1h"]);
    assert!(said.contains("`wall=1h` is not between 10ms and 10s"), "{said}");
    let said = desk.run(&["check", "policy.wasm", "--limit", "fuel=2M", "--limit", "fuel=3M"]);
    assert!(said.contains("`fuel` is limited twice"), "{said}");
}

/// `a` and `b` are empty, and `b` is half promised.
fn view() -> Arc<ClusterView> {
    let node = |name: &str, promised: u64| NodeRow {
        memory: Capacity { total: ByteSize::gib(16), free: ByteSize::gib(16 - promised) },
        cpu: CpuMillis(4000),
        memory_promised: ByteSize::gib(promised),
        pool: Capacity { total: ByteSize::gib(100), free: ByteSize::gib(50) },
        ..NodeRow::new(NodeName::new(name).unwrap())
    };
    Arc::new(ClusterView {
        generation: Revision(7),
        now: Timestamp(1_795_340_111_000),
        nodes: vec![node("a", 0), node("b", 8)],
        ..ClusterView::default()
    })
}

/// What a node recorded whose policy is `spread`.
fn record(folder: &Path) {
    let records = RecordsConfig { folder: folder.to_owned(), bytes_max: 1 << 30 };
    let host = PluginHost::new(HostConfig { records: Some(records), ..HostConfig::default() });
    let host = host.unwrap();
    host.load(&Configured::new(&wasm("spread"))).unwrap();
    let question = PlacementQuestion {
        decision: OperationId::new("op-1").unwrap(),
        seed: 42,
        what: flocker_planner::Placed::App,
        purpose: Purpose::Create,
        name: AppName::new("shop").unwrap(),
        app: None,
        volumes: vec![],
        current: None,
        size: ByteSize::gib(1),
        memory: ByteSize::gib(1),
        cpu: CpuMillis(500),
        holders: vec![],
        labels: [("placement.prefer.disk".to_owned(), "ssd".to_owned())].into(),
        candidates: vec![0, 1],
    };
    assert!(host.place(&view(), &question)[0].answer.is_ok());
    host.flush_records();
}

#[test]
fn old_questions_are_asked_again() {
    let desk = Desk::with(&[]);
    let records = desk.0.path().join("records");
    record(&records);
    desk.check(
        &["replay", "policy.wasm", "--records", "records"],
        &expect![[r#"
        1 asked: 1 answered as before, 0 otherwise, 0 not comparable
    "#]],
    );
    fs::copy(wasm("binpack"), desk.0.path().join("other.wasm")).unwrap();
    desk.check(
        &["replay", "other.wasm", "--records", "records"],
        &expect![[r#"
        placement op-1, 2026-11-22T09:35:11Z, was answered by spread 0.1.0
          then  node `a`: 9177
          then  node `b`: 7677
          now   node `a`: 468
          now   node `b`: 1718
        1 asked: 0 answered as before, 1 otherwise, 0 not comparable
        stderr: error: 1 of 1 answers differ
        exit status: 1
    "#]],
    );
    desk.check(
        &["replay", "other.wasm", "--records", "nowhere"],
        &expect![[r#"
        stderr: error: the records cannot be read: `nowhere`: No such file or directory (os error 2)
        stderr: hint: they are in the folder `records` of a node's state folder
        exit status: 1
    "#]],
    );

    let found = desk.json(&["replay", "other.wasm", "--records", "records"]);

    let different = &found["different"][0];
    assert_eq!(
        (&different["kind"], &different["question"]["candidates"][1]),
        (&"placement".into(), &"b".into())
    );
}

#[test]
fn what_cannot_be_compared_is_said_with_its_reason() {
    let desk = Desk::with(&[]);
    record(&desk.0.path().join("records"));
    fs::copy(wasm("labels"), desk.0.path().join("other.wasm")).unwrap();
    desk.check(&["replay", "other.wasm", "--records", "records"], &expect![[r#"
        1 asked: 0 answered as before, 0 otherwise, 1 not comparable
          1 of placement: it looks at column `label:disk` of `nodes`, which was not recorded: a record holds what was looked at by whoever was asked then
    "#]],);
}

/// Made by minisign 0.11: `minisign -G -W`.
pub(crate) const SECRET: &str = "untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/A6H00AJz5zzvsICTQDuwlJYKcZGikLQdctFzV3376Iu7l74sWCpKQKtx0wNgNXtz3XSLh8SfnNXtLJGvTp0iHOFt7szzGRTAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
";
pub(crate) const PUBLIC: &str = "untrusted comment: minisign public key 9CCF0940D3870EFC
RWT8DofTQAnPnAKtx0wNgNXtz3XSLh8SfnNXtLJGvTp0iHOFt7szzGRT
";
/// Of the file `hello\n`, by minisign 0.11.
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUT8DofTQAnPnFkTzxZqaqenhaK0jfk6GLRvHXKPWmijxNWHn0OWly2xFmATmZCrL8z5du0Fq0TyOJB4cv9D7xwpReyWR8l8HAg=
trusted comment: a remark
eCCz36cYzqR7UtldfE6M8RC7MTt6YIrnsbjEacnI4QGruFZ+Xght74tqaONEM5K9NvNhvbfY0/HI0BDezfvMCg==
";
pub(crate) const STRANGER: &str = "RWR0jYDmuXyzqFqfKRCXhmUsavzl81Twkw7dBuTpIAnyd4tjULt+ugz0";

#[test]
fn signatures_are_those_of_minisign() {
    let desk = Desk::with(&[
        ("key", SECRET.as_bytes()),
        ("key.pub", PUBLIC.as_bytes()),
        ("hello", b"hello\n"),
        ("hello.minisig", SIGNATURE.as_bytes()),
    ]);
    desk.check(
        &["verify", "hello", "--key", "key.pub"],
        &expect![[r#"
        verified: key 9CCF0940D3870EFC, a remark
    "#]],
    );
    desk.check(
        &["verify", "hello", "--key", STRANGER],
        &expect![[r#"
        stderr: error: `hello`: it was signed with key 9CCF0940D3870EFC, not A8B37CB9E6808D74
        stderr: hint: ask whoever made it for the public key, and trust it only if it comes another way than the plugin
        exit status: 1
    "#]],
    );
    desk.check(
        &["sign", "policy.wasm", "-s", "key", "-t", "0.1.0"],
        &expect![[r#"
        signed: `policy.wasm.minisig`, key 9CCF0940D3870EFC
    "#]],
    );
    desk.check(
        &["verify", "policy.wasm", "-p", PUBLIC.lines().nth(1).unwrap()],
        &expect![[r#"
        verified: key 9CCF0940D3870EFC, 0.1.0
    "#]],
    );

    fs::copy(wasm("binpack"), desk.0.path().join("policy.wasm")).unwrap();

    desk.check(
        &["verify", "policy.wasm", "-p", "key.pub"],
        &expect![[r#"
        stderr: error: `policy.wasm`: it is not what was signed, or its signature was changed
        stderr: hint: do not load it; get it again
        exit status: 1
    "#]],
    );
    desk.check(
        &["verify", "key", "-p", "key.pub"],
        &expect![[r#"
        stderr: error: `key`: it is not signed: there is no `key.minisig`
        stderr: hint: `flocker plugin sign` makes one; `flocker plugin pull` brings the one that was pushed along
        exit status: 1
    "#]],
    );
    desk.check(
        &["sign", "policy.wasm", "-s", "hello"],
        &expect![[r#"
            stderr: error: secret key `hello`: it is none of minisign's
            exit status: 1
        "#]],
    );
}

/// Says who it is, and prints it.
const SPEAKER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\60\00\00\00\06\00\00\00")
    (data (i32.const 16) "\60\00\00\00\05\00\00\00\60\00\00\00\05\00\00\00")
    (data (i32.const 96) "hello\n")
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
    (func (export "flocker:plugin/lifecycle@0.1.0#describe") (result i32)
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.const 16))
    (func (export "flocker:plugin/lifecycle@0.1.0#configure") (param i32 i32) (result i32) (i32.const 128))
    (func (export "flocker:plugin/placement@0.1.0#evaluate") (param i32) (result i32) unreachable))"#;

#[test]
fn a_core_module_becomes_a_plugin_and_what_it_prints_is_logged() {
    let desk = Desk::with(&[
        ("core.wasm", &wat::parse_str(SPEAKER).unwrap()),
        ("empty.wasm", b"\0asm\x01\0\0\0"),
    ]);
    desk.check(&["componentize", "core.wasm", "-o", "speaker.wasm"], &expect![[r#"
        speaker.wasm: a component that exports flocker:plugin/lifecycle@0.1.0, flocker:plugin/placement@0.1.0
    "#]]);
    let said = desk.run(&["check", "speaker.wasm"]);
    assert!(said.contains("hooks       placement\n"), "{said}");
    let is_hello =
        |l: &str| l.starts_with("stderr: ") && l.contains("ERROR") && l.contains("hello");
    assert!(said.lines().any(is_hello), "{said}");
    desk.check(
        &["componentize", "policy.wasm", "-o", "twice.wasm"],
        &expect![[r#"
        stderr: error: `policy.wasm` cannot be made a component: it is no core module
        stderr: hint: compilers write core modules; a component is finished as it is
        exit status: 1
    "#]],
    );
    desk.check(&["componentize", "empty.wasm", "-o", "empty-component.wasm"], &expect![[r#"
        stderr: error: `empty.wasm` cannot be made a component: it exports no `flocker:plugin/lifecycle`
        stderr: hint: every plugin exports it, and its hooks: the SDKs in `sdk/` do it for their authors
        exit status: 1
    "#]]);
}

#[test]
fn a_new_policy_is_written_once() {
    let desk = Desk::with(&[]);
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/rust");
    let sdk = sdk.to_str().unwrap();
    desk.check(
        &["new", "rust", "my-policy"],
        &expect![[r#"
        stderr: error: no SDK was found in the folders above this one
        stderr: hint: `--sdk DIR` names it: the folder `sdk/rust` of a checkout of flocker-runtime
        exit status: 1
    "#]],
    );
    desk.check(&["new", "rust", "my-policy", "--sdk", sdk], &expect![[r#"
        my-policy: Cargo.toml, .cargo/config.toml, .gitignore, README.md, build.sh, src/lib.rs, scenarios/first.toml
        next: cd my-policy && ./build.sh && flocker plugin test my-policy.wasm scenarios/*.toml; README.md goes on from there
    "#]]);
    desk.check(
        &["new", "rust", "my-policy", "--sdk", sdk],
        &expect![[r#"
        stderr: error: `my-policy` exists already
        stderr: hint: choose another name, or remove it
        exit status: 1
    "#]],
    );
    desk.check(
        &["new", "cobol", "my-policy", "--sdk", sdk],
        &expect![[r#"
        stderr: error: there are no templates for `cobol`
        stderr: hint: there are templates for: rust, c, go, python, javascript, typescript
        exit status: 1
    "#]],
    );
    desk.check(&["new", "rust", "My_Policy", "--sdk", sdk], &expect![[r#"
        stderr: error: `My_Policy` is not a name for a plugin
        stderr: hint: a name has lower-case letters, digits and hyphens, and begins with a letter; such as `my-policy`
        exit status: 1
    "#]]);
    desk.check(&["new", "rust", "my-storage", "--hook", "backend", "--sdk", sdk], &expect![[r#"
        my-storage: Cargo.toml, .cargo/config.toml, .gitignore, README.md, build.sh, src/lib.rs
        next: cd my-storage && ./build.sh && flocker plugin check my-storage.wasm --grant directory=pool:/srv/pool --grant kv=1MiB; README.md goes on from there
    "#]]);
    desk.check(
        &["new", "c", "other", "--hook", "backend", "--sdk", sdk],
        &expect![[r#"
        stderr: error: there is no template of this kind for `c`
        stderr: hint: there is one for: rust
        exit status: 1
    "#]],
    );
    desk.check(
        &["new", "rust", "other", "--sdk", "my-policy"],
        &expect![[r#"
            stderr: error: `my-policy` is not the SDK for rust
            stderr: hint: it is the folder `sdk/rust` of a checkout of flocker-runtime
            exit status: 1
        "#]],
    );
}

/// The command compiles strange code in a process of its own, which has limits, before it does so itself.
#[test]
fn a_process_that_compiles_says_by_its_status_how_it_went() {
    let compiled = |bytes: &[u8]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flocker"));
        command.args(["--compile-plugin-for-its-parent", "policies"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait().unwrap().code()
    };
    assert_eq!(compiled(&fs::read(wasm("spread")).unwrap()), Some(0));
    assert_eq!(compiled(b"no component"), Some(1));
}
