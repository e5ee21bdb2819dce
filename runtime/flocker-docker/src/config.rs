//! What the daemon tells the engine about its node.

use std::{net::IpAddr, path::PathBuf};

use flocker_model::NodeName;

/// How to reach Docker, and what belongs to this node.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// Docker's unix socket.
    pub socket: PathBuf,
    /// This node: its name is on everything that is ours.
    pub node: NodeName,
    /// Where the gates' folders are kept; only root may enter it.
    pub state_dir: PathBuf,
    /// The gate: a static program, copied into the reach of each container.
    pub gate: PathBuf,
    /// The node's bridge network; `None` lets Docker choose.
    pub subnet: Option<Subnet>,
}

/// A network whose gateway is the node's own address on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// The node's address, where its proxy listens.
    pub gateway: IpAddr,
    /// How many bits of it name the network.
    pub prefix: u8,
}

impl Subnet {
    /// The network in CIDR notation, as Docker wants it: the gateway's address without its host bits.
    #[must_use]
    pub fn cidr(&self) -> String {
        let network = match self.gateway {
            IpAddr::V4(address) => {
                let mask =
                    u32::MAX.checked_shl(32_u32.saturating_sub(self.prefix.into())).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask =
                    u128::MAX.checked_shl(128_u32.saturating_sub(self.prefix.into())).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        };
        format!("{network}/{}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_its_gateway_without_host_bits() {
        for (gateway, prefix, cidr) in [
            ("10.88.3.1", 24, "10.88.3.0/24"),
            ("10.88.3.129", 25, "10.88.3.128/25"),
            ("10.88.3.1", 0, "0.0.0.0/0"),
            ("10.88.3.1", 32, "10.88.3.1/32"),
            ("fd00:1::1", 64, "fd00:1::/64"),
        ] {
            assert_eq!(Subnet { gateway: gateway.parse().unwrap(), prefix }.cidr(), cidr);
        }
    }
}
