//! Types and glue that wit-bindgen makes from `wit/`: a world of what every policy has, and one for each hook, so that a
//! component exports only the hooks that its author names. The linker merges the worlds.

#![allow(missing_docs, missing_debug_implementations, clippy::all, reason = "generated")]

pub mod policy {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package flocker:sdk-policy; world sdk-policy {
            include flocker:plugin/policy-imports@0.1.0;
            export flocker:plugin/lifecycle@0.1.0;
        }",
        pub_export_macro: true,
        export_macro_name: "export_policy",
        default_bindings_module: "flocker_sdk::bindings::policy",
        generate_all,
    });
}

/// The world of one hook. What hooks import, they share.
macro_rules! hook {
    ($module:ident, $export:literal, $wit:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                inline: $wit,
                pub_export_macro: true,
                export_macro_name: $export,
                default_bindings_module: "flocker_sdk::bindings",
                with: {
                    "flocker:plugin/types@0.1.0": crate::bindings::policy::flocker::plugin::types,
                    "flocker:plugin/cluster@0.1.0": crate::bindings::policy::flocker::plugin::cluster,
                },
            });
        }
    };
}

hook!(
    placement,
    "export_placement",
    "package flocker:sdk-placement; world sdk-placement { export flocker:plugin/placement@0.1.0; }"
);
hook!(
    rebalance,
    "export_rebalance",
    "package flocker:sdk-rebalance; world sdk-rebalance { export flocker:plugin/rebalance@0.1.0; }"
);
hook!(
    backups,
    "export_backups",
    "package flocker:sdk-backups; world sdk-backups { export flocker:plugin/backup-schedule@0.1.0; }"
);
hook!(
    failover,
    "export_failover",
    "package flocker:sdk-failover; world sdk-failover { export flocker:plugin/failover@0.1.0; }"
);

#[cfg(feature = "backend")]
pub mod backend {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package flocker:sdk-backend; world sdk-backend {
            import flocker:plugin/kv@0.1.0;
            import flocker:plugin/trees@0.1.0;
            import flocker:plugin/http@0.1.0;
            import flocker:plugin/commands@0.1.0;
            export flocker:plugin/storage-backend@0.1.0;
        }",
        pub_export_macro: true,
        export_macro_name: "export_storage",
        default_bindings_module: "flocker_sdk::bindings::backend",
        with: {
            "flocker:plugin/types@0.1.0": crate::bindings::policy::flocker::plugin::types,
        },
        generate_all,
    });
}
