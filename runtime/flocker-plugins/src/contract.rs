//! Compares what a component asks for and offers with what this host gives and uses, in words that its author
//! understands. Knows names only; types are checked by wasmtime afterwards.

use std::fmt;

/// The package that this host speaks, `wit/`.
const PACKAGE: &str = "flocker:plugin";
/// Its version: major, minor, patch.
const VERSION: (u64, u64, u64) = (0, 1, 0);
/// What policies may import of it. Types have no functions, so `types` is always granted.
const GRANTED: [&str; 4] = ["types", "cluster", "log", "metrics"];
/// What policies may import of WASI. Standard libraries do; what stands behind these is virtual.
const WASI_GRANTED: [&str; 5] =
    ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random"];

/// What backends may import of it. They are not asked about the cluster, and have what storage is reached by instead.
const GRANTED_TO_BACKENDS: [&str; 7] =
    ["types", "log", "metrics", "kv", "trees", "http", "commands"];

/// A kind of question that a plugin answers: an interface that it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Where an app goes.
    Placement,
    /// Which apps had better be elsewhere.
    Rebalance,
    /// What is backed up when.
    BackupSchedule,
    /// What happens when a node stays silent.
    Failover,
    /// A storage backend.
    StorageBackend,
}

impl Hook {
    const ALL: [Self; 5] = [
        Self::Placement,
        Self::Rebalance,
        Self::BackupSchedule,
        Self::Failover,
        Self::StorageBackend,
    ];

    /// The interface's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placement => "placement",
            Self::Rebalance => "rebalance",
            Self::BackupSchedule => "backup-schedule",
            Self::Failover => "failover",
            Self::StorageBackend => "storage-backend",
        }
    }

    /// The hook that an export of this name is, in whichever version.
    pub(crate) fn exported_as(export: &str) -> Option<Self> {
        let name = Name::parse(export);
        Self::ALL.into_iter().find(|h| name.package == PACKAGE && h.as_str() == name.interface)
    }

    /// Whether a node asks it anything.
    #[must_use]
    pub fn is_used(self) -> bool {
        match self {
            Self::Placement
            | Self::Rebalance
            | Self::BackupSchedule
            | Self::Failover
            | Self::StorageBackend => true,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a component does not fit this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Another version of our package.
    #[error("it was built for {PACKAGE} {theirs} (`{interface}`), this host speaks {}.{}.{}\nhint: {hint}", VERSION.0, VERSION.1, VERSION.2)]
    Version { interface: String, theirs: String, hint: &'static str },
    /// Something that exists, but not for policies.
    #[error("it asks for `{what}`, which was not granted\nhint: {hint}")]
    NotGranted { what: String, hint: &'static str },
    /// Something that nobody here has heard of.
    #[error(
        "it asks for `{0}`, which this host does not know\nhint: a policy may import {PACKAGE}'s cluster, log and metrics"
    )]
    Unknown(String),
    /// No `lifecycle`.
    #[error(
        "it does not export `{PACKAGE}/lifecycle`, which every plugin must\nhint: build it for one of the worlds in wit/worlds.wit; the SDKs do so"
    )]
    NoLifecycle,
    /// It exports policies only.
    #[error(
        "it exports {exports}, but no `{PACKAGE}/storage-backend`\nhint: build it for the world `backend` of wit/worlds.wit"
    )]
    NoBackend { exports: String },
    /// No hook.
    #[error(
        "it exports no hook that this host knows; its exports: {exports}\nhint: a placement policy exports `{PACKAGE}/placement`"
    )]
    NoHook { exports: String },
}

/// `package/interface@version`, taken apart.
struct Name<'a> {
    package: &'a str,
    interface: &'a str,
    version: &'a str,
}

impl<'a> Name<'a> {
    fn parse(name: &'a str) -> Self {
        let (path, version) = name.split_once('@').unwrap_or((name, ""));
        let (package, interface) = path.split_once('/').unwrap_or((path, ""));
        Self { package, interface, version }
    }

    /// Whether this host speaks that version: same major and minor, and not newer.
    fn fits(&self) -> Result<(), Misfit> {
        let theirs = numbers(self.version);
        let newer = match theirs {
            Some(theirs)
                if (theirs.0, theirs.1) == (VERSION.0, VERSION.1) && theirs.2 <= VERSION.2 =>
            {
                return Ok(());
            }
            Some(theirs) => theirs > VERSION,
            None => false,
        };
        let hint = if newer {
            "update flocker-runtime, or build the plugin with an older SDK"
        } else {
            "build the plugin again with the present SDK"
        };
        Err(Misfit::Version {
            interface: self.interface.to_owned(),
            theirs: self.version.to_owned(),
            hint,
        })
    }
}

/// Major, minor, patch; a pre-release is none that we speak.
fn numbers(version: &str) -> Option<(u64, u64, u64)> {
    let mut parts = version.split('.').map(|n| n.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??)).filter(|_| parts.next().is_none())
}

/// Whether everything that a policy imports is granted.
pub(crate) fn check_imports<'a>(imports: impl Iterator<Item = &'a str>) -> Result<(), Misfit> {
    for import in imports {
        let name = Name::parse(import);
        if name.package == PACKAGE {
            name.fits()?;
            if name.interface == "kv" {
                let hint = "only backends have a store: a policy's answer depends on the question alone, so that it can be replayed";
                return Err(Misfit::NotGranted { what: format!("{PACKAGE}/kv"), hint });
            }
            if !GRANTED.contains(&name.interface) {
                return Err(Misfit::Unknown(import.to_owned()));
            }
        } else if name.package.starts_with("wasi:") {
            if !WASI_GRANTED.contains(&name.package) {
                let hint = "policies get no network and no devices; build it without";
                return Err(Misfit::NotGranted { what: name.package.to_owned(), hint });
            }
        } else {
            return Err(Misfit::Unknown(import.to_owned()));
        }
    }
    Ok(())
}

/// Whether a backend may import all that it imports. Answers whether it asks for a store of its own.
pub(crate) fn check_backend_imports<'a>(
    imports: impl Iterator<Item = &'a str>,
) -> Result<bool, Misfit> {
    let mut needs_kv = false;
    for import in imports {
        let name = Name::parse(import);
        if name.package == PACKAGE {
            name.fits()?;
            needs_kv |= name.interface == "kv";
            if !GRANTED_TO_BACKENDS.contains(&name.interface) {
                let what = format!("{PACKAGE}/{}", crate::chatter::tame(name.interface, 80));
                let hint = "a backend may import log, metrics, kv, trees, http and commands";
                return Err(Misfit::NotGranted { what, hint });
            }
        } else if !WASI_GRANTED.contains(&name.package) {
            let what = crate::chatter::tame(name.package, 80);
            let hint = "a backend reaches the network through flocker:plugin/http only";
            return Err(Misfit::NotGranted { what, hint });
        }
    }
    Ok(needs_kv)
}

/// The hooks that a component exports, in the order of [`Hook::ALL`].
pub(crate) fn check_exports<'a>(
    exports: impl Iterator<Item = &'a str>,
) -> Result<Vec<Hook>, Misfit> {
    let mut hooks = Vec::new();
    let mut lifecycle = false;
    let mut all = Vec::new();
    for export in exports {
        // Enough to see what it is; a component may have ten thousand.
        if all.len() < 8 {
            all.push(format!("`{}`", crate::chatter::tame(export, 80)));
        }
        let name = Name::parse(export);
        let hook = Hook::exported_as(export);
        if name.package != PACKAGE || (hook.is_none() && name.interface != "lifecycle") {
            continue;
        }
        name.fits()?;
        lifecycle |= hook.is_none();
        hooks.extend(hook);
    }
    if hooks.is_empty() {
        let exports = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
        return Err(Misfit::NoHook { exports });
    }
    if !lifecycle {
        return Err(Misfit::NoLifecycle);
    }
    hooks.sort_unstable();
    Ok(hooks)
}

/// Whose an interface is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The contract between this host and its plugins.
    Contract,
    /// The interface of standard libraries to a system; what stands behind it here is virtual.
    Wasi,
    /// Nobody's that is known here.
    Unknown,
}

impl Origin {
    /// Whose the interface of this name is.
    pub(crate) fn of(import: &str) -> Self {
        match Name::parse(import).package {
            PACKAGE => Self::Contract,
            package if package.starts_with("wasi:") => Self::Wasi,
            _ => Self::Unknown,
        }
    }
}

/// Whether any of the imports is WASI.
pub(crate) fn asks_for_wasi<'a>(mut imports: impl Iterator<Item = &'a str>) -> bool {
    imports.any(|i| i.starts_with("wasi:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_speaks_the_version_in_wit() {
        let (major, minor, patch) = VERSION;
        let package = format!("package {PACKAGE}@{major}.{minor}.{patch};");
        assert!(include_str!("../../../wit/worlds.wit").contains(&package), "not `{package}`");
    }

    #[test]
    fn a_component_of_another_time_is_told_which() {
        for (import, word) in [
            ("flocker:plugin/cluster@0.2.0", "update flocker-runtime"),
            ("flocker:plugin/cluster@0.1.1", "update flocker-runtime"),
            ("flocker:plugin/cluster@0.0.9", "build the plugin again"),
            ("flocker:plugin/cluster@0.1.0-rc.1", "build the plugin again"),
            ("flocker:plugin/cluster", "build the plugin again"),
        ] {
            let said = check_imports([import].into_iter()).unwrap_err().to_string();
            assert!(
                said.contains("this host speaks 0.1.0") && said.contains(word),
                "{import}: {said}"
            );
        }
        assert!(
            check_imports(["flocker:plugin/cluster@0.1.0", "wasi:cli/stdout@0.2.6"].into_iter())
                .is_ok()
        );
    }

    #[test]
    fn what_was_not_granted_is_named() {
        for (import, what) in [
            ("wasi:sockets/tcp@0.2.0", "`wasi:sockets`, which was not granted"),
            ("wasi:http/outgoing-handler@0.2.0", "`wasi:http`, which was not granted"),
            ("flocker:plugin/kv@0.1.0", "`flocker:plugin/kv`, which was not granted"),
            ("flocker:plugin/teleport@0.1.0", "does not know"),
            ("env", "does not know"),
        ] {
            let said = check_imports([import].into_iter()).unwrap_err().to_string();
            assert!(said.contains(what), "{import}: {said}");
        }
    }

    #[test]
    fn backends_get_what_storage_needs_but_no_cluster_and_no_sockets() {
        let asked = |imports: &[&'static str]| check_backend_imports(imports.iter().copied());
        assert_eq!(
            asked(&[
                "flocker:plugin/trees@0.1.0",
                "flocker:plugin/http@0.1.0",
                "flocker:plugin/commands@0.1.0",
                "wasi:filesystem/types@0.2.12"
            ]),
            Ok(false)
        );
        assert_eq!(asked(&["flocker:plugin/kv@0.1.0"]), Ok(true));
        for import in ["flocker:plugin/cluster@0.1.0", "wasi:sockets/tcp@0.2.0", "env"] {
            let said = asked(&[import]).unwrap_err().to_string();
            assert!(said.contains("not granted") && said.contains("hint:"), "{import}: {said}");
        }
        assert!(matches!(asked(&["flocker:plugin/trees@0.2.0"]), Err(Misfit::Version { .. })));
    }

    #[test]
    fn hooks_are_found_by_their_exports() {
        let lifecycle = "flocker:plugin/lifecycle@0.1.0";
        let found = |exports: &[&'static str]| check_exports(exports.iter().copied());
        let hooks = found(&[
            lifecycle,
            "flocker:plugin/failover@0.1.0",
            "flocker:plugin/placement@0.1.0",
            "other:thing/x",
        ]);
        assert_eq!(hooks, Ok(vec![Hook::Placement, Hook::Failover]));
        assert_eq!(found(&["flocker:plugin/placement@0.1.0"]), Err(Misfit::NoLifecycle));
        assert_eq!(found(&["run"]), Err(Misfit::NoHook { exports: "`run`".into() }));
    }
}
