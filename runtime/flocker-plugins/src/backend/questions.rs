//! What a backend can be asked, one type for each function: a request that broke an instance is made again as it was.

use wasmtime::Store;

use super::{
    bindings::{
        Backend as Exports,
        exports::flocker::plugin::{
            lifecycle::Info,
            storage_backend::{
                Access, BackendInfo, Capacity, Done, Failure, Op, Owner, Point, SnapshotInfo,
                Transfer, VolumeInfo,
            },
        },
    },
    state::State,
};

/// A function with its arguments.
pub(crate) trait Ask: Sync {
    /// What comes back.
    type Answer: Send;
    /// Its name in the contract.
    const FUNCTION: &'static str;

    /// Puts the question to an instance.
    fn put(
        &self,
        store: &mut Store<State>,
        exports: &Exports,
    ) -> impl Future<Output = wasmtime::Result<Result<Self::Answer, Failure>>> + Send;
}

/// How an argument is passed on: generated functions borrow some and copy others.
macro_rules! pass {
    (copy $value:expr) => {
        $value
    };
    (whole $value:expr) => {
        &$value
    };
    (some $value:expr) => {
        $value.as_ref()
    };
    (text $value:expr) => {
        $value.as_deref()
    };
}

macro_rules! questions {
    ($($type:ident = $function:literal $call:ident ($($how:ident $field:ident: $of:ty),*) -> $answer:ty;)*) => {$(
        pub(crate) struct $type {
            $(pub(crate) $field: $of),*
        }

        impl Ask for $type {
            type Answer = $answer;
            const FUNCTION: &'static str = $function;

            async fn put(
                &self,
                store: &mut Store<State>,
                exports: &Exports,
            ) -> wasmtime::Result<Result<$answer, Failure>> {
                let backend = exports.flocker_plugin_storage_backend();
                backend.$call(store $(, pass!($how self.$field))*).await
            }
        }
    )*};
}

questions! {
    DescribeBackend = "describe-backend" call_describe_backend() -> BackendInfo;
    Pool = "pool" call_pool() -> Capacity;
    Volumes = "volumes" call_volumes(text after: Option<String>, copy limit: u32) -> Vec<VolumeInfo>;
    Stat = "stat" call_stat(whole names: Vec<String>) -> Vec<Option<VolumeInfo>>;
    Snapshots = "snapshots"
        call_snapshots(whole name: String, text after: Option<String>, copy limit: u32) -> Vec<SnapshotInfo>;
    Create = "create"
        call_create(whole op: Op, whole name: String, copy size: u64, copy owner: Option<Owner>) -> Done;
    Resize = "resize" call_resize(whole op: Op, whole name: String, copy size: u64) -> Done;
    Destroy = "destroy" call_destroy(whole op: Op, whole name: String) -> Done;
    Snapshot = "snapshot"
        call_snapshot(whole op: Op, whole names: Vec<String>, whole tag: String) -> Vec<SnapshotInfo>;
    DestroySnapshots = "destroy-snapshots"
        call_destroy_snapshots(whole op: Op, whole name: String, whole which: Vec<Point>) -> Done;
    Attach = "attach" call_attach(whole op: Op, whole name: String) -> Access;
    Seal = "seal" call_seal(whole op: Op, whole name: String) -> Done;
    Unseal = "unseal" call_unseal(whole op: Op, whole name: String) -> Done;
    Promote = "promote" call_promote(whole op: Op, whole name: String, whole at: Point) -> Done;
    Retire = "retire" call_retire(whole op: Op, whole name: String, whole at: Point) -> Done;
    PlanSend = "plan-send"
        call_plan_send(whole name: String, some base: Option<Point>, whole to: Point) -> Transfer;
    PlanReceive = "plan-receive"
        call_plan_receive(whole op: Op, whole name: String, some base: Option<Point>, whole to: Point, copy size: u64)
        -> Transfer;
    FinishReceive = "finish-receive"
        call_finish_receive(whole op: Op, whole name: String, whole to: Point, copy bytes: u64) -> SnapshotInfo;
    AbortReceive = "abort-receive" call_abort_receive(whole op: Op, whole name: String) -> Done;
}

/// Who it is.
pub(crate) struct Describe;

impl Ask for Describe {
    type Answer = Info;
    const FUNCTION: &'static str = "describe";

    async fn put(
        &self,
        store: &mut Store<State>,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Info, Failure>> {
        exports.flocker_plugin_lifecycle().call_describe(store).await.map(Ok)
    }
}

/// Its settings, a JSON document.
pub(crate) struct Configure<'a>(pub(crate) &'a str);

impl Ask for Configure<'_> {
    type Answer = ();
    const FUNCTION: &'static str = "configure";

    async fn put(
        &self,
        store: &mut Store<State>,
        exports: &Exports,
    ) -> wasmtime::Result<Result<(), Failure>> {
        exports.flocker_plugin_lifecycle().call_configure(store, self.0).await
    }
}
