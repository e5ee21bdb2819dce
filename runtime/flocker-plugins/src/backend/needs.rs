//! What a backend asks for, before it is granted anything: for those who decide what it gets.

use std::path::Path;

use super::{
    BackendLimits, PluginBackend,
    given::{NEEDS_COMMAND, NEEDS_DEVICE, NEEDS_DIRECTORY, NEEDS_HTTP, NEEDS_SECRET},
    limits, open,
};
use crate::{
    chatter::tame,
    grants::Grants,
    load::{LoadError, Refusal, Trust},
    plugin::Loaded,
};

/// What a backend is and asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendNeeds {
    /// What it calls itself.
    pub loaded: Loaded,
    /// What it asks for, in its own order.
    pub needs: Vec<Need>,
}

/// One thing that a backend asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// For people: "a directory called `pool`".
    pub what: String,
    /// How it is granted: "directory=pool:/PATH".
    pub grant: String,
    /// Whether it was granted.
    pub is_granted: bool,
}

impl PluginBackend {
    /// Asks a backend what it needs, and compares that with what would be granted. It is started and given nothing.
    ///
    /// # Errors
    /// [`OpenBackendError`](super::OpenBackendError) says what is wrong with the file, its settings or the plugin.
    pub async fn needs(
        path: &Path,
        settings: &str,
        grants: &Grants,
    ) -> Result<BackendNeeds, open::OpenBackendError> {
        let limits = BackendLimits::default();
        let trust = Trust { bytes_max: limits.file_bytes, signed_by: None };
        let met = open::meet(path, settings, &limits, None, &trust).await?;
        let named = met.info.attrs.iter().filter_map(|attr| need(&attr.key, &attr.value, grants));
        let store = met.checked.needs_kv.then(|| Need {
            what: "a store of its own".to_owned(),
            grant: "kv=1MiB".to_owned(),
            is_granted: grants.kv.is_some(),
        });
        let needs = named.chain(store).collect();
        Ok(BackendNeeds { loaded: met.loaded(), needs })
    }
}

/// What an attribute of `info` asks for, if it asks for anything (wit/codes.md).
fn need(key: &str, value: &str, grants: &Grants) -> Option<Need> {
    let wanted = tame(value, 200);
    let (what, grant, is_granted) = match key {
        NEEDS_DIRECTORY => (
            format!("a directory called `{wanted}`"),
            format!("directory={wanted}:/PATH"),
            grants.directories.contains_key(value),
        ),
        NEEDS_SECRET => (
            format!("a secret called `{wanted}`"),
            format!("secret={wanted}:/PATH"),
            grants.secrets.contains_key(value),
        ),
        NEEDS_COMMAND => (
            format!("the command `{wanted}`"),
            format!("command={wanted}"),
            grants.commands.contains(Path::new(value)),
        ),
        NEEDS_HTTP => (format!("http ({wanted})"), "http=URL".to_owned(), !grants.http.is_empty()),
        NEEDS_DEVICE => (
            format!("devices ({wanted})"),
            "device=/dev/NAME*".to_owned(),
            !grants.devices.is_empty(),
        ),
        _ => return None,
    };
    Some(Need { what, grant, is_granted })
}

/// Whether the types of a component are those that a node gives to backends and expects of them. Runs nothing of it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn fits(bytes: &[u8]) -> Result<(), Refusal> {
    let limits = BackendLimits::default();
    let unfit = |e: crate::engine::EngineError| Refusal::Unreadable(e.to_string());
    let (engine, watchdog) = limits::start(None).map_err(unfit)?;
    let checked = open::check_bytes(&engine, bytes)?;
    open::stranger(&checked, watchdog.into(), "{}", "", &limits).map(drop)
}

impl open::Met {
    pub(super) fn loaded(&self) -> Loaded {
        Loaded {
            name: self.name.clone(),
            version: tame(self.info.version.trim(), 32),
            digest: self.checked.digest.clone(),
            hooks: vec![crate::contract::Hook::StorageBackend],
            settings_schema: self.info.settings_schema.clone(),
        }
    }
}

/// A refusal of this file.
pub(super) fn refused(path: &Path) -> impl Fn(Refusal) -> LoadError + Copy + '_ {
    |reason| LoadError { path: path.to_owned(), reason }
}
