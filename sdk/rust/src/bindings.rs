//! Types and glue that wit-bindgen makes from `wit/`.

#![allow(missing_docs, missing_debug_implementations, clippy::all, reason = "generated")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "placement-policy",
    pub_export_macro: true,
    default_bindings_module: "flocker_sdk::bindings",
    generate_all,
});
