//! The types and traits of storage backends: asynchronous, unlike those of policies.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "backend",
    imports: {
        "flocker:plugin/trees": async | trappable,
        "flocker:plugin/kv": async | trappable,
        "flocker:plugin/http": async | trappable,
        "flocker:plugin/commands": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
