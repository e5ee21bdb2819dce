//! Makes components from core modules whose parts a test replaces, for the world in `wit/`.

use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A policy in WebAssembly text. Left alone, it gives every candidate 5000 points.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) wit: PathBuf,
    pub(crate) world: &'static str,
    /// More fields of the module: imports come first, so there are two places.
    pub(crate) imports: String,
    pub(crate) fields: String,
    /// Body of `configure(settings) -> result`.
    pub(crate) configure: String,
    /// Body of `evaluate(arguments) -> result`.
    pub(crate) evaluate: String,
}

/// Ends a loan: a borrowed handle must be dropped before the call returns.
pub(crate) const DROP_VIEW: &str = "(call $drop (i32.load offset=48 (local.get $p)))";

/// Answers with `$n` scores from address 4096 on. The result stands at address 64.
pub(crate) const ANSWER: &str = "(i32.store8 (i32.const 64) (i32.const 0))
    (i32.store (i32.const 68) (i32.const 4096)) (i32.store (i32.const 72) (local.get $n))
    (i32.const 64)";

/// Sets `$n` scores to a value.
pub(crate) fn fill(score: i32) -> String {
    format!(
        "(block $done (loop $next
           (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
           (i32.store (i32.add (i32.const 4096) (i32.shl (local.get $i) (i32.const 2))) (i32.const {score}))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br $next)))"
    )
}

/// Loads how many candidates there are.
pub(crate) const COUNT: &str = "(local.set $n (i32.load offset=164 (local.get $p)))";

impl Forge {
    pub(crate) fn healthy() -> Self {
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let evaluate = format!("{DROP_VIEW} {COUNT} {} {ANSWER}", fill(5000));
        Self {
            wit,
            world: "placement-policy",
            imports: String::new(),
            fields: String::new(),
            configure: "(i32.store8 (i32.const 128) (i32.const 0)) (i32.const 128)".into(),
            evaluate,
        }
    }

    pub(crate) fn evaluating(body: impl Into<String>) -> Self {
        Self { evaluate: body.into(), ..Self::healthy() }
    }

    pub(crate) fn for_wit(wit: &Path, world: &'static str) -> Self {
        Self { wit: wit.to_owned(), world, ..Self::healthy() }
    }

    fn text(&self, version: &str) -> String {
        let Self { imports, fields, configure, evaluate, .. } = self;
        format!(
            r#"(module
  (import "flocker:plugin/cluster@{version}" "[resource-drop]view" (func $drop (param i32)))
  {imports}
  (memory (export "memory") 2)
  (global $top (mut i32) (i32.const 65536))
  (data (i32.const 32) "forged1.2.3")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $p i32)
    (local.set $p (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $p) (local.get 3)))
    (if (i32.gt_u (global.get $top) (i32.const 120000)) (then (global.set $top (i32.const 65536))))
    (local.get $p))
  {fields}
  (func (export "flocker:plugin/lifecycle@{version}#describe") (result i32)
    (i32.store (i32.const 192) (i32.const 32)) (i32.store (i32.const 196) (i32.const 6))
    (i32.store (i32.const 200) (i32.const 38)) (i32.store (i32.const 204) (i32.const 5))
    (i32.const 192))
  (func (export "flocker:plugin/lifecycle@{version}#configure") (param i32 i32) (result i32)
    {configure})
  (func $evaluate (export "flocker:plugin/placement@{version}#evaluate") (param $p i32) (result i32)
    (local $n i32) (local $i i32)
    {evaluate}))"#
        )
    }

    /// The component's bytes.
    pub(crate) fn build(&self) -> Vec<u8> {
        self.build_version("0.1.0")
    }

    pub(crate) fn build_version(&self, version: &str) -> Vec<u8> {
        let mut module = wat::parse_str(self.text(version)).unwrap();
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(&self.wit).unwrap();
        let world = resolve.select_world(&[package], Some(self.world)).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }
}
