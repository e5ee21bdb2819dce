//! A storage backend that drives an array over HTTP, the way a vendor's would: the array has disks and their copies,
//! the plugin knows which of them are a volume and its snapshots, and the host mounts their devices. It is written
//! against the array of `tests/array`, and the example for authors of others.
//!
//! Every change makes disks first, then replaces the volume's document in the array, then removes the disks that it no
//! longer names. The array refuses a document of an older epoch, and one that was changed since it was read, so two
//! nodes may share it.

mod array;
mod copy;
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
    export!(HttpBackend with_types_in self);
    #[cfg(target_arch = "wasm32")]
    use super::HttpBackend;
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

/// Everything that the component exports.
#[derive(Debug)]
pub struct HttpBackend;

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
    Transfer {
        via: Access::BlockDevice(via),
        base: base.map(Access::BlockDevice),
        attrs: Vec::new(),
    }
}

impl Lifecycle for HttpBackend {
    fn describe() -> Info {
        let needs = |key: &str, value: &str| Attr { key: key.to_owned(), value: value.to_owned() };
        Info {
            name: "http".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings_schema: r#"{"type":"object","required":["url"],"additionalProperties":false,
                "properties":{"url":{"type":"string","description":"where the array's API is"}}}"#
                .to_owned(),
            attrs: vec![
                needs("http", "the array's API, which is the setting `url`"),
                needs("device", "the devices by which this node sees the array's disks"),
                needs("secret", array::SECRET),
            ],
        }
    }

    fn configure(settings: String) -> Answer<()> {
        array::configure(&settings)
    }
}

impl Guest for HttpBackend {
    fn describe_backend() -> Answer<BackendInfo> {
        Ok(BackendInfo {
            driver: "http".to_owned(),
            pool: array::url(),
            features: ["snapshot", "incremental-send", "resume", "quota"]
                .map(str::to_owned)
                .to_vec(),
            attrs: Vec::new(),
        })
    }

    fn pool() -> Answer<Capacity> {
        let (total_bytes, free_bytes) = array::capacity()?;
        Ok(Capacity { total_bytes, free_bytes, attrs: Vec::new() })
    }

    fn volumes(after: Option<String>, limit: u32) -> Answer<Vec<VolumeInfo>> {
        pool::volumes(after.as_deref(), limit)
    }

    fn stat(names: Vec<String>) -> Answer<Vec<Option<VolumeInfo>>> {
        let stat = |name: &String| Ok(pool::find(name)?.map(|copy| copy.info(name)));
        names.iter().map(stat).collect()
    }

    fn snapshots(name: String, after: Option<String>, limit: u32) -> Answer<Vec<SnapshotInfo>> {
        Ok(pool::need(&name)?.listed(after.as_deref(), limit))
    }

    fn create(op: Op, name: String, size_bytes: u64, _owner: Option<Owner>) -> Answer<Done> {
        // The host makes the filesystem, and gives its folder to the owner.
        pool::create(&op, &name, size_bytes).map(done)
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
        pool::attach(&op, &name).map(Access::BlockDevice)
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
