//! A node is emptied, and apps are removed with everything that was theirs.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use scenarios::{Client, Cluster, NAMES, scenario, until};

const APPS: [(&str, u16); 2] = [("shop", 7000), ("wiki", 7001)];

#[test]
fn a_drained_node_is_empty_and_a_removed_app_leaves_nothing() -> Result<()> {
    scenario(3, |cluster| {
        // Both begin on one node; where they go is for the policy to say.
        let mut clients = Vec::new();
        for (app, port) in APPS {
            if cluster.deploy(app, port, &["n2", "n3"])? != "n2" {
                cluster.flocker().move_to(app, "n2")?;
            }
            clients.push(Client::start(cluster.door("n1", port)?));
        }
        drain(cluster, &clients).context("draining")?;
        drop(clients);
        remove(cluster).context("removing")
    })
}

fn drain(cluster: &mut Cluster, clients: &[Client]) -> Result<()> {
    let flocker = cluster.flocker();
    flocker.ask(&["node", "drain", "n2", "--timeout", "120s"])?;
    for (app, _) in APPS {
        let node = cluster.only_container(app)?.node;
        ensure!(node == "n3", "{app} went to {node}");
    }
    clients.iter().try_for_each(Client::check)?;
    let refused = flocker.try_ask(&["move", "shop", "--to", "n2"])?;
    ensure!(refused.stderr.contains("undrain"), "no way out is named: {}", refused.stderr);

    flocker.ask(&["node", "undrain", "n2"])?;
    let back = flocker.move_to("shop", "n2")?;
    ensure!(back.state == "done", "the way back ended as {back:?}");
    clients.iter().try_for_each(Client::check)
}

fn remove(cluster: &mut Cluster) -> Result<()> {
    let flocker = cluster.flocker();
    for (app, _) in APPS {
        let kept = flocker.try_ask(&["app", "rm", app, "--volumes"])?;
        ensure!(kept.status == Some(1), "data was removed, and nobody was asked");
        flocker.ask(&["app", "rm", app, "--volumes", "--yes", "--timeout", "60s"])?;
    }
    ensure!(flocker.names("app")?.is_empty(), "apps are left: {:?}", flocker.names("app")?);
    ensure!(
        flocker.names("volume")?.is_empty(),
        "volumes are left: {:?}",
        flocker.names("volume")?
    );
    for name in NAMES {
        let pool = cluster.node(name)?.pool();
        until(&format!("the pool of {name} to be empty"), || {
            let left = contents(&pool)?;
            ensure!(left.is_empty(), "it holds {left:?}");
            Ok(Some(()))
        })?;
    }
    until("the containers to be gone", || {
        let left = cluster.docker.all_containers()?;
        ensure!(left.is_empty(), "{left:#?}");
        Ok(Some(()))
    })
}

/// Everything that belongs to a volume; the pool keeps a reserve for itself.
fn contents(pool: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["live", "staging", "snapshots", "groups", "incoming", "kept", "meta"] {
        for entry in fs::read_dir(pool.join(folder))? {
            found.push(format!("{folder}/{}", entry?.file_name().display()));
        }
    }
    found.retain(|path| path != "meta/reserve");
    Ok(found)
}
