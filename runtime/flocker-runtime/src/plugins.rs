//! Plugins as the operator configured them: policies are loaded at the start, and what is configured and their files
//! again at SIGHUP.

use std::{sync::Arc, time::Duration};

use flocker_plugins::{Configured, HostConfig, PluginBackend, PluginHost, RecordsConfig, Reloaded};
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

/// Loads every policy, or none: a node does not start with other policies than it was told.
pub(crate) async fn load(config: &Config) -> anyhow::Result<Arc<PluginHost>> {
    let state_dir = std::path::absolute(&config.state_dir)?;
    let records = RecordsConfig { folder: state_dir.join("records"), bytes_max: RECORDS_BYTES_MAX };
    let host_config = HostConfig {
        cache: Some(state_dir.join("plugin-cache")),
        records: Some(records),
        signed_by: config.signed_by.clone(),
        ..HostConfig::default()
    };
    let wanted = config.policies.clone();
    // Compiling a component takes its time, and a plugin's own start may use its whole budget.
    tokio::task::spawn_blocking(move || {
        let host = PluginHost::new(host_config)?;
        for plugin in wanted {
            host.load(&plugin)?;
        }
        Ok(Arc::new(host))
    })
    .await?
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
