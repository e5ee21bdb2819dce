//! The array's API. Every request carries the token, which this plugin never sees, and may be made again.

use flocker_sdk::backend::{
    Answer, BUSY, Capacity, Document, FULL, Made, Named, New, STALE, Stored, coded, failure,
    http::{self, Header, Request},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::SECRET;

/// An array by its address.
#[derive(Debug, Default)]
pub(crate) struct Array {
    url: String,
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

impl Array {
    pub(crate) fn at(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn capacity(&self) -> Answer<Capacity> {
        #[derive(Deserialize)]
        struct Found {
            total: u64,
            free: u64,
        }
        let Found { total, free } = need(self.ask("GET", "capacity", None)?)?;
        Ok(Capacity { total_bytes: total, free_bytes: free })
    }

    /// A document that cannot be read does not make the others unknown.
    pub(crate) fn volumes(&self, after: Option<&str>, limit: u32) -> Answer<Vec<Named>> {
        #[derive(Deserialize)]
        struct Listed {
            name: String,
            document: Value,
        }
        let path = format!("volumes?after={}&limit={limit}", after.unwrap_or(""));
        let listed: Vec<Listed> = need(self.ask("GET", &path, None)?)?;
        let named = |Listed { name, document }| {
            let document = read(&name, document);
            Named { volume: name, document }
        };
        Ok(listed.into_iter().map(named).collect())
    }

    pub(crate) fn volume(&self, name: &str) -> Answer<Option<Stored<u64>>> {
        #[derive(Deserialize)]
        struct Found {
            revision: u64,
            document: Value,
        }
        let found: Option<Found> = self.ask("GET", &format!("volumes/{name}"), None)?;
        let stored =
            |Found { revision, document }| Ok(Stored { revision, document: read(name, document)? });
        found.map(stored).transpose()
    }

    /// Refused where somebody with a newer epoch was, or changed it since it was read. Revision 0 is of no document.
    pub(crate) fn put(&self, name: &str, revision: u64, document: &Document) -> Answer<u64> {
        #[derive(Deserialize)]
        struct Kept {
            revision: u64,
        }
        let body = json!({ "epoch": document.epoch(), "revision": revision, "document": document });
        let kept: Kept = need(self.ask("PUT", &format!("volumes/{name}"), Some(&body))?)?;
        Ok(kept.revision)
    }

    pub(crate) fn remove(&self, name: &str, revision: u64, epoch: u64) -> Answer<()> {
        let path = format!("volumes/{name}?epoch={epoch}&revision={revision}");
        self.ask::<Value>("DELETE", &path, None).map(drop)
    }

    pub(crate) fn disks(&self, name: &str) -> Answer<Vec<String>> {
        need(self.ask("GET", &format!("volumes/{name}/disks"), None)?)
    }

    /// The same key for the same volume is the same disk. Its id is one that no other disk has or will have.
    pub(crate) fn make(&self, new: &New<'_>, content: &Content<'_>) -> Answer<Made> {
        #[derive(Deserialize)]
        struct Disk {
            id: String,
            created_ms: u64,
        }
        let mut body = serde_json::to_value(content).map_err(|error| failure(error.to_string()))?;
        body["volume"] = json!(new.volume);
        body["op"] = json!(new.key());
        let Disk { id, created_ms } = need(self.ask("POST", "disks", Some(&body))?)?;
        Ok(Made { guid: id.clone(), disk: id, made_ms: created_ms, bytes: None })
    }

    pub(crate) fn resize(&self, disk: &str, size: u64) -> Answer<()> {
        let body = json!({ "size": size });
        need::<Value>(self.ask("PATCH", &format!("disks/{disk}"), Some(&body))?).map(drop)
    }

    /// One that is gone already is no error.
    pub(crate) fn discard(&self, disk: &str) -> Answer<()> {
        self.ask::<Value>("DELETE", &format!("disks/{disk}"), None).map(drop)
    }

    /// The device of a disk on this node.
    pub(crate) fn attach(&self, disk: &str, read_only: bool) -> Answer<String> {
        #[derive(Deserialize)]
        struct Attached {
            device: String,
        }
        let (path, body) = (format!("disks/{disk}/attach"), json!({ "read_only": read_only }));
        let attached: Attached = need(self.ask("POST", &path, Some(&body))?)?;
        Ok(attached.device)
    }

    /// None where the array knows no such thing.
    fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer<Option<T>> {
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
            url: format!("{}/{path}", self.url),
            headers,
            body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
            timeout_ms: 0,
            attrs: Vec::new(),
        })?;
        let code = match response.status {
            200..=299 => {
                let read = serde_json::from_slice(&response.body);
                return read
                    .map(Some)
                    .map_err(|error| failure(format!("{method} {path}: {error}")));
            }
            404 => return Ok(None),
            409 => STALE,
            412 => BUSY,
            507 => FULL,
            _ => 0,
        };
        let (status, said) = (response.status, serde_json::from_slice(&response.body));
        let said: Value = said.unwrap_or_default();
        let said = said["error"].as_str().unwrap_or("it does not say why");
        Err(coded(code, format!("the array answered {status} to {method} {path}: {said}")))
    }
}

fn need<T>(found: Option<T>) -> Answer<T> {
    found.ok_or_else(|| failure("the array does not know it any more"))
}

fn read(name: &str, document: Value) -> Answer<Document> {
    serde_json::from_value(document).map_err(|error| {
        failure(format!(
            "the array's document of `{name}` is damaged: {error}; its disks were left as they are"
        ))
    })
}
