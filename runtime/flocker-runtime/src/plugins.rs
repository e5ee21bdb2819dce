//! Plugins as the operator configured them: policies are loaded at the start, and their files again at SIGHUP.

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

/// Reads the files of the plugins again whenever the daemon is sent SIGHUP, and lets new builds count when their time has
/// come. A file that cannot be used changes nothing, and neither does a storage backend's: it is not swapped under
/// volumes that are in use.
pub(crate) async fn reload_at_hangup(
    mut hangup: Signal,
    plugins: Plugins,
    configured: Vec<Configured>,
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
        let (plugins, configured) = (plugins.clone(), configured.clone());
        let reloaded = tokio::task::spawn_blocking(move || reload(&plugins, &configured)).await;
        if let Err(error) = reloaded {
            tracing::error!(%error, "plugins could not be read again");
        }
    }
}

fn reload(plugins: &Plugins, configured: &[Configured]) {
    if let Some(backend) = &plugins.backend {
        look_again(backend);
    }
    for plugin in configured {
        match plugins.policies.reload(plugin, SystemClock.now()) {
            // The host says so itself.
            Ok(Reloaded::Waiting | Reloaded::Replaced { .. }) => {}
            Ok(Reloaded::Unchanged) => {
                tracing::info!(plugin = %plugin.path.display(), "the plugin's file is the same");
            }
            Err(error) => tracing::error!(%error, "the plugin stays as it is"),
        }
    }
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
