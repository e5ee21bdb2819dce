//! The macro that makes a component.

/// Makes a component of a policy, once per crate: `export!(MyPolicy)` of one that implements
/// [`Placement`](crate::Placement), `export!(MyPolicy: Rebalance + Backups)` of one with other hooks. A component is asked
/// only what is named here.
#[macro_export]
macro_rules! export {
    ($policy:ty) => {
        $crate::export!($policy: Placement);
    };
    ($policy:ty: $hook:ident $(+ $more:ident)*) => {
        // Only a component has these symbols; tests run on the author's machine.
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Glue;

            impl $crate::glue::Author for Glue {
                type Policy = $policy;
                const NAME: &'static str = env!("CARGO_PKG_NAME");
                const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            }

            type Component = $crate::glue::Component<Glue>;
            $crate::bindings::policy::export_policy!(Component with_types_in $crate::bindings::policy);
            $crate::export_hook!(Component $hook);
            $($crate::export_hook!(Component $more);)*
        };
        // On the author's machine too, a hook that is named has to be there.
        const _: fn() = || {
            fn has<P: $crate::$hook $(+ $crate::$more)*>() {}
            has::<$policy>();
        };
    };
}

/// Exports one hook of a component.
#[doc(hidden)]
#[macro_export]
macro_rules! export_hook {
    ($component:ident Placement) => {
        $crate::bindings::placement::export_placement!($component with_types_in $crate::bindings::placement);
    };
    ($component:ident Rebalance) => {
        $crate::bindings::rebalance::export_rebalance!($component with_types_in $crate::bindings::rebalance);
    };
    ($component:ident Failover) => {
        $crate::bindings::failover::export_failover!($component with_types_in $crate::bindings::failover);
    };
    ($component:ident Backups) => {
        $crate::bindings::backups::export_backups!($component with_types_in $crate::bindings::backups);
    };
}
