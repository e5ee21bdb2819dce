//! The node's bridge network: every container of the node is on it, and its gateway is where the node's proxy answers.

use std::{fs, net::IpAddr, path::PathBuf};

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};
use flocker_ports::EngineError;

use crate::{DockerEngine, connection::is_status, labels};

/// How long the kernel waits before it asks again who has a container's address, in milliseconds. Its default is a
/// second, and so long clients would wait for a container that ended and is up again: the one question that was asked
/// in between was heard by nobody, and nothing is sent until the next.
const NEIGHBOUR_RETRY_MS: &str = "50";

impl DockerEngine {
    /// Makes the node's network, or finds it; answers the node's own address on it.
    ///
    /// # Errors
    /// [`EngineError::Failed`] when a network of that name is not ours or has another address than the configured one,
    /// and when Docker refuses the subnet; [`EngineError::Unreachable`] without Docker.
    pub async fn ensure_network(&self) -> Result<IpAddr, EngineError> {
        // Docker would make two networks of one name.
        let _alone = self.network.lock().await;
        if let Some(gateway) = self.find_network().await? {
            return Ok(gateway);
        }
        let name = labels::network(&self.config.node);
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            labels: Some([(labels::NODE.to_owned(), self.config.node.to_string())].into()),
            ipam: self.config.subnet.map(|subnet| Ipam {
                config: Some(vec![IpamConfig {
                    subnet: Some(subnet.cidr()),
                    gateway: Some(subnet.gateway.to_string()),
                    ..IpamConfig::default()
                }]),
                ..Ipam::default()
            }),
            ..NetworkCreateRequest::default()
        };
        let docker = self.connection.docker().await?;
        let made = docker.create_network(request).await;
        made.map_err(|error| self.connection.error(format!("make network `{name}`"), error))?;
        tracing::info!(network = name, "made the node's network");
        self.find_network().await?.ok_or_else(|| self.network_failed("it has no gateway"))
    }

    /// Removes the node's network. No effect when there is none.
    ///
    /// # Errors
    /// [`EngineError::Failed`] while containers are on it, or when it is not ours.
    pub async fn remove_network(&self) -> Result<(), EngineError> {
        let _alone = self.network.lock().await;
        if self.find_network().await?.is_none() {
            return Ok(());
        }
        let name = labels::network(&self.config.node);
        match self.connection.docker().await?.remove_network(&name).await {
            Ok(()) => Ok(()),
            Err(error) if is_status(&error, 404) => Ok(()),
            Err(error) => Err(self.connection.error(format!("remove network `{name}`"), error)),
        }
    }

    /// The node's own address on its network; `None` when there is no network yet.
    ///
    /// # Errors
    /// As [`DockerEngine::ensure_network`].
    pub async fn find_network(&self) -> Result<Option<IpAddr>, EngineError> {
        let name = labels::network(&self.config.node);
        let docker = self.connection.docker().await?;
        let network = match docker.inspect_network(&name, None).await {
            Ok(network) => network,
            Err(error) if is_status(&error, 404) => return Ok(None),
            Err(error) => {
                return Err(self.connection.error(format!("look at network `{name}`"), error));
            }
        };
        let questions = neighbour_retry(&network);
        let labels = network.labels.unwrap_or_default();
        if labels.get(labels::NODE).map(String::as_str) != Some(self.config.node.as_str()) {
            return Err(self.network_failed(&format!(
                "it was made by someone else\nhint: `docker network rm {name}` removes it, when nobody needs it"
            )));
        }
        let pools = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let gateway: Option<IpAddr> =
            pools.iter().find_map(|pool| pool.gateway.as_ref()?.parse().ok());
        let gateway = gateway.ok_or_else(|| self.network_failed("it has no gateway"))?;
        match self.config.subnet {
            Some(subnet) if subnet.gateway != gateway => Err(self.network_failed(&format!(
                "its gateway is {gateway}, and this node's address is {}\nhint: `docker network rm {name}`, once no \
                 container is on it, lets it be made anew",
                subnet.gateway
            ))),
            Some(_) | None => {
                for question in questions {
                    // Slower without it, and not worse: another engine may call its bridges otherwise.
                    if let Err(error) = fs::write(&question, NEIGHBOUR_RETRY_MS) {
                        tracing::debug!(path = %question.display(), %error, "restarts will be noticed later");
                    }
                }
                Ok(Some(gateway))
            }
        }
    }

    fn network_failed(&self, reason: &str) -> EngineError {
        let action = format!("could not use network `{}`", labels::network(&self.config.node));
        EngineError::Failed { action, reason: reason.to_owned() }
    }
}

/// The kernel's settings of the network's bridge, which Docker calls after the network's id.
fn neighbour_retry(network: &NetworkInspect) -> Vec<PathBuf> {
    let Some(id) = network.id.as_deref().and_then(|id| id.get(..12)) else { return Vec::new() };
    let setting = |version| format!("/proc/sys/net/{version}/neigh/br-{id}/retrans_time_ms");
    ["ipv4", "ipv6"].map(setting).map(PathBuf::from).into()
}
