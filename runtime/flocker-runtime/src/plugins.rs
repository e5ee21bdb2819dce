//! Plugins as the operator configured them: policies are loaded at the start, and what is configured and their files
//! again at SIGHUP.

use std::{sync::Arc, time::Duration};

use flocker_plugins::{
    Configured, HostConfig, PendingInfo, PluginBackend, PluginHost, RecordsConfig, Reloaded,
};
use flocker_ports::{Clock as _, SystemClock};
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// What the records of decisions may take of the disk. A decision among a hundred nodes takes about a kilobyte.
const RECORDS_BYTES_MAX: u64 = 256 << 20;

/// All that run on this node.
#[derive(Debug, Clone)]
pub(crate) struct Plugins {
    pub(crate) policies: Arc<PluginHost>,
    pub(crate) backend: Option<Arc<PluginBackend>>,
}

/// A start waits so long for plugins to be compiled. A policy in Rust takes a second or two; one in Python takes minutes,
/// and meanwhile apps would be without a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// A component larger than this brings an interpreter along, and takes minutes to be compiled.
const LARGE: u64 = 4 << 20;

/// Loads every policy, or none: a node does not start with other policies than it was told. Those that take too long to be
/// compiled count as failing until they are loaded.
pub(crate) async fn load(config: &Config) -> anyhow::Result<Arc<PluginHost>> {
    let state_dir = std::path::absolute(&config.state_dir)?;
    let records = RecordsConfig { folder: state_dir.join("records"), bytes_max: RECORDS_BYTES_MAX };
    let host_config = HostConfig {
        cache: Some(state_dir.join("plugin-cache")),
        records: Some(records),
        signed_by: config.signed_by.clone(),
        ..HostConfig::default()
    };
    load_within(PATIENCE, host_config, config.policies.clone()).await
}

async fn load_within(
    patience: Duration,
    host_config: HostConfig,
    wanted: Vec<Configured>,
) -> anyhow::Result<Arc<PluginHost>> {
    let host = tokio::task::spawn_blocking(|| PluginHost::new(host_config)).await??;
    let host = Arc::new(host);
    host.announce(&wanted, SystemClock.now());
    let (done, mut loaded) = tokio::sync::oneshot::channel();
    let loader = Arc::clone(&host);
    // A thread of its own, which no end of the daemon waits for.
    std::thread::Builder::new().name("plugin-loader".into()).spawn(move || {
        // Those that take seconds do not wait for those that take minutes; otherwise in the order of the configuration, as
        // the first of a name keeps it.
        let is_large = |plugin: &&Configured| {
            std::fs::metadata(&plugin.path).is_ok_and(|file| file.len() > LARGE)
        };
        let mut small_first: Vec<_> = wanted.iter().collect();
        small_first.sort_by_key(is_large);
        // All of them, whatever becomes of the first.
        let results = small_first.into_iter().map(|plugin| loader.load(plugin).map(drop));
        let results: Vec<_> = results.collect();
        loader.arrange(&wanted);
        // Nobody may be waiting any more.
        let _ = done.send(results);
    })?;
    match tokio::time::timeout(patience, &mut loaded).await {
        Ok(results) => results?.into_iter().collect::<Result<(), _>>()?,
        Err(_) => {
            let names: Vec<_> = host.pending().iter().map(PendingInfo::name).collect();
            tracing::warn!(
                plugins = names.join(", "),
                "plugins are still being compiled; the node starts, and decides without them until that is done\nhint: this is so once for each build; `flocker plugin check FILE` says how it goes elsewhere"
            );
            tokio::spawn(async move {
                for error in loaded.await.into_iter().flatten().filter_map(Result::err) {
                    tracing::error!(%error, "it is decided without this plugin");
                }
            });
        }
    }
    Ok(host)
}

/// How often is looked whether a new build was in shadow for long enough.
const SETTLE_EVERY: Duration = Duration::from_secs(1);

/// Reads the configuration of the policies and their files again whenever the daemon is sent SIGHUP, and lets new builds
/// count when their time has come. What cannot be used changes nothing, and neither does a storage backend's file: it is
/// not swapped under volumes that are in use.
pub(crate) async fn reload_at_hangup(
    mut hangup: Signal,
    plugins: Plugins,
    mut config: Config,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            received = hangup.recv() => if received.is_none() { return },
            () = tokio::time::sleep(SETTLE_EVERY) => {
                plugins.policies.settle(SystemClock.now());
                continue;
            }
        }
        let (plugins, before) = (plugins.clone(), config.clone());
        match tokio::task::spawn_blocking(move || reload(&plugins, &before)).await {
            Ok(policies) => config.policies = policies,
            Err(error) => tracing::error!(%error, "plugins could not be read again"),
        }
    }
}

/// Says what is configured from now on: what was before, if the configuration cannot be read.
fn reload(plugins: &Plugins, config: &Config) -> Vec<Configured> {
    if let Some(backend) = &plugins.backend {
        look_again(backend);
    }
    let configured = match config.read_again() {
        Ok(again) => again.policies,
        Err(error) => {
            tracing::error!(
                "the configuration cannot be used, plugins are configured as before: {error:#}"
            );
            config.policies.clone()
        }
    };
    let became = plugins.policies.reconfigure(&configured, SystemClock.now());
    for (plugin, became) in configured.iter().zip(became) {
        match became {
            // The host says so itself.
            Ok(Reloaded::Loaded | Reloaded::Waiting | Reloaded::Replaced { .. }) => {}
            Ok(Reloaded::Loading) => {
                tracing::warn!(plugin = %plugin.path.display(), "the plugin is still being compiled, as it was configured before\nhint: send SIGHUP again when `flocker plugin ls` shows it");
            }
            Ok(Reloaded::Unchanged) => {
                tracing::info!(plugin = %plugin.path.display(), "the plugin and its settings are the same");
            }
            Err(error) => tracing::error!(%error, "the plugin stays as it is"),
        }
    }
    configured
}

fn look_again(backend: &PluginBackend) {
    let plugin = backend.info().loaded.name;
    match backend.is_file_changed() {
        Ok(false) => tracing::info!(%plugin, "the storage backend's file is the same"),
        Ok(true) => tracing::warn!(
            %plugin,
            "the storage backend's file changed; the build that was loaded goes on until the daemon is started again"
        ),
        Err(error) => tracing::error!(%error, "the storage backend stays as it is"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use clap::Parser as _;
    use flocker_plugins::PluginInfo;

    use super::*;
    use crate::config::Flags;

    /// A first-party policy.
    fn wasm(name: &str) -> PathBuf {
        let built = "../../plugins/target/wasm32-unknown-unknown/release";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(built).join(format!("{name}.wasm"));
        assert!(
            path.exists(),
            "`{}` is missing\nhint: cd plugins && cargo build --release",
            path.display()
        );
        path
    }

    /// A node's configuration file, and what became of it.
    struct Node {
        folder: tempfile::TempDir,
        plugins: Plugins,
        config: Config,
    }

    impl Node {
        fn started(policies: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("node.toml");
            fs::write(&file, told(policies)).unwrap();
            let gate = std::env::current_exe().unwrap();
            let flags = [
                Path::new("flocker-runtime"),
                Path::new("--config"),
                &file,
                Path::new("--gate"),
                &gate,
            ];
            let config = Config::from_flags(Flags::parse_from(flags)).unwrap();
            let host = PluginHost::new(HostConfig::default()).unwrap();
            for plugin in &config.policies {
                host.load(plugin).unwrap();
            }
            let plugins = Plugins { policies: Arc::new(host), backend: None };
            Self { folder, plugins, config }
        }

        /// What SIGHUP does once the file says this.
        fn told_again(&mut self, file: &str) -> Vec<PluginInfo> {
            fs::write(self.folder.path().join("node.toml"), file).unwrap();
            self.config.policies = reload(&self.plugins, &self.config);
            self.plugins.policies.list()
        }
    }

    /// Plugins with the rest of what is said of them.
    fn told(policies: &[(&str, &str)]) -> String {
        let table = |(name, rest): &(&str, &str)| {
            format!("[[plugin]]\npath = \"{}\"\n{rest}\n", wasm(name).display())
        };
        format!("node = \"n1\"\n{}", policies.iter().map(table).collect::<String>())
    }

    fn names(plugins: &[PluginInfo]) -> Vec<&str> {
        plugins.iter().map(|plugin| plugin.loaded.name.as_str()).collect()
    }

    #[tokio::test]
    async fn a_start_does_not_wait_for_what_takes_too_long_to_be_compiled() {
        // They stand in the order of the configuration, whichever was loaded first.
        let wanted = vec![Configured::new(&wasm("gfs")), Configured::new(&wasm("spread"))];
        let host = load_within(Duration::ZERO, HostConfig::default(), wanted).await.unwrap();

        let pending: Vec<_> = host.pending().iter().map(PendingInfo::name).collect();
        assert_eq!((pending, host.list().len()), (vec!["gfs".into(), "spread".into()], 0));
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while names(&host.list()) != ["gfs", "spread"] {
            assert!(std::time::Instant::now() < deadline, "they were never loaded: {host:?}");
            tokio::task::yield_now().await;
        }
        assert_eq!(host.pending(), []);
    }

    #[tokio::test]
    async fn a_start_fails_with_a_plugin_that_cannot_be_loaded() {
        let wanted = Configured { settings: "[]".to_owned(), ..Configured::new(&wasm("level")) };
        let host = load_within(PATIENCE, HostConfig::default(), vec![wanted]).await;
        assert!(host.unwrap_err().to_string().contains("level.wasm"));
    }

    #[test]
    fn plugins_come_change_and_go_with_the_configuration() {
        let mut node = Node::started(&[("spread", ""), ("level", "mode = \"shadow\"")]);

        let changed = "mode = \"shadow\"\nsettings = { margin_percent = 40 }\nweight = 3";
        let list = node.told_again(&told(&[("binpack", ""), ("level", changed)]));

        assert_eq!(names(&list), ["binpack", "level"]);
        // Nobody acted on it, so it is not tried out first.
        assert_eq!(list[1].weight, 3);
    }

    #[test]
    fn other_settings_of_a_policy_that_counts_are_tried_out_first() {
        let mut node = Node::started(&[("spread", "")]);

        let list = node.told_again(&told(&[("spread", "weight = 3")]));

        assert_eq!((list.len(), list[0].weight), (1, 1));
        let trial = list[0].trial.as_ref().unwrap();
        assert_eq!((trial.decisions, &trial.digest), (0, &list[0].loaded.digest));
    }

    #[test]
    fn a_broken_configuration_changes_nothing() {
        let mut node = Node::started(&[("spread", "weight = 2")]);
        for broken in ["[[plugin", "moons = 2", "[[plugin]]\npath = \"nowhere.wasm\""] {
            let list = node.told_again(broken);
            assert_eq!((names(&list), list[0].weight), (vec!["spread"], 2), "{broken}");
            assert_eq!(list[0].trial, None, "{broken}");
        }
        // What cannot be loaded keeps nobody else from changing.
        let list = node.told_again(&told(&[
            ("spread", "weight = 2\nsettings = { moons = 2 }"),
            ("binpack", ""),
        ]));
        assert_eq!(names(&list), ["spread", "binpack"]);
        assert!(list[0].refused.is_some(), "{list:?}");
    }
}
