//! A storage backend that drives an array over HTTP, the way a vendor's would: the array has disks and their copies,
//! the SDK knows which of them are a volume and its snapshots, and the host mounts their devices. It is written against
//! the array of `tests/array`, and the example for authors of others.
//!
//! What a volume is stands in a document that the array keeps. It refuses one of an older epoch, and one that was changed
//! since it was read, so two nodes may share it. It takes a key for each disk that it makes, so a request whose answer
//! was lost is made again.

mod array;

use flocker_sdk::backend::{
    Access, Answer, Capacity, Document, Driver, Made, Mode, Named, New, Owner, Stored,
};
use serde::Deserialize;

use array::{Array, Content};

/// The name of the secret that it needs.
const SECRET: &str = "token";

/// Volumes on an array.
#[derive(Debug, Default)]
pub struct HttpBackend(Array);

flocker_sdk::export_backend!(HttpBackend);

/// Where the array is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    url: String,
}

impl Driver for HttpBackend {
    const NAME: &'static str = "http";
    const SETTINGS_SCHEMA: &'static str = r#"{"type":"object","required":["url"],"additionalProperties":false,
        "properties":{"url":{"type":"string","description":"where the array's API is"}}}"#;
    const NEEDS: &'static [(&'static str, &'static str)] = &[
        ("http", "the array's API, which is the setting `url`"),
        ("device", "the devices by which this node sees the array's disks"),
        ("secret", SECRET),
    ];
    const FEATURES: &'static [&'static str] = &["quota"];

    type Revision = u64;

    fn configure(&mut self, settings: &str) -> Result<(), String> {
        let Settings { url } = flocker_sdk::settings(settings).map_err(|error| {
            format!("{error}\nhint: settings = {{ url = \"http://ARRAY/PATH\" }}")
        })?;
        self.0 = Array::at(&url);
        Ok(())
    }

    fn pool(&self) -> String {
        self.0.url().to_owned()
    }

    fn capacity(&self) -> Answer<Capacity> {
        self.0.capacity()
    }

    fn documents(&self, after: Option<&str>, limit: u32) -> Answer<Vec<Named>> {
        self.0.volumes(after, limit)
    }

    fn read(&self, volume: &str) -> Answer<Option<Stored<u64>>> {
        self.0.volume(volume)
    }

    fn replace(&self, volume: &str, seen: Option<u64>, document: &Document) -> Answer<u64> {
        self.0.put(volume, seen.unwrap_or(0), document)
    }

    fn remove(&self, volume: &str, seen: Stored<u64>) -> Answer<()> {
        self.0.remove(volume, seen.revision, seen.document.epoch())
    }

    fn disks(&self, volume: &str) -> Answer<Vec<String>> {
        self.0.disks(volume)
    }

    /// The host makes the filesystem, and gives its folder to the owner.
    fn blank(&self, new: &New<'_>, size: u64, _owner: Option<Owner>) -> Answer<Made> {
        self.0.make(new, &Content::Size(size))
    }

    fn receive(&self, new: &New<'_>, size: u64) -> Answer<Made> {
        self.0.make(new, &Content::Size(size))
    }

    fn snapshot(&self, new: &New<'_>, live: &str) -> Answer<Made> {
        self.0.make(new, &Content::From(live))
    }

    fn restore(&self, new: &New<'_>, snapshot: &str) -> Answer<Made> {
        self.0.make(new, &Content::From(snapshot))
    }

    fn resize(&self, _volume: &str, disk: &str, size: u64) -> Answer<()> {
        self.0.resize(disk, size)
    }

    fn discard(&self, _volume: &str, disk: &str) -> Answer<()> {
        self.0.discard(disk)
    }

    fn attach(&self, _volume: &str, disk: &str, mode: Mode) -> Answer<Access> {
        self.0.attach(disk, mode == Mode::ReadOnly).map(Access::BlockDevice)
    }
}
