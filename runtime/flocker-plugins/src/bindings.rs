//! Types and traits that wasmtime makes from `wit/`. Private to this crate: wire types stay at the border.

#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    unreachable_pub,
    missing_debug_implementations,
    reason = "generated"
)]

pub(crate) mod backend;

// The world with every hook, though no component has to export them all: each hook's bindings are looked up one by one.
wasmtime::component::bindgen!({
    path: "../../wit",
    world: "policy",
    imports: { default: trappable },
    // Questions and answers are kept as they crossed the border, so that they can be asked again.
    additional_derives: [serde::Serialize, serde::Deserialize],
    with: { "flocker:plugin/cluster.view": crate::view::View },
});
