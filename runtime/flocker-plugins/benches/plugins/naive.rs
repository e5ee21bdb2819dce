//! The interface that this one is not: the whole cluster as lists of records, at each call. Its plugin does nothing with
//! them, so what is measured is only what it takes to hand them over.

use flocker_planner::{ClusterView, PlacementQuestion};
use wasmtime::{
    Config, Engine, Store,
    component::{Component, Linker},
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

wasmtime::component::bindgen!({ path: "benches/plugins/naive.wit" });

const WIT: &str = include_str!("naive.wit");

/// Gives every candidate what stands in its memory. Its allocator only goes forward, and begins anew with each call.
const MODULE: &str = r#"(module
  (memory (export "memory") 1024)
  (global $top (mut i32) (i32.const 1048576))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $p i32)
    (local.set $p (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $p) (local.get 3)))
    (local.get $p))
  (func (export "evaluate") (param i32 i32 i32 i32 i32 i32) (result i32)
    (global.set $top (i32.const 1048576))
    (i32.store (i32.const 8) (i32.const 4096))
    (i32.store (i32.const 12) (local.get 5))
    (i32.const 8)))"#;

/// The module as a component of the world above.
fn component(module: &str, wit: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(module).unwrap();
    let mut resolve = Resolve::default();
    let package = resolve.push_str("bench.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// An instance of it.
pub(crate) struct Contender {
    store: Store<()>,
    instance: Naive,
}

impl Contender {
    pub(crate) fn new() -> Self {
        let mut config = Config::new();
        config.consume_fuel(true).epoch_interruption(true).concurrency_support(false);
        let engine = Engine::new(&config).unwrap();
        let component = Component::from_binary(&engine, &component(MODULE, WIT, "naive")).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        store.set_fuel(u64::MAX).unwrap();
        store.set_hostcall_fuel(usize::MAX);
        let instance = Naive::instantiate(&mut store, &component, &Linker::new(&engine)).unwrap();
        Self { store, instance }
    }

    /// Hands over everything, made into records first, as a host would have to.
    pub(crate) fn evaluate(
        &mut self,
        cluster: &ClusterView,
        question: &PlacementQuestion,
    ) -> Vec<i32> {
        let nodes: Vec<_> = cluster
            .nodes
            .iter()
            .map(|n| Node {
                name: n.name.to_string(),
                alive: n.alive,
                draining: n.draining,
                memory: n.memory.total.0,
                memory_free: n.memory.free.0,
                memory_promised: n.memory_promised.0,
                cpu: n.cpu.0,
                cpu_promised: n.cpu_promised.0,
                pool: n.pool.total.0,
                pool_free: n.pool.free.0,
                load: n.load_millis,
                apps: n.apps,
                volumes: n.volumes,
                labels: n.labels.clone().into_iter().collect(),
            })
            .collect();
        let volumes: Vec<_> = cluster
            .volumes
            .iter()
            .map(|v| Volume {
                name: v.name.to_string(),
                node: v.node,
                size: v.size.0,
                used: v.used.0,
            })
            .collect();
        self.instance
            .call_evaluate(&mut self.store, &nodes, &volumes, &question.candidates)
            .unwrap()
    }
}
