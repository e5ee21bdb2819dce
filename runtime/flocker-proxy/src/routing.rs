//! Decides, for one connection at a time, where it is led, whether it may stay, and whether this node answers for it.
//! Pure: everything it looks at is an argument.

use std::{fmt, net::SocketAddr, time::Duration};

use flocker_model::{Epoch, NodeName, OperationId, Route, RouteTable, ServiceKey, Timestamp};

use crate::wire::Answer;

/// What this node answers itself: the app's container, and the epoch under which it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// The epoch.
    pub epoch: Epoch,
    /// The container.
    pub address: SocketAddr,
}

/// Everything a decision about one service depends on.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// This node.
    pub node: &'a NodeName,
    /// The newest routes.
    pub table: &'a RouteTable,
    /// The service.
    pub service: &'a ServiceKey,
    /// What this node answers itself.
    pub served: Option<Served>,
}

/// Where a connection was led. It may stay while the same decision would be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// The owner.
    pub node: NodeName,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The next hop.
    pub hop: Hop,
}

/// The next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// The container, on this node.
    Container(SocketAddr),
    /// The owner's proxy.
    Mesh(SocketAddr),
}

/// Why a connection is not led anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stay {
    /// Hold it: this will pass.
    Hold(Hold),
    /// Refuse it.
    Refuse(Refusal),
}

/// What a held connection waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The end of an operation, which may take this long still.
    Parked { operation: OperationId, left: Duration },
    /// The app to be started on this node, which owns it.
    NotServed,
    /// The table to name the owner's mesh address.
    NoMesh { node: NodeName },
}

/// Why a connection is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The route says so.
    Down { reason: String },
    /// There is no such service any more.
    Gone,
    /// The operation that parked the service should have ended.
    Overdue { operation: OperationId },
}

/// What happens to a connection that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Keep,
    /// It may hear the answer that is on its way, and is closed then.
    Quiesce,
    /// It leads to someone who may no longer answer: it ends now.
    Cut,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parked { operation, .. } => write!(f, "operation `{operation}` parks it"),
            Self::NotServed => f.write_str("its container on this node is not ready"),
            Self::NoMesh { node } => {
                write!(f, "the route table has no mesh address for its owner, node `{node}`")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down { reason } => write!(f, "it is down: {reason}"),
            Self::Gone => f.write_str("it was removed"),
            Self::Overdue { operation } => {
                write!(f, "operation `{operation}` has parked it for too long")
            }
        }
    }
}

impl View<'_> {
    fn route(&self) -> Option<&Route> {
        self.table.services.get(self.service).map(|service| &service.route)
    }

    fn served_under(&self, epoch: Epoch) -> Option<Served> {
        self.served.filter(|served| served.epoch == epoch)
    }

    /// Where a client's connection is led.
    ///
    /// # Errors
    /// [`Stay`] when it cannot be led anywhere at the moment `now`.
    pub fn lead(&self, now: Timestamp, clock_skew_max: Duration) -> Result<Lead, Stay> {
        let hop = match self.route() {
            None => return Err(Stay::Refuse(Refusal::Gone)),
            Some(Route::Down { reason }) => {
                return Err(Stay::Refuse(Refusal::Down { reason: reason.clone() }));
            }
            Some(Route::Parked { operation, deadline }) => {
                let left = (*deadline + clock_skew_max).since(now);
                let operation = operation.clone();
                return Err(if left.is_zero() {
                    Stay::Refuse(Refusal::Overdue { operation })
                } else {
                    Stay::Hold(Hold::Parked { operation, left })
                });
            }
            Some(Route::Active { node, epoch }) if node == self.node => self
                .served_under(*epoch)
                .map(|served| (node, epoch, Hop::Container(served.address)))
                .ok_or(Hold::NotServed),
            Some(Route::Active { node, epoch }) => {
                let mesh =
                    self.table.mesh.get(node).map(|address| (node, epoch, Hop::Mesh(*address)));
                mesh.ok_or_else(|| Hold::NoMesh { node: node.clone() })
            }
        };
        let (node, epoch, hop) = hop.map_err(Stay::Hold)?;
        Ok(Lead { node: node.clone(), epoch: *epoch, hop })
    }

    /// Whether this node takes over a connection that another node leads here under `epoch`.
    ///
    /// # Errors
    /// The answer for the other node when it does not.
    pub fn take_over(&self, epoch: Epoch) -> Result<Lead, Answer> {
        match self.route() {
            // The other's table is ahead of ours, or ours is ahead of the other's; both will agree soon.
            Some(Route::Active { epoch: current, .. }) if epoch > *current => {
                Err(Answer::Unavailable)
            }
            Some(Route::Active { epoch: current, .. }) if epoch < *current => Err(Answer::Moved),
            Some(Route::Active { node, .. }) if node == self.node => match self.served_under(epoch)
            {
                Some(Served { address, .. }) => {
                    Ok(Lead { node: node.clone(), epoch, hop: Hop::Container(address) })
                }
                None => Err(Answer::Unavailable),
            },
            Some(Route::Active { .. }) | None => Err(Answer::Moved),
            // A proxy that missed the park still leads here under an epoch that is not over yet. The app is about to be
            // stopped, or not allowed to run yet, so whoever comes must wait.
            Some(Route::Parked { .. } | Route::Down { .. }) => Err(Answer::Unavailable),
        }
    }

    /// What happens to a connection that was led there before.
    #[must_use]
    pub fn fate(&self, lead: &Lead) -> Fate {
        match self.route() {
            Some(Route::Parked { .. }) if self.reaches(lead) => Fate::Quiesce,
            Some(Route::Active { node, epoch })
                if *node == lead.node && *epoch == lead.epoch && self.reaches(lead) =>
            {
                Fate::Keep
            }
            Some(Route::Parked { .. } | Route::Active { .. } | Route::Down { .. }) | None => {
                Fate::Cut
            }
        }
    }

    /// Whether the container is still the one that answers here. Another node's is that node's business.
    fn reaches(&self, lead: &Lead) -> bool {
        match lead.hop {
            Hop::Container(address) => self.served == Some(Served { epoch: lead.epoch, address }),
            Hop::Mesh(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use flocker_model::{AppName, Revision, ServiceName, ServiceRoute};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const SKEW: Duration = Duration::from_secs(5);

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn active(name: &str, epoch: u64) -> Option<Route> {
        Some(Route::Active { node: node(name), epoch: Epoch(epoch) })
    }

    fn parked(deadline: Timestamp) -> Option<Route> {
        Some(Route::Parked { operation: OperationId::new("op-1").unwrap(), deadline })
    }

    fn down() -> Option<Route> {
        Some(Route::Down { reason: "it was never placed".to_owned() })
    }

    fn container() -> SocketAddr {
        "10.0.0.2:6379".parse().unwrap()
    }

    fn mesh() -> SocketAddr {
        "192.0.2.2:7300".parse().unwrap()
    }

    fn served(epoch: u64) -> Option<Served> {
        Some(Served { epoch: Epoch(epoch), address: container() })
    }

    /// Looks at one service from node `a`, where node `b` has a mesh address and `c` has none.
    fn seen<T>(
        route: Option<Route>,
        served: Option<Served>,
        look: impl FnOnce(View<'_>) -> T,
    ) -> T {
        let service = ServiceKey {
            app: AppName::new("shop").unwrap(),
            service: ServiceName::new("redis").unwrap(),
        };
        let services = route
            .map(|route| (service.clone(), ServiceRoute { host_ip: None, port: 6379, route }))
            .into_iter()
            .collect();
        let table = RouteTable {
            revision: Revision(1),
            services,
            mesh: BTreeMap::from([(node("b"), mesh())]),
        };
        look(View { node: &node("a"), table: &table, service: &service, served })
    }

    fn lead(name: &str, epoch: u64, hop: Hop) -> Lead {
        Lead { node: node(name), epoch: Epoch(epoch), hop }
    }

    #[test]
    fn a_client_is_led_to_the_owner_and_waits_for_one_that_is_not_ready() {
        let here = lead("a", 3, Hop::Container(container()));
        let there = lead("b", 3, Hop::Mesh(mesh()));
        let operation = OperationId::new("op-1").unwrap();
        for (name, route, served, expected) in [
            ("here", active("a", 3), served(3), Ok(here)),
            ("here, not started", active("a", 3), None, Err(Stay::Hold(Hold::NotServed))),
            ("here, older container", active("a", 3), served(2), Err(Stay::Hold(Hold::NotServed))),
            ("there", active("b", 3), served(2), Ok(there)),
            (
                "nowhere known",
                active("c", 3),
                None,
                Err(Stay::Hold(Hold::NoMesh { node: node("c") })),
            ),
            ("gone", None, served(3), Err(Stay::Refuse(Refusal::Gone))),
            (
                "down",
                down(),
                served(3),
                Err(Stay::Refuse(Refusal::Down { reason: "it was never placed".to_owned() })),
            ),
            (
                "parked",
                parked(NOW + Duration::from_secs(2)),
                served(3),
                Err(Stay::Hold(Hold::Parked {
                    operation: operation.clone(),
                    left: Duration::from_secs(7),
                })),
            ),
            (
                "parked by a clock that is behind",
                parked(Timestamp(NOW.0 - 4000)),
                served(3),
                Err(Stay::Hold(Hold::Parked {
                    operation: operation.clone(),
                    left: Duration::from_secs(1),
                })),
            ),
            (
                "parked for too long",
                parked(Timestamp(NOW.0 - 5000)),
                served(3),
                Err(Stay::Refuse(Refusal::Overdue { operation: operation.clone() })),
            ),
        ] {
            assert_eq!(seen(route, served, |view| view.lead(NOW, SKEW)), expected, "{name}");
        }
    }

    #[test]
    fn another_nodes_connection_is_taken_over_only_under_the_epoch_that_is_served() {
        for (name, route, served, epoch, expected) in [
            ("right", active("a", 3), served(3), 3, None),
            ("older than ours", active("a", 3), served(3), 2, Some(Answer::Moved)),
            ("newer than ours", active("a", 3), served(3), 4, Some(Answer::Unavailable)),
            ("not started yet", active("a", 3), None, 3, Some(Answer::Unavailable)),
            ("an older container", active("a", 3), served(2), 3, Some(Answer::Unavailable)),
            ("someone else's", active("b", 3), served(3), 3, Some(Answer::Moved)),
            ("someone else's next", active("b", 3), served(4), 4, Some(Answer::Unavailable)),
            ("parked", parked(NOW), served(3), 3, Some(Answer::Unavailable)),
            ("down", down(), served(3), 3, Some(Answer::Unavailable)),
            ("unknown", None, served(3), 3, Some(Answer::Moved)),
        ] {
            let answer = seen(route, served, |view| view.take_over(Epoch(epoch)));

            assert_eq!(answer.err(), expected, "{name}");
        }
    }

    #[test]
    fn a_connection_stays_only_while_it_would_be_led_there_again() {
        let here = lead("a", 3, Hop::Container(container()));
        let there = lead("b", 3, Hop::Mesh(mesh()));
        for (name, route, served, lead, expected) in [
            ("unchanged", active("a", 3), served(3), &here, Fate::Keep),
            ("unchanged there", active("b", 3), None, &there, Fate::Keep),
            ("parked", parked(NOW), served(3), &here, Fate::Quiesce),
            ("parked there", parked(NOW), None, &there, Fate::Quiesce),
            ("parked and withdrawn", parked(NOW), None, &here, Fate::Cut),
            ("withdrawn", active("a", 3), None, &here, Fate::Cut),
            ("another epoch", active("b", 4), None, &there, Fate::Cut),
            ("another owner", active("a", 3), served(3), &there, Fate::Cut),
            ("down", down(), served(3), &here, Fate::Cut),
            ("gone", None, served(3), &here, Fate::Cut),
        ] {
            assert_eq!(seen(route, served, |view| view.fate(lead)), expected, "{name}");
        }
    }
}
