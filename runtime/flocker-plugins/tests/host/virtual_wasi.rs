//! The WASI that policies see: sleeping takes no time, clocks stand still, randomness follows the seed.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use flocker_planner::{PlacementQuestion, Policies};

use crate::{
    forge::{ANSWER, COUNT, DROP_VIEW, Forge},
    world::{World, question, view},
};

/// As much of WASI as this test needs.
const IO: &str = "package wasi:io@0.2.0;
interface poll { resource pollable { block: func(); } }";
const CLOCKS: &str = "package wasi:clocks@0.2.0;
interface monotonic-clock {
  use wasi:io/poll@0.2.0.{pollable};
  now: func() -> u64;
  subscribe-duration: func(when: u64) -> pollable;
}";
const RANDOM: &str = "package wasi:random@0.2.0;
interface random { get-random-u64: func() -> u64; }";
const WORLD: &str = "
world sleepy {
  include placement-policy;
  import wasi:clocks/monotonic-clock@0.2.0;
  import wasi:io/poll@0.2.0;
  import wasi:random/random@0.2.0;
}";

/// Sleeps for an hour, and scores the candidates with its clock (in seconds), its clock again, and a random number.
fn sleepy(folder: &Path) -> Forge {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    for entry in fs::read_dir(wit).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "wit") {
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    fs::write(folder.join("sleepy.wit"), format!("package flocker:plugin@0.1.0;\n{WORLD}"))
        .unwrap();
    for (name, text) in [("io", IO), ("clocks", CLOCKS), ("random", RANDOM)] {
        fs::create_dir_all(folder.join("deps").join(name)).unwrap();
        fs::write(folder.join("deps").join(name).join("a.wit"), text).unwrap();
    }
    let imports = r#"
      (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
      (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $later (param i64) (result i32)))
      (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
      (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))"#;
    let seconds = "(i32.wrap_i64 (i64.div_u (call $now) (i64.const 1000000000)))";
    let evaluate = format!(
        "{DROP_VIEW} {COUNT}
         (i32.store (i32.const 4096) {seconds})
         (call $block (call $later (i64.const 3600000000000)))
         (i32.store (i32.const 4100) {seconds})
         (i32.store (i32.const 4104) (i32.and (i32.wrap_i64 (call $random)) (i32.const 8191)))
         {ANSWER}"
    );
    Forge { imports: imports.into(), evaluate, ..Forge::for_wit(folder, "sleepy") }
}

#[test]
fn sleeping_takes_no_time_and_randomness_follows_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = sleepy(folder.path());
    let ask = |seed| {
        let world = World::new();
        world.load("sleepy.wasm", &plugin);
        let question = PlacementQuestion { seed, ..question() };
        world.host.place(&view(), &question)[0].answer.clone().unwrap().scores
    };

    let began = Instant::now();
    let scores = ask(1);

    assert!(began.elapsed() < Duration::from_secs(60), "it slept: {:?}", began.elapsed());
    // The view's clock stands at 1000 seconds.
    assert_eq!(scores[..2], [1000, 1000]);
    assert_eq!(ask(1), scores);
    assert_ne!(ask(2)[2], scores[2]);
}
