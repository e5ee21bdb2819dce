//! Every hostile storage backend in a daemon of its own, beside a healthy policy: the daemon stays up, what fails is told
//! by the plugin's name, the policy goes on being asked, and the daemon ends when it is asked to.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result, ensure};
use hostile::{BACKENDS, BackendCase, Becomes, Verb};
use scenarios::{Cluster, Daemon, IMAGE, Said, manifest, plugin, say, scenario, until};

const NODE: &str = "n1";
/// An app that needs no storage.
const PLAIN: &str = "plain";
/// A change may take an hour, and this one does: nobody waits for its end, the daemon's end included.
const TAKES_AN_HOUR: &str = "create_sleeps";

#[test]
fn a_daemon_does_not_start_with_a_backend_that_cannot_be_used() -> Result<()> {
    each(|case| case.asked().is_none(), refused)
}

#[test]
fn hostile_backends_are_contained_where_a_node_is_observed() -> Result<()> {
    each(|case| matches!(case.asked(), Some(Verb::Room | Verb::Volumes)), contained)
}

#[test]
fn hostile_backends_are_contained_where_volumes_are_made() -> Result<()> {
    each(|case| matches!(case.asked(), Some(Verb::Stat | Verb::Create)), contained)
}

#[test]
fn hostile_backends_are_contained_where_volumes_are_used() -> Result<()> {
    each(|case| case.asked().is_some_and(is_use), contained)
}

/// What they are asked in a move takes two nodes: here, what comes before it is not hindered.
#[test]
fn hostile_backends_are_contained_where_apps_only_might_move() -> Result<()> {
    let elsewhere = |asked| matches!(asked, Verb::Room | Verb::Volumes | Verb::Stat | Verb::Create);
    each(|case| case.asked().is_some_and(|asked| !elsewhere(asked) && !is_use(asked)), contained)
}

fn is_use(asked: Verb) -> bool {
    matches!(asked, Verb::Attach | Verb::Snapshot | Verb::Snapshots | Verb::Destroy)
}

/// Tries these, one after the other, each in a daemon that has seen nothing before.
fn each(
    which: impl Fn(&BackendCase) -> bool,
    try_it: impl Fn(&mut Cluster, &BackendCase) -> Result<()>,
) -> Result<()> {
    scenario(1, |cluster| {
        let mut n_tried = 0;
        for case in BACKENDS.iter().filter(|case| which(case)) {
            try_it(cluster, case).with_context(|| case.name)?;
            n_tried += 1;
        }
        ensure!(n_tried > 0, "there are none");
        say(&format!("{n_tried} backends were contained"));
        Ok(())
    })
}

/// A daemon with this backend and a healthy policy. It does not run yet.
fn with_backend(cluster: &Cluster, case: &BackendCase) -> Result<Daemon> {
    let daemon = cluster.new_daemon(NODE, 0)?.elsewhere(case.name).without("--pool-size");
    let pool = daemon.backend_pool();
    fs::create_dir_all(&pool)?;
    let component = daemon.state().with_extension("wasm");
    fs::write(&component, case.build())?;
    let token = daemon.state().with_extension("token");
    fs::write(&token, "s3cret")?;
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600))?;
    let config = format!(
        "[[plugin]]\npath = {:?}\n[[plugin]]\npath = {component:?}\ngrants = {:?}\n",
        plugin("spread")?,
        hostile::grants(&pool, &token),
    );
    let file = daemon.state().with_extension("toml");
    fs::write(&file, config)?;
    Ok(daemon.with(&["--config", &file.display().to_string()]))
}

fn refused(cluster: &mut Cluster, case: &BackendCase) -> Result<()> {
    let Becomes::Refused(words) = case.becomes else { anyhow::bail!("it may be used") };
    // Whoever leads now has the address.
    let mut daemon = with_backend(cluster, case)?;
    daemon.start()?;
    // One that loops is tried three times, ten seconds each.
    let status = daemon.ended().or_else(|_| daemon.ended())?;
    let said = daemon.said();
    ensure!(!status.success(), "it ended well: {said}");
    ensure!(said.contains(words) && said.contains(case.name), "{said}");
    ensure!(said.lines().all(harmless), "{said:?}");
    ensure!(!daemon.socket().exists(), "something was made");
    Ok(())
}

fn contained(cluster: &mut Cluster, case: &BackendCase) -> Result<()> {
    if cluster.node(NODE)?.runs()? {
        cluster.node(NODE)?.stop()?;
    }
    let mut daemon = with_backend(cluster, case)?;
    daemon.start()?;
    cluster.daemons()[0] = daemon;
    cluster.all_alive()?;
    let verb = case.asked().context("it is asked nothing")?;
    told(cluster, case, verb)?;
    decided(cluster)?;
    let node = cluster.node(NODE)?;
    ensure!(node.runs()?, "the daemon ended");
    node.stop()?;
    let said = node.said();
    // They would go on, and there are few addresses.
    cluster.docker.clear()?;
    let bad = said.lines().find(|line| !harmless(line));
    ensure!(bad.is_none(), "its log commands a terminal: {bad:?}");
    Ok(())
}

/// What becomes of the question, where a node comes to ask it. An order that fails is given again for a minute: nobody
/// waits for that.
fn told(cluster: &mut Cluster, case: &BackendCase, verb: Verb) -> Result<()> {
    let flocker = cluster.flocker();
    // Containers of a daemon that ended go on.
    let app = case.name.replace('_', "-");
    let volume = format!("{app}.data");
    let manifest = manifest(&app, 7000, &[NODE], IMAGE);
    let words = match case.becomes {
        Becomes::Does(_) => return flocker.deploy(&manifest).map(drop),
        Becomes::Breaks(_, words) | Becomes::Lies(_, words) | Becomes::Refuses(_, words) => words,
        Becomes::Refused(_) => anyhow::bail!("it is used"),
    };
    match verb {
        Verb::Room | Verb::Volumes => return observed(cluster, case),
        Verb::Stat | Verb::Create | Verb::Attach => {
            flocker.begin_deploy(&manifest)?;
            if case.name == TAKES_AN_HOUR {
                return Ok(());
            }
            logged(cluster, case, words)?;
        }
        Verb::Snapshot => {
            flocker.deploy(&manifest)?;
            let taken = flocker.try_ask(&["volume", "snapshot", &volume, "--tag", "two"])?;
            named(case, &taken, words)?;
        }
        Verb::Snapshots => {
            flocker.deploy(&manifest)?;
            named(case, &flocker.try_ask(&["volume", "snapshots", &volume])?, words)?;
        }
        Verb::Destroy => {
            flocker.deploy(&manifest)?;
            flocker.try_ask(&["app", "rm", &app, "--volumes", "--yes", "--timeout", "2s"])?;
            logged(cluster, case, words)?;
        }
        // Nobody comes to ask it.
        Verb::Resize
        | Verb::DestroySnapshots
        | Verb::Seal
        | Verb::Unseal
        | Verb::Promote
        | Verb::Retire
        | Verb::Send
        | Verb::Receive
        | Verb::AbortReceive => return flocker.deploy(&manifest).map(drop),
    }
    if matches!(case.becomes, Becomes::Refuses(..)) { Ok(()) } else { observed(cluster, case) }
}

/// The daemon's log says who failed, and how.
fn logged(cluster: &mut Cluster, case: &BackendCase, words: &str) -> Result<()> {
    let node = cluster.node(NODE)?;
    let who = format!("plugin `{}` failed at `", case.name);
    until("the log to tell", || {
        let said = node.said();
        let found = said.lines().any(|line| line.contains(&who) && line.contains(words));
        Ok(found.then_some(()))
    })
}

/// The one who asked is told who failed, and how.
fn named(case: &BackendCase, said: &Said, words: &str) -> Result<()> {
    ensure!(said.status == Some(1), "it ended with {:?}: {}", said.status, said.stderr);
    for word in [&format!("plugin `{}` failed at `", case.name), words] {
        ensure!(said.stderr.contains(word), "`{word}` is not in: {}", said.stderr);
    }
    ensure!(said.stderr.lines().all(harmless), "{:?}", said.stderr);
    Ok(())
}

/// The operator is told of it as a trouble of the node.
fn observed(cluster: &Cluster, case: &BackendCase) -> Result<()> {
    let flocker = cluster.flocker();
    until("the operator to be told", || {
        let troubles = flocker.ask(&["status"])?["troubles"].to_string();
        ensure!(troubles.contains(&format!("plugin `{}`", case.name)), "told is only {troubles}");
        ensure!(harmless(&troubles), "{troubles:?}");
        Ok(Some(()))
    })
}

/// Where an app goes is decided all the same, by the policy.
fn decided(cluster: &Cluster) -> Result<()> {
    let flocker = cluster.flocker();
    let manifest = format!(
        "name: {PLAIN}\nservices:\n  book:\n    image: {IMAGE}\n    stop_grace_period: 1s\n"
    );
    flocker.begin_deploy(&manifest)?;
    let decision = until("a decision", || flocker.ask(&["explain", PLAIN]).map(Some))?;
    ensure!(decision["decided_by"] == "policies", "{decision:#}");
    until("its deployment to end", || {
        flocker.ask(&["app", "rm", PLAIN, "--yes", "--timeout", "60s"]).map(Some)
    })?;
    let listed = flocker.ask(&["plugin", "ls"])?;
    let plugins = listed["plugins"].as_array().context("no plugins are listed")?;
    let healthy = plugins.iter().find(|plugin| plugin["name"] == "spread");
    let healthy = healthy.context("the healthy plugin is gone")?;
    ensure!(healthy["failures"] == 0 && healthy["calls"].as_u64() > Some(0), "{healthy:#}");
    Ok(())
}

fn harmless(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c))
}
