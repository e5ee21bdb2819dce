//! What a backend gets: all that it needs, of what the operator granted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::{
    bindings::exports::flocker::plugin::lifecycle::Info,
    commands::Commands,
    folders::Folders,
    http::{
        Http,
        tls::{self, Tls},
    },
    kv::{Kv, QUOTA_MAX},
    open::{BackendConfig, OpenBackendError},
    secrets::Secrets,
};
use crate::{
    chatter::tame,
    grants::{DeviceGrant, Grants, UrlGrant},
};

/// `info.attrs` by these keys name what a backend needs (wit/codes.md).
pub(super) const NEEDS_DIRECTORY: &str = "directory";
pub(super) const NEEDS_HTTP: &str = "http";
pub(super) const NEEDS_COMMAND: &str = "command";
pub(super) const NEEDS_DEVICE: &str = "device";
pub(super) const NEEDS_SECRET: &str = "secret";

/// All that one backend may use.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) folders: Folders,
    pub(crate) kv: Option<Kv>,
    pub(crate) http: Http,
    pub(crate) commands: Commands,
    pub(crate) devices: Vec<DeviceGrant>,
}

impl Given {
    /// For a plugin that has not said yet who it is.
    pub(crate) fn nothing() -> Self {
        Self {
            folders: Folders::none(),
            kv: None,
            http: Http::default(),
            commands: Commands::default(),
            devices: Vec::new(),
        }
    }

    /// Goes through what a plugin says that it needs.
    pub(crate) fn of(
        name: &str,
        info: &Info,
        needs_kv: bool,
        config: &BackendConfig,
    ) -> Result<Self, OpenBackendError> {
        let needs = Needs { plugin: name, info };
        let grants = &config.grants;
        let http = needs.any(NEEDS_HTTP, &grants.http, "http=URL")?;
        let devices = needs.any(NEEDS_DEVICE, &grants.devices, "device=/dev/NAME*")?;
        let secrets = Secrets(needs.named(NEEDS_SECRET, "a secret", &grants.secrets)?);
        for path in secrets.0.values() {
            let refused = |error| OpenBackendError::Secret { path: path.clone(), error };
            flocker_system::secrets::read(path).map_err(refused)?;
        }
        let given = Self {
            folders: folders(&needs, grants)?,
            kv: granted_kv(name, needs_kv, config)?,
            http: Http { tls: tls(&http, grants)?, granted: http, secrets },
            commands: Commands(needs.commands(&grants.commands)?),
            devices,
        };
        given.warn_of_unused(name, grants);
        Ok(given)
    }

    /// A grant that nobody asked for is likely a mistake, and never given.
    fn warn_of_unused(&self, plugin: &str, grants: &Grants) {
        let warn = |unused: &str| {
            tracing::warn!(plugin, grant = %unused, "a grant is not needed and not given");
        };
        let given: BTreeSet<&str> = self.folders.iter().map(|(name, _)| name).collect();
        for name in grants.directories.keys().filter(|name| !given.contains(name.as_str())) {
            warn(&format!("directory={name}"));
        }
        for name in grants.secrets.keys().filter(|name| !self.http.secrets.0.contains_key(*name)) {
            warn(&format!("secret={name}"));
        }
        for path in grants.commands.difference(&self.commands.0) {
            warn(&format!("command={}", path.display()));
        }
        if self.http.granted.is_empty() && !grants.http.is_empty() {
            warn("http");
        }
        if self.devices.is_empty() && !grants.devices.is_empty() {
            warn("device");
        }
    }
}

/// What a plugin says that it needs.
struct Needs<'a> {
    plugin: &'a str,
    info: &'a Info,
}

impl Needs<'_> {
    fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        let attrs = self.info.attrs.iter().filter(move |attr| attr.key == key);
        attrs.map(|attr| attr.value.as_str())
    }

    fn missing(&self, what: String, hint: String) -> OpenBackendError {
        let hint = format!("--grant {hint}");
        OpenBackendError::NotGranted { plugin: self.plugin.to_owned(), what, hint }
    }

    /// What is needed by name.
    fn named(
        &self,
        key: &str,
        what: &str,
        granted: &BTreeMap<String, PathBuf>,
    ) -> Result<BTreeMap<String, PathBuf>, OpenBackendError> {
        let found = self.values(key).map(|name| {
            let wanted = tame(name, 64);
            let path = granted.get(name).ok_or_else(|| {
                self.missing(format!("{what} called `{wanted}`"), format!("{key}={wanted}:/PATH"))
            })?;
            Ok((name.to_owned(), path.clone()))
        });
        found.collect()
    }

    /// What is needed in words: all grants of that kind, and at least one.
    fn any<T: Clone>(
        &self,
        key: &str,
        granted: &[T],
        hint: &str,
    ) -> Result<Vec<T>, OpenBackendError> {
        match self.values(key).next() {
            None => Ok(Vec::new()),
            Some(words) if granted.is_empty() => {
                Err(self.missing(format!("{key} ({})", tame(words, 100)), hint.to_owned()))
            }
            Some(_) => Ok(granted.to_vec()),
        }
    }

    fn commands(&self, granted: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>, OpenBackendError> {
        let found = self.values(NEEDS_COMMAND).map(|program| {
            let wanted = tame(program, 200);
            let missing =
                || self.missing(format!("the command `{wanted}`"), format!("command={wanted}"));
            granted.get(Path::new(program)).cloned().ok_or_else(missing)
        });
        found.collect()
    }
}

/// A file that cannot be used is found out now, and not with the first request.
fn tls(http: &[UrlGrant], grants: &Grants) -> Result<Tls, OpenBackendError> {
    let mut tls = Tls::default();
    for (host, path) in grants.authorities.iter().filter(|_| !http.is_empty()) {
        let refused = |error| OpenBackendError::Authorities { path: path.clone(), error };
        tls::read(path).map_err(refused)?;
        tls.authorities.insert(host.clone(), path.clone());
    }
    Ok(tls)
}

fn folders(needs: &Needs<'_>, grants: &Grants) -> Result<Folders, OpenBackendError> {
    let given = needs.named(NEEDS_DIRECTORY, "a directory", &grants.directories)?;
    Folders::open(&given).map_err(|(path, error)| OpenBackendError::Folder { path, error })
}

fn granted_kv(
    name: &str,
    needed: bool,
    config: &BackendConfig,
) -> Result<Option<Kv>, OpenBackendError> {
    if !needed {
        return Ok(None);
    }
    let quota = config.grants.kv.ok_or_else(|| OpenBackendError::NotGranted {
        plugin: name.to_owned(),
        what: "a store of its own".to_owned(),
        hint: "--grant kv=1MiB".to_owned(),
    })?;
    if quota > QUOTA_MAX {
        return Err(OpenBackendError::KvTooLarge(quota));
    }
    let path = own_folder(&config.state_dir.join("store"))?.join("kv");
    Kv::open(&path, quota).map(Some).map_err(|error| OpenBackendError::Folder { path, error })
}

/// A folder of the host's own. What is in it is nobody else's: streams and stores hold what volumes hold.
pub(crate) fn own_folder(path: &Path) -> Result<&Path, OpenBackendError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map(|()| path).map_err(|error| OpenBackendError::Folder { path: path.to_owned(), error })
}
