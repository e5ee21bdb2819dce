//! A storage backend in a granted directory: volumes are folders, snapshots are copies of them. Nothing to set up, and
//! the example for authors of others.
//!
//! ```text
//! /pool/volumes/ID/about.json         what this copy is; replaced whole, and the only thing that counts
//! /pool/volumes/ID/live-EPOCH/        the owner's files
//! /pool/volumes/ID/snapshots/GUID/    one folder for each snapshot
//! /pool/volumes/ID/incoming/          what the host has received and nobody has confirmed
//! ```
//!
//! Every change prepares folders first, then replaces `about.json`, then removes what it no longer names. A crash leaves
//! folders that nothing names; a later change of that volume removes them.
//!
//! What it does not have, and does not declare: quotas, and snapshots of a moment. A folder that is written to while it
//! is copied gives a mixture; a move copies again after its seal, and that copy is exact.

mod about;
mod disk;
mod pool;

#[allow(
    clippy::all,
    clippy::pedantic,
    unsafe_op_in_unsafe_fn,
    unreachable_pub,
    reason = "generated"
)]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "backend" });
    // The names of exports are none that a linker for other targets takes; tests of the logic run there.
    #[cfg(target_arch = "wasm32")]
    export!(DirBackend with_types_in self);
    #[cfg(target_arch = "wasm32")]
    use super::DirBackend;
}

use bindings::{
    exports::flocker::plugin::{
        lifecycle::{Guest as Lifecycle, Info},
        storage_backend::{
            Access, BackendInfo, Capacity, Done, Guest, Op, Owner, Point, SnapshotInfo, Transfer,
            VolumeInfo,
        },
    },
    flocker::plugin::types::{Attr, Failure},
};

/// The name of the directory that it needs.
const DIRECTORY: &str = "pool";

/// Everything that the component exports.
#[derive(Debug)]
pub struct DirBackend;

type Answer<T> = Result<T, Failure>;

/// An error that has no code of its own.
fn failure(message: impl Into<String>) -> Failure {
    coded(0, message)
}

fn coded(code: u32, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into(), retry_after_ms: None }
}

fn done(changed: bool) -> Done {
    Done { changed, attrs: Vec::new() }
}

fn transfer(via: String, base: Option<String>) -> Transfer {
    Transfer { via: Access::Directory(via), base: base.map(Access::Directory), attrs: Vec::new() }
}

impl Lifecycle for DirBackend {
    fn describe() -> Info {
        let needs = Attr { key: "directory".to_owned(), value: DIRECTORY.to_owned() };
        Info {
            name: "dir".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings_schema: r#"{"type":"object","additionalProperties":false}"#.to_owned(),
            attrs: vec![needs],
        }
    }

    fn configure(_settings: String) -> Answer<()> {
        Ok(())
    }
}

impl Guest for DirBackend {
    fn describe_backend() -> Answer<BackendInfo> {
        Ok(BackendInfo {
            driver: "dir".to_owned(),
            pool: format!("/{DIRECTORY}"),
            features: ["snapshot", "incremental-send", "resume"].map(str::to_owned).to_vec(),
            attrs: Vec::new(),
        })
    }

    fn pool() -> Answer<Capacity> {
        let (total_bytes, free_bytes) = disk::space()?;
        Ok(Capacity { total_bytes, free_bytes, attrs: Vec::new() })
    }

    fn volumes(after: Option<String>, limit: u32) -> Answer<Vec<VolumeInfo>> {
        pool::volumes(after.as_deref(), limit)
    }

    fn stat(names: Vec<String>) -> Answer<Vec<Option<VolumeInfo>>> {
        let stat = |name: &String| Ok(pool::find(name)?.map(|about| about.info(name)));
        names.iter().map(stat).collect()
    }

    fn snapshots(name: String, after: Option<String>, limit: u32) -> Answer<Vec<SnapshotInfo>> {
        Ok(pool::need(&name)?.listed(after.as_deref(), limit))
    }

    fn create(op: Op, name: String, size_bytes: u64, owner: Option<Owner>) -> Answer<Done> {
        pool::create(&op, &name, size_bytes, owner).map(done)
    }

    fn resize(op: Op, name: String, size_bytes: u64) -> Answer<Done> {
        pool::resize(&op, &name, size_bytes).map(done)
    }

    fn destroy(op: Op, name: String) -> Answer<Done> {
        pool::destroy(&op, &name).map(done)
    }

    fn snapshot(op: Op, names: Vec<String>, tag: String) -> Answer<Vec<SnapshotInfo>> {
        pool::snapshot(&op, &names, &tag)
    }

    fn destroy_snapshots(op: Op, name: String, which: Vec<Point>) -> Answer<Done> {
        pool::destroy_snapshots(&op, &name, &which).map(done)
    }

    fn attach(op: Op, name: String) -> Answer<Access> {
        pool::attach(&op, &name).map(Access::Directory)
    }

    fn seal(op: Op, name: String) -> Answer<Done> {
        pool::seal(&op, &name).map(done)
    }

    fn unseal(op: Op, name: String) -> Answer<Done> {
        pool::unseal(&op, &name).map(done)
    }

    fn promote(op: Op, name: String, at: Point) -> Answer<Done> {
        pool::promote(&op, &name, &at).map(done)
    }

    fn retire(op: Op, name: String, at: Point) -> Answer<Done> {
        pool::retire(&op, &name, &at).map(done)
    }

    fn plan_send(name: String, base: Option<Point>, to: Point) -> Answer<Transfer> {
        let (via, base) = pool::plan_send(&name, base.as_ref(), &to)?;
        Ok(transfer(via, base))
    }

    fn plan_receive(
        op: Op,
        name: String,
        base: Option<Point>,
        to: Point,
        size_bytes: u64,
    ) -> Answer<Transfer> {
        let (via, base) = pool::plan_receive(&op, &name, base.as_ref(), &to, size_bytes)?;
        Ok(transfer(via, base))
    }

    fn finish_receive(
        op: Op,
        name: String,
        to: Point,
        referenced_bytes: u64,
    ) -> Answer<SnapshotInfo> {
        pool::finish_receive(&op, &name, &to, referenced_bytes)
    }

    fn abort_receive(op: Op, name: String) -> Answer<Done> {
        pool::abort_receive(&op, &name).map(done)
    }
}
