//! A cluster whose policies are signed, as its operator sees it: what nobody signed is refused, a new build earns its place
//! while apps are used, and of a node that died is told what policies make of it.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use hostile::POLICIES;
use minisign::KeyPair;
use scenarios::{Client, Cluster, Daemon, LIMIT, plugin, say, scenario_with, until, within};
use serde_json::Value;
use tempfile::TempDir;

const APP: &str = "shop";
const PORT: u16 = 7000;
const NEIGHBOUR: &str = "wiki";
const NODES: [&str; 2] = ["n1", "n2"];

/// Decisions that a new build makes in shadow before it counts.
const WANTED: u64 = 20;

/// Plugins that somebody signs, in files that are replaced as installers do it.
struct Shelf {
    folder: TempDir,
    keys: KeyPair,
}

impl Shelf {
    fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, keys: KeyPair::generate_unencrypted_keypair()? })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.wasm"))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        replace(&self.file(name), bytes)
    }

    fn put_signed(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let signed = minisign::sign(None, &self.keys.sk, Cursor::new(bytes), None, None)?;
        replace(&self.file(name).with_extension("wasm.minisig"), &signed.to_bytes())?;
        self.put(name, bytes)
    }

    /// The configuration of a node that asks these policies, if they are signed.
    fn config(&self, names: &[&str]) -> Result<PathBuf> {
        let mut config = format!("require-signed = \"{}\"\n", self.keys.pk.to_base64());
        for name in names {
            let path = self.file(name);
            config += &format!("[[plugin]]\npath = \"{}\"\n", path.display());
        }
        config += "limits = { fuel = \"2G\" }\n";
        let file = self.folder.path().join(format!("{}.toml", names.join("-")));
        fs::write(&file, config)?;
        Ok(file)
    }
}

fn replace(file: &Path, bytes: &[u8]) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, bytes)?;
    Ok(fs::rename(new, file)?)
}

fn build(name: &str) -> Result<Vec<u8>> {
    Ok(fs::read(plugin(name)?)?)
}

#[test]
fn signed_policies_are_upgraded_under_load_and_tell_of_a_node_that_died() -> Result<()> {
    let shelf = Shelf::new()?;
    shelf.put("stray", &build("spread")?)?;
    shelf.put_signed("policy", &build("spread")?)?;
    shelf.put_signed("careful", &build("careful")?)?;
    let config = shelf.config(&["policy", "careful"])?.display().to_string();
    // Policies are asked about both apps each second, and may move them at once.
    let flags = ["--config", &config, "--rebalance-every", "1", "--rebalance-cooldown", "0"];
    let leads =
        |daemon: Daemon| Ok(if daemon.name == NODES[0] { daemon.with(&flags) } else { daemon });
    scenario_with(NODES.len(), leads, |cluster| {
        unsigned(cluster, &shelf).context("a policy that nobody signed")?;
        cluster.deploy(APP, PORT, &NODES)?;
        cluster.deploy(NEIGHBOUR, PORT + 1, &NODES)?;
        let client = Client::start(cluster.door("n1", PORT)?);
        client.flows(20)?;
        better(cluster, &shelf, &client).context("a better build")?;
        worse(cluster, &shelf, &client).context("a worse build")?;
        died(cluster, &shelf, &client).context("a node that died")
    })
}

/// The daemon ends before it made anything, and says what it missed.
fn unsigned(cluster: &Cluster, shelf: &Shelf) -> Result<()> {
    let config = shelf.config(&["stray"])?.display().to_string();
    let mut daemon = cluster.new_daemon("n3", 2)?.with(&["--config", &config]);
    daemon.start()?;
    let status = daemon.ended()?;
    let said = daemon.said();
    ensure!(!status.success(), "it ended well: {said}");
    for word in ["stray.wasm", "it is not signed: there is no `", "hint: "] {
        ensure!(said.contains(word), "`{word}` is not in: {said}");
    }
    ensure!(!daemon.socket().exists() && !daemon.pool().exists(), "something was made");
    Ok(())
}

/// What `flocker plugin ls` says of the policy that is upgraded: the first one.
fn listed(cluster: &Cluster) -> Result<Value> {
    let said = cluster.flocker().ask(&["plugin", "ls"])?;
    let plugins = said["plugins"].as_array().context("no plugins are listed")?;
    let first = plugins.first().context("no plugins")?;
    ensure!(first["node"] == NODES[0] && first["failures"] == 0, "{first:#}");
    Ok(first.clone())
}

/// `binpack` in the place of `spread` is shadowed, then counts, and does what it said it would: puts the apps together.
fn better(cluster: &mut Cluster, shelf: &Shelf, client: &Client) -> Result<()> {
    let node = |cluster: &Cluster, app: &str| cluster.flocker().owner(app);
    ensure!(node(cluster, APP)? != node(cluster, NEIGHBOUR)?, "`spread` put them together");
    let new = shelf.file("policy");
    shelf.put_signed("policy", &build("binpack")?)?;
    replayed(cluster, &new)?;
    let before = listed(cluster)?;
    ensure!(before["name"] == "spread" && before["next"].is_null(), "{before:#}");

    cluster.node(NODES[0])?.hang_up()?;
    let next = until("the new build to be asked in shadow", || {
        let next = listed(cluster)?["next"].clone();
        Ok((next["decisions"].as_u64() > Some(0)).then_some(next))
    })?;
    ensure!(next["wanted"] == WANTED && next["trouble"].is_null(), "{next:#}");
    let explained = cluster.flocker().ask(&["explain", APP])?;
    ensure!(explained["decided_by"] == "policies", "{explained:#}");
    say(&format!("in shadow: {} of {WANTED} decisions", next["decisions"]));

    // Two apps are too few different decisions: its time must come.
    within(2 * LIMIT, "the new build to count", || {
        let now = listed(cluster)?;
        Ok((now["name"] == "binpack" && now["next"].is_null()).then_some(()))
    })?;
    until("the apps to be together", || {
        let here = node(cluster, APP)?;
        Ok((here == node(cluster, NEIGHBOUR)?).then_some(()))
    })?;
    let lost = cluster.node(NODES[0])?.said();
    ensure!(!lost.contains("plugin failed"), "a policy failed meanwhile: {lost}");
    client.check()
}

/// Before it is loaded, an operator sees that it answers otherwise.
fn replayed(cluster: &mut Cluster, file: &Path) -> Result<()> {
    let records = cluster.node(NODES[0])?.state().join("records").display().to_string();
    let file = file.display().to_string();
    let said = cluster.flocker().try_ask(&["plugin", "replay", &file, "--records", &records])?;
    ensure!(said.status == Some(1), "it ended with {:?}: {}", said.status, said.stderr);
    let different = said.json["different"].as_array().map_or(0, Vec::len);
    ensure!(different > 0 && said.stderr.contains("answers differ"), "{}", said.json);
    Ok(())
}

/// A build that traps is found out in shadow, and one that nobody signed is not even asked: the present one goes on.
fn worse(cluster: &mut Cluster, shelf: &Shelf, client: &Client) -> Result<()> {
    let case = POLICIES.iter().find(|case| case.name == "evaluate_traps");
    shelf.put_signed("policy", &case.context("no such case")?.build())?;
    cluster.node(NODES[0])?.hang_up()?;
    let failed = until("the new build to fail", || {
        let now = listed(cluster)?;
        Ok((!now["next"]["trouble"].is_null()).then_some(now))
    })?;
    ensure!(failed["next"]["trouble"].to_string().contains("trap"), "{failed:#}");
    let calls = |plugin: &Value| plugin["calls"].as_u64().unwrap_or_default();
    let later = until("enough decisions for a good one", || {
        let now = listed(cluster)?;
        Ok((calls(&now) > calls(&failed) + WANTED).then_some(now))
    })?;
    ensure!(later["name"] == "binpack" && later["limits"].is_string(), "{later:#}");
    ensure!(later["next"] == failed["next"], "it was asked again: {later:#}");

    fs::remove_file(shelf.file("policy").with_extension("wasm.minisig"))?;
    cluster.node(NODES[0])?.hang_up()?;
    until("the unsigned build to be refused", || {
        let trouble = listed(cluster)?["trouble"].to_string();
        Ok(trouble.contains("it is not signed").then_some(()))
    })?;
    ensure!(listed(cluster)?["name"] == "binpack", "it was loaded");
    client.check()
}

/// The app's node dies with its Docker: people are told since when, what the policy makes of it, and that nothing is
/// promoted; and when both are back, the app goes on with its data.
fn died(cluster: &mut Cluster, shelf: &Shelf, client: &Client) -> Result<()> {
    shelf.put_signed("policy", &build("binpack")?)?;
    let leader = cluster.node(NODES[0])?;
    leader.stop()?;
    // From here on, apps stay where they are put.
    leader.set(&["--rebalance-every", "3600"]);
    leader.start()?;
    cluster.all_alive()?;
    // While it was away, it refused connections.
    client.forgive();
    let home = NODES[1];
    if cluster.flocker().owner(APP)?.as_deref() != Some(home) {
        let moved = cluster.flocker().move_to(APP, home)?;
        ensure!(moved.state == "done", "the move ended as {moved:?}");
    }
    cluster.node(home)?.kill()?;
    cluster.docker.kill()?;

    let text = until("people to be told", || {
        let told = cluster.flocker().ask(&["explain", APP])?;
        let text = told["text"].as_str().unwrap_or_default().to_owned();
        Ok(text.contains("is silent since").then_some(text))
    })?;
    say(&text);
    for word in [
        &format!("app `{APP}`: its node `{home}` is silent since 20"),
        "volume `shop.data`: it waits",
        "careful 0.1.0: wait for",
        "nothing is promoted without fencing",
        &format!("hint: start `{home}` again"),
    ] {
        ensure!(text.contains(word), "`{word}` is not in: {text}");
    }
    ensure!(cluster.flocker().owner(APP)?.as_deref() == Some(home), "it was promoted");

    cluster.docker.launch()?;
    cluster.node(home)?.start()?;
    cluster.all_alive()?;
    cluster.only_container(APP)?;
    // Nobody was there to hold its connections.
    client.flows(1)?;
    client.forgive();
    client.check()
}
