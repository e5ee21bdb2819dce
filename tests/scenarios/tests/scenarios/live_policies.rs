//! Where apps go is for the policy to say: the same apps on the same nodes land differently under another one, and each
//! decision says why.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use scenarios::{Cluster, plugin, say, scenario};
use serde_json::Value;

const NODES: [&str; 2] = ["n1", "n2"];
const APPS: [(&str, u16); 2] = [("shop", 7000), ("wiki", 7001)];

#[test]
fn another_policy_gives_another_placement_and_says_why() -> Result<()> {
    scenario(NODES.len(), |cluster| {
        // The second app goes to the node that is empty, or to the one that is not.
        for (name, n_nodes, neighbours) in [("spread", 2, 0), ("binpack", 1, 1)] {
            placed(cluster, name, n_nodes, neighbours)
                .with_context(|| format!("under the policy `{name}`"))?;
        }
        Ok(())
    })
}

/// Both apps are placed under the policy, on so many nodes, the second beside so many others; and removed again.
fn placed(cluster: &mut Cluster, name: &str, n_nodes: usize, neighbours: usize) -> Result<()> {
    let leader = cluster.node("n1")?;
    leader.stop()?;
    leader.set(&["--plugin", &plugin(name)?.display().to_string()]);
    leader.start()?;
    cluster.all_alive()?;

    let mut nodes = BTreeSet::new();
    for (app, port) in APPS {
        nodes.insert(cluster.deploy(app, port, &NODES)?);
    }
    ensure!(nodes.len() == n_nodes, "the apps are on {nodes:?}");
    explained(cluster, name, neighbours)?;
    for (app, _) in APPS {
        cluster.flocker().ask(&["app", "rm", app, "--volumes", "--yes", "--timeout", "60s"])?;
    }
    Ok(())
}

/// The decision about the second app names the policy, and the reason why the chosen node is the better one.
fn explained(cluster: &Cluster, name: &str, neighbours: usize) -> Result<()> {
    let (app, _) = APPS[1];
    let flocker = cluster.flocker();
    let owner = flocker.owner(app)?.with_context(|| format!("{app} has no node"))?;
    let why = flocker.ask(&["explain", app])?;
    let text = why["text"].as_str().context("there is no text for people")?;
    say(text);

    ensure!(why["decided_by"] == "policies" && why["chosen"] == owner.as_str(), "{why:#}");
    let asked = why["consulted"][0]["policy"].as_str().unwrap_or_default();
    ensure!(asked.starts_with(name), "`{asked}` was asked: {why:#}");
    let [first, second] = [&why["candidates"][0], &why["candidates"][1]];
    let score = |candidate: &Value| candidate["score"].as_u64();
    ensure!(first["node"] == owner.as_str() && score(first) > score(second), "{why:#}");
    let reason = format!("{neighbours} other apps");
    ensure!(first["reasons"].to_string().contains(&reason), "no `{reason}`: {why:#}");
    ensure!(text.contains(&reason), "people are not told `{reason}`: {text}");
    Ok(())
}
