//! Plugins as the operator names them: which are policies, and which is the node's storage. What a component exports
//! decides, never its name; what does not go together is refused before anything of it runs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use flocker_plugins::{Configured, Grant, Grants, Hook, Limit, Mode, OwnLimits, exported_hooks};
use serde::Deserialize;

/// One `[[plugin]]` of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FilePlugin {
    pub(super) path: PathBuf,
    pub(super) weight: Option<u32>,
    mode: Option<String>,
    settings: Option<toml::Table>,
    #[serde(default)]
    grants: Vec<String>,
    #[serde(default)]
    limits: BTreeMap<String, LimitText>,
}

/// A limit in the file, with or without its unit.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum LimitText {
    Text(String),
    Number(u64),
}

impl LimitText {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// The component that keeps this node's volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackendPlugin {
    pub(crate) path: PathBuf,
    /// A JSON document.
    pub(crate) settings: String,
    pub(crate) grants: Grants,
}

/// All plugins of a node.
#[derive(Debug, Default)]
pub(crate) struct Plugins {
    pub(crate) policies: Vec<Configured>,
    pub(crate) backend: Option<BackendPlugin>,
}

impl Plugins {
    /// Tells policies and the backend apart. Grants from flags are the backend's, beside those of the file.
    pub(super) fn sorted(
        flags: Vec<PathBuf>,
        granted: Vec<Grant>,
        file: Vec<FilePlugin>,
    ) -> anyhow::Result<Self> {
        let mut plugins = Self::default();
        let from_flags = flags.into_iter().map(|path| FilePlugin { path, ..FilePlugin::default() });
        for told in file.into_iter().chain(from_flags) {
            let hooks = hooks(&told.path)?;
            if hooks.contains(&Hook::StorageBackend) {
                let backend = backend(told, &hooks, granted.clone())?;
                if let Some(other) = plugins.backend.replace(backend) {
                    return Err(other.beside(&plugins));
                }
            } else {
                plugins.policies.push(policy(told)?);
            }
        }
        if plugins.backend.is_none() && !granted.is_empty() {
            bail!(
                "`--grant` is for a storage backend, and none of the plugins is one\nhint: name the backend with `--plugin FILE`; policies get nothing granted"
            );
        }
        Ok(plugins)
    }
}

impl BackendPlugin {
    /// There is another one.
    fn beside(&self, plugins: &Plugins) -> anyhow::Error {
        let other = plugins.backend.as_ref().map(|b| b.path.display().to_string());
        anyhow!(
            "`{}` and `{}` are both storage backends\nhint: a node has one; leave the other out",
            self.path.display(),
            other.unwrap_or_default()
        )
    }

    /// A pool was named too.
    pub(super) fn beside_pool(&self) -> anyhow::Error {
        anyhow!(
            "`--pool` and `--pool-size` are for btrfs, but the plugin `{}` is this node's storage\nhint: leave them out, or the plugin",
            self.path.display()
        )
    }
}

/// What a file is for. One that is no plugin at all is told so when it is loaded.
fn hooks(path: &Path) -> anyhow::Result<Vec<Hook>> {
    fs::metadata(path).with_context(|| {
        format!(
            "could not read the plugin `{}`\nhint: `--plugin` names a WebAssembly component",
            path.display()
        )
    })?;
    Ok(exported_hooks(path)?)
}

fn policy(told: FilePlugin) -> anyhow::Result<Configured> {
    let path = told.path.display();
    if !told.grants.is_empty() {
        bail!(
            "the plugin `{path}` is a policy and gets no `grants`\nhint: leave them out; only storage backends are granted anything"
        );
    }
    let mode = told.mode.as_deref().map(str::parse::<Mode>).transpose().map_err(|e| {
        anyhow!(
            "the `mode` of plugin `{path}` is wrong: {e}\nhint: `shadow` asks a plugin and does not obey it"
        )
    })?;
    let limits = told.limits.iter().map(|(key, value)| Limit::parse(key, &value.text()));
    let limits = limits.collect::<Result<Vec<_>, _>>().and_then(OwnLimits::new);
    Ok(Configured {
        limits: limits.with_context(|| format!("the `limits` of plugin `{path}`"))?,
        settings: settings(&told)?,
        weight: told.weight.unwrap_or(1),
        mode: mode.unwrap_or_default(),
        path: told.path,
    })
}

fn backend(told: FilePlugin, hooks: &[Hook], granted: Vec<Grant>) -> anyhow::Result<BackendPlugin> {
    let path = told.path.display();
    if let Some(policy) = hooks.iter().find(|hook| **hook != Hook::StorageBackend) {
        bail!(
            "the plugin `{path}` is a storage backend and answers `{policy}` too\nhint: build two components: what a policy answers must not depend on what a backend may touch"
        );
    }
    for (key, is_told) in [("weight", told.weight.is_some()), ("mode", told.mode.is_some())] {
        if is_told {
            bail!(
                "the plugin `{path}` is a storage backend and has no `{key}`\nhint: leave it out; a node has one backend, which is used or not named"
            );
        }
    }
    if !told.limits.is_empty() {
        bail!(
            "the plugin `{path}` is a storage backend and has no `limits`\nhint: leave them out; a backend may take as long as its disks do"
        );
    }
    let of_file = told.grants.iter().map(|text| text.parse::<Grant>());
    let of_file = of_file.collect::<Result<Vec<_>, _>>();
    let of_file = of_file.with_context(|| format!("the `grants` of plugin `{path}`"))?;
    let grants = Grants::new(of_file.into_iter().chain(granted))
        .with_context(|| format!("what was granted to plugin `{path}`"))?;
    Ok(BackendPlugin { settings: settings(&told)?, grants, path: told.path })
}

fn settings(told: &FilePlugin) -> anyhow::Result<String> {
    Ok(told.settings.as_ref().map(serde_json::to_string).transpose()?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with components that export these hooks and do nothing.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn component(&self, name: &str, hooks: &[&str]) -> PathBuf {
            let export = |hook: &&str| {
                format!("(export \"flocker:plugin/{hook}@0.1.0\" (instance $nothing))")
            };
            let exports: String = hooks.iter().map(export).collect();
            let bytes = wat::parse_str(format!("(component (instance $nothing) {exports})"));
            let path = self.0.path().join(name);
            fs::write(&path, bytes.unwrap()).unwrap();
            path
        }
    }

    fn told(path: &Path, rest: &str) -> FilePlugin {
        toml::from_str(&format!("path = \"{}\"\n{rest}", path.display())).unwrap()
    }

    #[track_caller]
    fn refused(sorted: anyhow::Result<Plugins>, words: &[&str]) {
        let (said, hints) = crate::last_words(&sorted.expect_err("it must be refused"));
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
        assert!(!hints.is_empty(), "nothing can be done: {said}");
    }

    /// A backend may be called as it likes, and what the file and the flags grant comes together.
    #[test]
    fn what_a_component_exports_decides_what_it_is() {
        let folder = Folder::new();
        let policy = folder.component("backend.wasm", &["placement", "rebalance"]);
        let backend = folder.component("policy.wasm", &["storage-backend"]);
        let kv: Grant = "kv=1MiB".parse().unwrap();
        let directory: Grant = "directory=pool:/srv/pool".parse().unwrap();
        let file = told(&backend, "grants = [\"kv=1MiB\"]\nsettings = { a = 1 }");

        let sorted =
            Plugins::sorted(vec![policy.clone()], vec![directory.clone()], vec![file]).unwrap();

        assert_eq!(sorted.policies, [Configured::new(&policy)]);
        let grants = Grants::new([kv, directory]).unwrap();
        let expected = BackendPlugin { path: backend, settings: "{\"a\":1}".to_owned(), grants };
        assert_eq!(sorted.backend, Some(expected));
    }

    #[test]
    fn one_policy_may_be_given_more_than_the_others() {
        let folder = Folder::new();
        let policy = folder.component("p.wasm", &["placement"]);
        let rest = "limits = { fuel = \"4G\", wall = \"5s\", memory = 33554432 }";

        let sorted = Plugins::sorted(vec![], vec![], vec![told(&policy, rest)]).unwrap();

        assert_eq!(sorted.policies[0].limits.to_string(), "fuel=4G, wall=5s, memory=32MiB");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let folder = Folder::new();
        let policy = folder.component("p.wasm", &["placement"]);
        let backend = folder.component("b.wasm", &["storage-backend"]);
        let other = folder.component("c.wasm", &["storage-backend"]);
        let both = folder.component("both.wasm", &["storage-backend", "placement"]);
        let kv = || vec!["kv=1MiB".parse::<Grant>().unwrap()];
        let flags = |flags: &[&PathBuf]| flags.iter().map(|path| (*path).clone()).collect();

        let two = Plugins::sorted(flags(&[&backend, &other]), vec![], vec![]);
        refused(two, &["b.wasm", "c.wasm", "both storage backends"]);
        refused(
            Plugins::sorted(flags(&[&both]), vec![], vec![]),
            &["both.wasm", "`placement` too"],
        );
        refused(Plugins::sorted(flags(&[&policy]), kv(), vec![]), &["`--grant`", "none"]);
        refused(Plugins::sorted(vec![], kv(), vec![]), &["`--grant`", "none"]);
        for (path, rest, words) in [
            (&policy, "grants = [\"kv=1MiB\"]", ["p.wasm", "no `grants`"]),
            (&policy, "mode = \"loud\"", ["p.wasm", "`mode`"]),
            (&policy, "limits = { fuel = \"4P\" }", ["p.wasm", "fuel=4P"]),
            (&policy, "limits = { fuel = 5 }", ["p.wasm", "between 1M and 100G"]),
            (&policy, "limits = { wall = \"1h\" }", ["p.wasm", "between 10ms and 10s"]),
            (&policy, "limits = { moons = 2 }", ["p.wasm", "`moons` is no limit"]),
            (&backend, "limits = { fuel = \"4G\" }", ["b.wasm", "no `limits`"]),
            (&backend, "mode = \"shadow\"", ["b.wasm", "no `mode`"]),
            (&backend, "weight = 2", ["b.wasm", "no `weight`"]),
            (&backend, "grants = [\"moon\"]", ["b.wasm", "`moon` is no grant"]),
            (&backend, "grants = [\"kv=1MiB\", \"kv=2MiB\"]", ["b.wasm", "`kv` is granted twice"]),
        ] {
            refused(Plugins::sorted(vec![], vec![], vec![told(path, rest)]), &words);
        }
        let twice = Plugins::sorted(vec![], kv(), vec![told(&backend, "grants = [\"kv=1MiB\"]")]);
        refused(twice, &["b.wasm", "granted twice"]);
    }
}
