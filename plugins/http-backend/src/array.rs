//! The array's API. Every request carries the token, which this plugin never sees, and may be made again.

use std::cell::RefCell;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    Answer,
    bindings::flocker::plugin::http::{self, Header, Request},
    coded,
    copy::Copy,
    failure,
};

/// Registered in wit/codes.md.
const CODE_STALE: u32 = 10;
const CODE_BUSY: u32 = 11;
const CODE_FULL: u32 = 12;
/// The name of the secret that it needs.
pub(crate) const SECRET: &str = "token";

thread_local! {
    static URL: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Where the array is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    url: String,
}

pub(crate) fn configure(settings: &str) -> Answer<()> {
    let settings: Settings = serde_json::from_str(settings).map_err(|error| {
        coded(1, format!("{error}\nhint: settings = {{ url = \"http://ARRAY/PATH\" }}"))
    })?;
    URL.set(settings.url.trim_end_matches('/').to_owned());
    Ok(())
}

pub(crate) fn url() -> String {
    URL.with_borrow(Clone::clone)
}

/// A volume's document, as it was read.
#[derive(Debug, Deserialize)]
pub(crate) struct Stored {
    pub(crate) revision: u64,
    pub(crate) document: Copy,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) document: Copy,
}

/// A disk that was made.
#[derive(Debug, Deserialize)]
pub(crate) struct Disk {
    pub(crate) id: String,
    pub(crate) created_ms: u64,
}

/// What a new disk holds.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content<'a> {
    /// So many bytes of zeros.
    Size(u64),
    /// What another disk holds now.
    From(&'a str),
}

pub(crate) fn capacity() -> Answer<(u64, u64)> {
    #[derive(Deserialize)]
    struct Capacity {
        total: u64,
        free: u64,
    }
    let Capacity { total, free } = need(ask("GET", "capacity", None)?)?;
    Ok((total, free))
}

pub(crate) fn volumes(after: Option<&str>, limit: u32) -> Answer<Vec<Named>> {
    need(ask("GET", &format!("volumes?after={}&limit={limit}", after.unwrap_or("")), None)?)
}

pub(crate) fn volume(name: &str) -> Answer<Option<Stored>> {
    ask("GET", &format!("volumes/{name}"), None)
}

/// Refused where somebody with a newer epoch was, or changed it since it was read.
pub(crate) fn put(name: &str, revision: u64, copy: &Copy) -> Answer<u64> {
    #[derive(Deserialize)]
    struct Kept {
        revision: u64,
    }
    let body = json!({ "epoch": copy.epoch, "revision": revision, "document": copy });
    let kept: Kept = need(ask("PUT", &format!("volumes/{name}"), Some(&body))?)?;
    Ok(kept.revision)
}

pub(crate) fn remove(name: &str, revision: u64, epoch: u64) -> Answer<()> {
    let path = format!("volumes/{name}?epoch={epoch}&revision={revision}");
    ask::<Value>("DELETE", &path, None).map(drop)
}

pub(crate) fn disks(name: &str) -> Answer<Vec<String>> {
    need(ask("GET", &format!("volumes/{name}/disks"), None)?)
}

/// The same `op` for the same volume is the same disk.
pub(crate) fn make(name: &str, op: &str, content: &Content<'_>) -> Answer<Disk> {
    let mut body = serde_json::to_value(content).map_err(|error| failure(error.to_string()))?;
    body["volume"] = json!(name);
    body["op"] = json!(op);
    need(ask("POST", "disks", Some(&body))?)
}

pub(crate) fn resize(disk: &str, size: u64) -> Answer<()> {
    need::<Value>(ask("PATCH", &format!("disks/{disk}"), Some(&json!({ "size": size })))?).map(drop)
}

/// One that is gone already is no error.
pub(crate) fn discard(disk: &str) -> Answer<()> {
    ask::<Value>("DELETE", &format!("disks/{disk}"), None).map(drop)
}

/// The device of a disk on this node.
pub(crate) fn attach(disk: &str, read_only: bool) -> Answer<String> {
    #[derive(Deserialize)]
    struct Attached {
        device: String,
    }
    let body = json!({ "read_only": read_only });
    let attached: Attached = need(ask("POST", &format!("disks/{disk}/attach"), Some(&body))?)?;
    Ok(attached.device)
}

fn need<T>(found: Option<T>) -> Answer<T> {
    found.ok_or_else(|| failure("the array does not know it any more"))
}

/// None where the array knows no such thing.
fn ask<T: DeserializeOwned>(method: &str, path: &str, body: Option<&Value>) -> Answer<Option<T>> {
    let header = |name: &str, value: &str, secret: Option<&str>| Header {
        name: name.to_owned(),
        value: value.to_owned(),
        secret: secret.map(str::to_owned),
    };
    let mut headers = vec![header("authorization", "Bearer ", Some(SECRET))];
    if body.is_some() {
        headers.push(header("content-type", "application/json", None));
    }
    let response = http::send(&Request {
        method: method.to_owned(),
        url: format!("{}/{path}", url()),
        headers,
        body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
        timeout_ms: 0,
        attrs: Vec::new(),
    })?;
    let code = match response.status {
        200..=299 => {
            let read = serde_json::from_slice(&response.body);
            return read.map(Some).map_err(|error| failure(format!("{method} {path}: {error}")));
        }
        404 => return Ok(None),
        409 => CODE_STALE,
        412 => CODE_BUSY,
        507 => CODE_FULL,
        _ => 0,
    };
    let said: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let said = said["error"].as_str().unwrap_or("it does not say why");
    Err(coded(code, format!("the array answered {} to {method} {path}: {said}", response.status)))
}
