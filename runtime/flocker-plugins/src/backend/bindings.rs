//! Types and traits that wasmtime makes from `wit/` for storage backends: asynchronous, unlike those of policies.

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

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "backend",
    imports: {
        "flocker:plugin/trees": async | trappable,
        "flocker:plugin/kv": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
