//! Makes backends in WebAssembly text for the world in `wit/`. Every function traps but those that a test gives a body.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{
    Resolve, WorldId, WorldItem,
    abi::{AbiVariant, WasmType},
};

/// As much of WASI as sleeping needs.
const WASI: [&str; 2] = [
    "package wasi:io@0.2.0; interface poll { resource pollable { block: func(); } }",
    "package wasi:clocks@0.2.0; interface monotonic-clock {
       use wasi:io/poll@0.2.0.{pollable};
       subscribe-duration: func(when: u64) -> pollable;
     }",
];
const WORLD: &str = "package test:hostile; world hostile {
  include flocker:plugin/backend@0.1.0;
  import wasi:clocks/monotonic-clock@0.2.0;
}";
const IMPORTS: &str = r#"
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $later (param i64) (result i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "flocker:plugin/kv@0.1.0" "swap" (func $swap (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;

/// Sleeps for an hour, in the host.
pub(crate) const SLEEP: &str =
    "(call $block (call $later (i64.const 3600000000000))) (unreachable)";
/// Puts "1.0.0" into its store as "forged", where there is nothing yet, and says that it was done; else it traps.
pub(crate) const REMEMBER: &str = "(call $swap (i32.const 1024) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 1) (i32.const 1040) (i32.const 5) (i32.const 3000))
  (if (i32.or (i32.load8_u (i32.const 3000)) (i32.eqz (i32.load8_u (i32.const 3004)))) (then (unreachable)))
  (i32.const 640)";
/// Traps the first time, and says that it was done when it is asked again.
pub(crate) const FAIL_ONCE: &str =
    "(call $swap (i32.const 1024) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 1) (i32.const 1040) (i32.const 5) (i32.const 3000))
  (if (i32.load8_u (i32.const 3004)) (then (unreachable)))
  (i32.const 640)";
/// "ok", for any function whose answer may be all zeros.
pub(crate) const DONE: &str = "(i32.const 640)";

/// Where texts that tests choose stand.
const NAME: usize = 1100;
const PATH: usize = 1200;

/// A backend; left alone, it has no volumes and traps at every change.
#[derive(Clone)]
pub(crate) struct Forge {
    bodies: BTreeMap<&'static str, String>,
    data: String,
}

impl Forge {
    pub(crate) fn new() -> Self {
        // "forged", version 1.0.0, needs the directory `pool`.
        let describe =
            "(i32.store (i32.const 256) (i32.const 1024)) (i32.store (i32.const 260) (i32.const 6))
            (i32.store (i32.const 264) (i32.const 1040)) (i32.store (i32.const 268) (i32.const 5))
            (i32.store (i32.const 280) (i32.const 2048)) (i32.store (i32.const 284) (i32.const 1))
            (i32.store (i32.const 2048) (i32.const 1072)) (i32.store (i32.const 2052) (i32.const 9))
            (i32.store (i32.const 2056) (i32.const 1056)) (i32.store (i32.const 2060) (i32.const 4))
            (i32.const 256)";
        let forge = Self { bodies: BTreeMap::new(), data: String::new() };
        forge
            .with("describe", describe)
            .with("configure", DONE)
            .with("describe-backend", DONE)
            .with("stat", &one_of("(i32.const 0)"))
    }

    /// Gives a function a body.
    pub(crate) fn with(mut self, function: &'static str, body: &str) -> Self {
        self.bodies.insert(function, body.to_owned());
        self
    }

    /// Every volume is `name`, live at epoch 1.
    pub(crate) fn with_volume(mut self, name: &str) -> Self {
        write!(self.data, "(data (i32.const {NAME}) \"{name}\")").unwrap();
        let volume = format!(
            "(i32.store (i32.const 4104) (i32.const {NAME})) (i32.store (i32.const 4108) (i32.const {}))
             (i64.store (i32.const 4120) (i64.const 1))",
            name.len()
        );
        self.with("stat", &format!("{volume} {}", one_of("(i32.const 1)")))
    }

    /// Attached volumes are at `path`, reached in the way with this number.
    pub(crate) fn with_access(mut self, path: &str, way: u8) -> Self {
        write!(self.data, "(data (i32.const {PATH}) \"{path}\")").unwrap();
        let access = format!(
            "(i32.store8 (i32.const 708) (i32.const {way})) (i32.store (i32.const 712) (i32.const {PATH}))
             (i32.store (i32.const 716) (i32.const {})) (i32.const 704)",
            path.len()
        );
        self.with("attach", &access)
    }

    /// Writes the component to a file.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("forged.wasm");
        std::fs::write(&path, self.build()).unwrap();
        path
    }

    fn build(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        for (n, text) in WASI.iter().enumerate() {
            resolve.push_str(format!("{n}.wit"), text).unwrap();
        }
        resolve.push_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).unwrap();
        let package = resolve.push_str("hostile.wit", WORLD).unwrap();
        let world = resolve.select_world(&[package], Some("hostile")).unwrap();
        let mut module = wat::parse_str(self.text(&resolve, world)).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }

    fn text(&self, resolve: &Resolve, world: WorldId) -> String {
        let mut functions = String::new();
        for (key, item) in &resolve.worlds[world].exports {
            let WorldItem::Interface { id, .. } = item else { continue };
            let interface = resolve.name_world_key(key);
            for (name, function) in &resolve.interfaces[*id].functions {
                let signature = resolve.wasm_signature(AbiVariant::GuestExport, function);
                let types =
                    |types: &[WasmType]| types.iter().map(|t| as_text(*t)).collect::<String>();
                let body = self.bodies.get(name.as_str()).map_or("(unreachable)", String::as_str);
                let (params, results) = (types(&signature.params), types(&signature.results));
                writeln!(
                    functions,
                    "(func (export \"{interface}#{name}\") (param {params}) (result {results}) {body})"
                )
                .unwrap();
            }
        }
        format!(
            r#"(module {IMPORTS}
  (memory (export "memory") 2)
  (global $top (mut i32) (i32.const 8192))
  (data (i32.const 1024) "forged") (data (i32.const 1040) "1.0.0")
  (data (i32.const 1056) "pool") (data (i32.const 1072) "directory")
  {}
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $p i32)
    (local.set $p (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $p) (local.get 3)))
    (if (i32.gt_u (global.get $top) (i32.const 120000)) (then (global.set $top (i32.const 8192))))
    (local.get $p))
  {functions})"#,
            self.data
        )
    }
}

/// A list of one entry, which stands at 4096 and begins with whether there is any.
fn one_of(is_some: &str) -> String {
    format!(
        "(i32.store8 (i32.const 4096) {is_some}) (i32.store (i32.const 604) (i32.const 4096))
         (i32.store (i32.const 608) (i32.const 1)) (i32.const 600)"
    )
}

fn as_text(of: WasmType) -> &'static str {
    match of {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => " i32",
        WasmType::I64 | WasmType::PointerOrI64 => " i64",
        WasmType::F32 => " f32",
        WasmType::F64 => " f64",
    }
}
