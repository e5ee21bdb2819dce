//! The route table, as a function of the cluster's records. Every node computes the same one from the same revision.

use std::{collections::BTreeMap, time::Duration};

use flocker_model::{
    App, AppRecord, AppState, Node, Operation, OperationId, Revision, Route, RouteTable,
    ServiceKey, ServiceRoute,
};

use crate::phases::parks;

/// A held connection is bounded by the proxy's own budget; this only ends a park that nobody will ever end.
const PARK_MAX: Duration = Duration::from_secs(3600);

/// The table for these records. `app_of` reads an app's manifest; an app whose manifest cannot be read has no routes.
#[must_use]
pub fn route_table<'a>(
    revision: Revision,
    nodes: impl IntoIterator<Item = &'a Node>,
    apps: impl IntoIterator<Item = (&'a AppRecord, &'a App)>,
    operations: &BTreeMap<OperationId, Operation>,
) -> RouteTable {
    let mut table = RouteTable { revision, ..RouteTable::default() };
    table.mesh.extend(nodes.into_iter().map(|n| (n.name.clone(), n.mesh)));
    for (record, app) in apps {
        let operation = record.operation.as_ref().and_then(|id| operations.get(id));
        let Some(route) = route(record, operation) else { continue };
        for service in &app.services {
            let key = ServiceKey { app: record.name.clone(), service: service.name.clone() };
            let entry =
                ServiceRoute { host_ip: service.host_ip, port: service.port, route: route.clone() };
            table.services.insert(key, entry);
        }
    }
    table
}

fn route(record: &AppRecord, operation: Option<&Operation>) -> Option<Route> {
    match (record.state, operation, &record.owner) {
        (AppState::Removing, _, _) => None,
        (AppState::Deployed, Some(operation), _) if parks(operation) => Some(Route::Parked {
            operation: operation.id.clone(),
            deadline: operation.parked.unwrap_or(operation.started) + PARK_MAX,
        }),
        (AppState::Deployed, _, Some(owner)) => {
            Some(Route::Active { node: owner.clone(), epoch: record.epoch })
        }
        (AppState::Deployed, _, None) => None,
    }
}

/// Two apps may not publish the same port: the services of `app` that another app has already, with that app.
#[must_use]
pub fn port_conflicts<'a>(
    app: &App,
    others: impl IntoIterator<Item = &'a App>,
) -> Vec<(u16, flocker_model::AppName)> {
    let mut taken = BTreeMap::new();
    for other in others {
        if other.name != app.name {
            taken.extend(other.services.iter().map(|s| (s.port, (s.host_ip, other.name.clone()))));
        }
    }
    let clash = |s: &flocker_model::Service| {
        let (host_ip, other) = taken.get(&s.port)?;
        let same = s.host_ip.is_none() || host_ip.is_none() || s.host_ip == *host_ip;
        same.then(|| (s.port, other.clone()))
    };
    app.services.iter().filter_map(clash).collect()
}
