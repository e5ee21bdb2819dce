//! Between the component's exports and the author's driver. Not for authors.

use std::marker::PhantomData;

use super::{Access, Answer, Driver, verbs};
use crate::{
    bindings::{
        backend::exports::flocker::plugin::storage_backend::{
            BackendInfo, Capacity, Done, Guest, Op, Owner, Point, SnapshotInfo, Transfer,
            VolumeInfo,
        },
        policy::{
            exports::flocker::plugin::lifecycle,
            flocker::plugin::types::{Attr, Failure},
        },
    },
    glue::{configure, configured},
};

/// What [`crate::export_backend!`] knows of the author's crate.
pub trait Author: 'static {
    /// The driver.
    type Driver: Driver;
    /// The crate's version.
    const VERSION: &'static str;
}

/// Implements the exports.
#[derive(Debug)]
pub struct Component<A>(PhantomData<A>);

/// What the verbs give every driver.
const FEATURES: [&str; 3] = ["snapshot", "incremental-send", "resume"];

fn driver<A: Author>() -> std::rc::Rc<A::Driver> {
    configured()
}

fn done(changed: bool) -> Done {
    Done { changed, attrs: Vec::new() }
}

fn transfer((via, base): (Access, Option<Access>)) -> Transfer {
    Transfer { via, base, attrs: Vec::new() }
}

impl<A: Author> lifecycle::Guest for Component<A> {
    fn describe() -> lifecycle::Info {
        crate::log::install_panic_hook();
        let needs =
            |(key, value): &(&str, &str)| Attr { key: (*key).into(), value: (*value).into() };
        lifecycle::Info {
            name: A::Driver::NAME.into(),
            version: A::VERSION.into(),
            settings_schema: A::Driver::SETTINGS_SCHEMA.into(),
            attrs: A::Driver::NEEDS.iter().map(needs).collect(),
        }
    }

    fn configure(settings: String) -> Answer<()> {
        crate::log::install_panic_hook();
        let mut driver = A::Driver::default();
        // 1 is "the settings are not understood" in wit/codes.md.
        let refuse = |message| Failure { code: 1, message, retry_after_ms: None };
        driver.configure(&settings).map_err(refuse)?;
        configure(driver);
        Ok(())
    }
}

impl<A: Author> Guest for Component<A> {
    fn describe_backend() -> Answer<BackendInfo> {
        let features = FEATURES.iter().chain(A::Driver::FEATURES);
        Ok(BackendInfo {
            driver: A::Driver::NAME.into(),
            pool: driver::<A>().pool(),
            features: features.map(|feature| (*feature).into()).collect(),
            attrs: Vec::new(),
        })
    }

    fn pool() -> Answer<Capacity> {
        let super::Capacity { total_bytes, free_bytes } = driver::<A>().capacity()?;
        Ok(Capacity { total_bytes, free_bytes, attrs: Vec::new() })
    }

    fn volumes(after: Option<String>, limit: u32) -> Answer<Vec<VolumeInfo>> {
        verbs::volumes(&*driver::<A>(), after.as_deref(), limit)
    }

    fn stat(names: Vec<String>) -> Answer<Vec<Option<VolumeInfo>>> {
        let driver = driver::<A>();
        let stat =
            |name: &String| Ok(verbs::find(&*driver, name)?.map(|document| document.info(name)));
        names.iter().map(stat).collect()
    }

    fn snapshots(name: String, after: Option<String>, limit: u32) -> Answer<Vec<SnapshotInfo>> {
        Ok(verbs::need(&*driver::<A>(), &name)?.listed(after.as_deref(), limit))
    }

    fn create(op: Op, name: String, size_bytes: u64, owner: Option<Owner>) -> Answer<Done> {
        verbs::create(&*driver::<A>(), &op, &name, size_bytes, owner).map(done)
    }

    fn resize(op: Op, name: String, size_bytes: u64) -> Answer<Done> {
        verbs::resize(&*driver::<A>(), &op, &name, size_bytes).map(done)
    }

    fn destroy(op: Op, name: String) -> Answer<Done> {
        verbs::destroy(&*driver::<A>(), &op, &name).map(done)
    }

    fn snapshot(op: Op, names: Vec<String>, tag: String) -> Answer<Vec<SnapshotInfo>> {
        verbs::snapshot(&*driver::<A>(), &op, &names, &tag)
    }

    fn destroy_snapshots(op: Op, name: String, which: Vec<Point>) -> Answer<Done> {
        verbs::destroy_snapshots(&*driver::<A>(), &op, &name, &which).map(done)
    }

    fn attach(op: Op, name: String) -> Answer<Access> {
        verbs::attach(&*driver::<A>(), &op, &name)
    }

    fn seal(op: Op, name: String) -> Answer<Done> {
        verbs::seal(&*driver::<A>(), &op, &name).map(done)
    }

    fn unseal(op: Op, name: String) -> Answer<Done> {
        verbs::unseal(&*driver::<A>(), &op, &name).map(done)
    }

    fn promote(op: Op, name: String, at: Point) -> Answer<Done> {
        verbs::promote(&*driver::<A>(), &op, &name, &at).map(done)
    }

    fn retire(op: Op, name: String, at: Point) -> Answer<Done> {
        verbs::retire(&*driver::<A>(), &op, &name, &at).map(done)
    }

    fn plan_send(name: String, base: Option<Point>, to: Point) -> Answer<Transfer> {
        verbs::plan_send(&*driver::<A>(), &name, base.as_ref(), &to).map(transfer)
    }

    fn plan_receive(
        op: Op,
        name: String,
        base: Option<Point>,
        _to: Point,
        size_bytes: u64,
    ) -> Answer<Transfer> {
        verbs::plan_receive(&*driver::<A>(), &op, &name, base.as_ref(), size_bytes).map(transfer)
    }

    fn finish_receive(
        op: Op,
        name: String,
        to: Point,
        referenced_bytes: u64,
    ) -> Answer<SnapshotInfo> {
        verbs::finish_receive(&*driver::<A>(), &op, &name, &to, referenced_bytes)
    }

    fn abort_receive(op: Op, name: String) -> Answer<Done> {
        verbs::abort_receive(&*driver::<A>(), &op, &name).map(done)
    }
}
