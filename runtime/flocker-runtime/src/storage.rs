//! The storage of this node: a pool on btrfs or ZFS, or what a plugin drives. Plugins and ZFS are opened before anything is
//! made on the machine, for opening them mounts nothing.

use std::sync::Arc;

use anyhow::Context as _;
use flocker_btrfs::PoolConfig;
use flocker_plugins::{BackendConfig, BackendLimits, PluginBackend};
use flocker_zfs::{PoolFile, ZfsBackend, ZfsConfig};

use crate::config::{BackendPlugin, Config, Pool};

/// Storage as far as it is there before the machine was touched.
#[derive(Debug, Clone)]
pub(crate) enum Storage {
    /// A pool that is still to be opened.
    Pool(PoolConfig),
    /// Datasets on ZFS.
    Zfs(Arc<ZfsBackend>),
    /// A plugin that runs.
    Plugin(Arc<PluginBackend>),
}

impl Storage {
    /// Loads and starts the plugin, where one is this node's storage.
    pub(crate) async fn prepare(config: &Config) -> anyhow::Result<Self> {
        Ok(match &config.pool {
            Pool::Btrfs(folder) => Self::Pool(PoolConfig::Filesystem(folder.clone())),
            Pool::File(path) => Self::Pool(PoolConfig::File {
                state_dir: config.state_dir.clone(),
                path: path.clone(),
                size: config.pool_size,
            }),
            Pool::Zfs(parent) => Self::Zfs(Arc::new(open_zfs(parent.clone(), config).await?)),
            Pool::ZfsFile(path) => {
                let file = PoolFile { path: path.clone(), size: config.pool_size };
                let pool = file.ensure().await.context("could not open the pool")?;
                Self::Zfs(Arc::new(open_zfs(parent_in(&pool), config).await?))
            }
            Pool::Plugin(plugin) => {
                let opened = open(plugin, config).await;
                Self::Plugin(Arc::new(opened.context("could not open the storage")?))
            }
        })
    }

    pub(crate) fn plugin(&self) -> Option<Arc<PluginBackend>> {
        match self {
            Self::Plugin(plugin) => Some(plugin.clone()),
            Self::Pool(_) | Self::Zfs(_) => None,
        }
    }
}

/// The dataset of ours in a pool of our own.
pub(crate) fn parent_in(pool: &str) -> String {
    format!("{pool}/flocker")
}

async fn open_zfs(parent: String, config: &Config) -> anyhow::Result<ZfsBackend> {
    let opened = ZfsBackend::open(ZfsConfig {
        parent,
        mounts: std::path::absolute(&config.state_dir)?.join("zfs"),
        helper: config.zfs_helper.clone(),
        secrets: config.secrets_dir.clone(),
        zfs: None,
    });
    opened.await.context("could not open the pool")
}

async fn open(plugin: &BackendPlugin, config: &Config) -> anyhow::Result<PluginBackend> {
    let state_dir = std::path::absolute(&config.state_dir)?;
    let BackendPlugin { path, settings, grants } = plugin.clone();
    let opened = PluginBackend::open(BackendConfig {
        path,
        settings,
        grants,
        state_dir: state_dir.join("backend"),
        cache: Some(state_dir.join("plugin-cache")),
        limits: BackendLimits::default(),
        signed_by: config.signed_by.clone(),
    });
    Ok(opened.await?)
}

/// Takes a plugin's mounts away. Containers keep what they see; a mount is made again when it is needed.
pub(crate) async fn close(plugin: Arc<PluginBackend>) {
    match tokio::task::spawn_blocking(move || plugin.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "mounts of volumes stay"),
        Err(error) => tracing::warn!(%error, "mounts of volumes may stay"),
    }
}
