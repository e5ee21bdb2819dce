//! Daemons are killed in the middle of moves and started again: each move ends, nothing that was promised is lost, and
//! exactly one node runs the app.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use flocker_model::Phase;
use scenarios::{Client, Cluster, Daemon, IMAGE, manifest, say, scenario};

const APP: &str = "shop";
const PORT: u16 = 7000;

/// Enough for a copy that can be hit in its middle.
const BALLAST_MIB: u64 = 48;

/// The part that a node has in a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Source,
    Target,
    /// Also holds the store; has no part in the data.
    Leader,
}

#[test]
fn a_move_survives_the_death_of_its_source() -> Result<()> {
    killed(Part::Source, &[Phase::Seed, Phase::Stop, Phase::Seal, Phase::Delta, Phase::Start])
}

#[test]
fn a_move_survives_the_death_of_its_target() -> Result<()> {
    killed(Part::Target, &[Phase::Seed, Phase::Prepare, Phase::Delta, Phase::Promote, Phase::Start])
}

#[test]
fn a_move_survives_the_death_of_the_leader() -> Result<()> {
    killed(
        Part::Leader,
        &[Phase::Prepare, Phase::Park, Phase::Commit, Phase::Start, Phase::Reverse],
    )
}

#[test]
fn a_move_survives_the_death_of_everything() -> Result<()> {
    scenario(3, |cluster| {
        let mut source = cluster.deploy(APP, PORT, &["n2", "n3"])?;
        let client = Client::start(cluster.door("n1", PORT)?);
        for phase in [Phase::Seed, Phase::Stop, Phase::Promote] {
            let target = if source == "n2" { "n3" } else { "n2" };
            everything(cluster, &client, phase, target)
                .with_context(|| format!("everything killed in {phase}"))?;
            source = cluster.only_container(APP)?.node;
        }
        Ok(())
    })
}

/// All daemons and Docker die in the middle of a move, as in a power cut that spares the disks.
fn everything(cluster: &mut Cluster, client: &Client, phase: Phase, target: &str) -> Result<()> {
    let door = cluster.door("n1", PORT)?;
    cluster.fill(door, BALLAST_MIB)?;
    client.check()?;
    let id = cluster.flocker().begin_move(APP, target)?;
    let seen = cluster.sight("n1", &id, phase)?;
    cluster.daemons().iter_mut().try_for_each(Daemon::kill)?;
    cluster.docker.kill()?;
    cluster.docker.launch()?;
    cluster.daemons().iter_mut().try_for_each(Daemon::start)?;

    cluster.all_alive()?;
    let operation = cluster.ended(&id)?;
    cluster.only_container(APP)?;
    // Nobody was there to hold its connections.
    client.flows(1)?;
    client.forgive();
    client.check().with_context(|| format!("after {operation:?}, killed in {seen}"))?;
    say(&format!("everything killed in {seen}: {}", operation.state));
    Ok(())
}

/// While connections are held nobody waits long for a dead node: the move is undone, and what the target has of it is
/// removed when it comes back.
#[test]
fn a_move_whose_target_stays_dead_is_undone() -> Result<()> {
    scenario(3, |cluster| {
        let source = cluster.deploy(APP, PORT, &["n2", "n3"])?;
        let target = if source == "n2" { "n3" } else { "n2" };
        let client = Client::start(cluster.door("n1", PORT)?);
        client.flows(20)?;
        client.mark();
        let before = cluster.only_container(APP)?;
        let id = cluster.flocker().begin_move(APP, target)?;
        let seen = cluster.sight("n1", &id, Phase::Stop)?;
        ensure!(seen < Phase::Commit, "the move was too fast to be hit");
        cluster.node(target)?.kill()?;

        let operation = cluster.ended(&id)?;
        ensure!(operation.state == "aborted", "the move ended as {operation:?}");
        client.check()?;
        let after = cluster.only_container(APP)?;
        ensure!(after.id == before.id, "it runs in another container, on {}", after.node);
        say(&format!("killed in {seen} and undone: clients waited {:?}", client.seen().gap));

        cluster.node(target)?.start()?;
        cluster.all_alive()?;
        cluster.nothing_left_over(APP)?;
        let again = cluster.flocker().move_to(APP, target)?;
        ensure!(again.state == "done", "the next move ended as {again:?}");
        client.check()
    })
}

#[test]
fn a_deployment_survives_the_death_of_its_node_and_of_the_leader() -> Result<()> {
    scenario(2, |cluster| {
        let phases = [Phase::Seed, Phase::Prepare, Phase::Start];
        let cases = ["n2", "n1"].into_iter().flat_map(|node| phases.map(|phase| (node, phase)));
        for (idx, (victim, phase)) in cases.enumerate() {
            let (app, port) = (format!("app{idx}"), PORT + u16::try_from(idx)?);
            let text = manifest(&app, port, &["n2"], IMAGE);
            deployed(cluster, &app, &text, port, victim, phase)
                .with_context(|| format!("{victim} killed in {phase}"))?;
        }
        Ok(())
    })
}

fn deployed(
    cluster: &mut Cluster,
    app: &str,
    manifest: &str,
    port: u16,
    victim: &str,
    phase: Phase,
) -> Result<()> {
    let id = cluster.flocker().begin_deploy(manifest)?;
    let seen = cluster.sight("n1", &id, phase)?;
    cluster.node(victim)?.kill()?;
    cluster.node(victim)?.start()?;
    let operation = cluster.ended(&id)?;
    cluster.all_alive()?;
    ensure!(operation.state == "done", "killed in {seen}, it ended as {operation:?}");
    cluster.only_container(app)?;
    cluster.nothing_left_over(app)?;
    Client::start(cluster.door("n1", port)?).check()?;
    cluster.flocker().ask(&["app", "rm", app, "--volumes", "--yes", "--timeout", "60s"]).map(drop)
}

/// One move after another; in each, the same part dies, each time in another phase.
fn killed(part: Part, phases: &[Phase]) -> Result<()> {
    scenario(3, |cluster| {
        let mut source = cluster.deploy(APP, PORT, &["n2", "n3"])?;
        let client = Client::start(cluster.door("n1", PORT)?);
        let mut hit = BTreeSet::new();
        for phase in phases {
            let target = if source == "n2" { "n3" } else { "n2" };
            let killed = one(cluster, &client, part, *phase, &source, target);
            hit.insert(killed.with_context(|| format!("{part:?} killed in {phase}"))?);
            source = cluster.only_container(APP)?.node;
        }
        // A short phase may be over before the signal arrives; most are not.
        ensure!(hit.len() >= 3, "only these phases were hit: {hit:?}");
        Ok(())
    })
}

/// A move in which a daemon is killed at the first sight of a phase; the phase that it was.
fn one(
    cluster: &mut Cluster,
    client: &Client,
    part: Part,
    phase: Phase,
    source: &str,
    target: &str,
) -> Result<Phase> {
    // The client's own node stays alive, and does not hold the app before the move.
    let (victim, door) = match part {
        Part::Source => (source, "n1"),
        Part::Target => (target, "n1"),
        Part::Leader => ("n1", target),
    };
    let door = cluster.door(door, PORT)?;
    client.use_door(door)?;
    cluster.fill(door, BALLAST_MIB)?;
    client.mark();

    let id = cluster.flocker().begin_move(APP, target)?;
    let seen = cluster.sight("n1", &id, phase)?;
    cluster.node(victim)?.kill()?;
    cluster.node(victim)?.start()?;

    let operation = cluster.ended(&id)?;
    cluster.all_alive()?;
    let container = cluster.only_container(APP)?;
    let expected = match operation.state.as_str() {
        "done" => target,
        "aborted" => source,
        other => anyhow::bail!("the move ended as {other}: {operation:?}"),
    };
    ensure!(container.node == expected, "after {operation:?} it runs on {}", container.node);
    client.check().with_context(|| format!("after {operation:?}, killed in {seen}"))?;
    cluster.nothing_left_over(APP)?;
    report(part, seen, client, &operation);
    Ok(seen)
}

fn report(part: Part, seen: Phase, client: &Client, operation: &scenarios::Operation) {
    say(&format!(
        "{part:?} killed in {seen}: {}, blackout {:?} ms, the client waited {} ms",
        operation.state,
        operation.blackout_ms,
        client.seen().gap.as_millis()
    ));
}
