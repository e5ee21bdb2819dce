//! Every hostile policy in a running cluster, beside a healthy one: the daemon stays up, what is asked is decided, the
//! healthy one notices nothing, and `flocker explain` and `flocker plugin ls` say who did what.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use hostile::{Case, Expect, POLICIES, Question};
use scenarios::{Cluster, IMAGE, plugin, say, scenario, until};
use serde_json::Value;
use tempfile::TempDir;

/// Plugins that one daemon has at once. More start slower than a second daemon does.
const AT_ONCE: usize = 16;
/// Decisions that each daemon makes: one of the plugins begins well.
const DECISIONS: u64 = 3;

/// What was loaded into a daemon: its cases, and the folder of their files.
struct Loaded<'a> {
    cases: &'a [&'a Case],
    _folder: TempDir,
}

fn path(folder: &TempDir, case: &Case) -> PathBuf {
    folder.path().join(format!("{}.wasm", case.name))
}

#[test]
fn hostile_policies_are_contained_where_apps_are_placed() -> Result<()> {
    scenario(2, |cluster| {
        let asked = |case: &&Case| case.question() == Some(Question::Place);
        let cases: Vec<_> = POLICIES.iter().filter(asked).collect();
        for (n, cases) in cases.chunks(AT_ONCE).enumerate() {
            let loaded = load(cluster, cases, "3600")?;
            let names: Vec<_> = cases.iter().map(|case| case.name).collect();
            placed(cluster, &loaded, n).with_context(|| format!("with {}", names.join(", ")))?;
        }
        say(&format!("{} policies were contained", cases.len()));
        Ok(())
    })
}

#[test]
fn hostile_policies_of_other_hooks_are_contained() -> Result<()> {
    scenario(2, |cluster| {
        let other = |asked: Question| {
            matches!(asked, Question::Rebalance | Question::Schedule | Question::Prune)
        };
        let cases: Vec<_> =
            POLICIES.iter().filter(|case| case.question().is_some_and(other)).collect();
        let loaded = load(cluster, &cases, "1")?;
        cluster.deploy("shop", 7400, &["n1", "n2"])?;
        for case in loaded.cases {
            until(&format!("`{}` to be asked", case.name), || {
                let listed = listed(cluster)?;
                let it = listed.get(case.name).context("it is not listed")?;
                as_expected(case, it).map(Some)
            })?;
        }
        unharmed(cluster)?;
        say(&format!("{} policies were contained", cases.len()));
        Ok(())
    })
}

#[test]
fn a_daemon_does_not_start_with_what_it_cannot_load_and_a_running_one_keeps_what_it_has()
-> Result<()> {
    scenario(1, |cluster| {
        let refused = POLICIES.iter().filter_map(|case| match case.expect {
            Expect::Refused(words) => Some((case, words)),
            Expect::Fails(..) | Expect::FailsInShadow(..) | Expect::Answers(..) => None,
        });
        let mut n_refused = 0;
        for (case, words) in refused {
            starts_not(cluster, case, words).with_context(|| case.name)?;
            n_refused += 1;
        }
        say(&format!("{n_refused} files were refused"));
        stays_as_it_is(cluster)
    })
}

/// Starts the first node again with these plugins, after a healthy one.
fn load<'a>(
    cluster: &mut Cluster,
    cases: &'a [&'a Case],
    rebalance_every: &str,
) -> Result<Loaded<'a>> {
    let folder = tempfile::tempdir()?;
    let mut config = format!("[[plugin]]\npath = \"{}\"\n", plugin("spread")?.display());
    for case in cases {
        let file = path(&folder, case);
        fs::write(&file, case.build())?;
        let shadow = matches!(case.expect, Expect::FailsInShadow(..));
        let mode = if shadow { "shadow" } else { "active" };
        writeln!(config, "[[plugin]]\npath = \"{}\"\nmode = \"{mode}\"", file.display())?;
    }
    let file = folder.path().join("flocker.toml");
    fs::write(&file, config)?;
    let leader = cluster.node("n1")?;
    leader.stop()?;
    let config = file.display().to_string();
    leader.set(&["--config", &config, "--rebalance-every", rebalance_every]);
    // An app that was just deployed may be moved at once.
    leader.set(&["--rebalance-cooldown", "0"]);
    leader.start()?;
    cluster.all_alive()?;
    Ok(Loaded { cases, _folder: folder })
}

/// Apps are deployed and run, and each decision about them says who failed, and how.
fn placed(cluster: &mut Cluster, loaded: &Loaded<'_>, batch: usize) -> Result<()> {
    let apps: Vec<String> = (0..DECISIONS).map(|n| format!("shop-{batch}-{n}")).collect();
    let mut decisions = Vec::new();
    for app in &apps {
        decisions.push(decided(cluster, app)?);
    }
    for app in &apps {
        cluster.only_container(app)?;
    }
    let listed = listed(cluster)?;
    for case in loaded.cases {
        explained(case, &listed, &decisions).with_context(|| case.name)?;
    }
    for app in &apps {
        removed(cluster, app)?;
    }
    unharmed(cluster)
}

/// Deploys an app, and returns the decision about it. The command may return before, as plugins take their time.
fn decided(cluster: &Cluster, app: &str) -> Result<Value> {
    let flocker = cluster.flocker();
    let begun = flocker.begin_deploy(&manifest(app));
    until("a decision", || flocker.ask(&["explain", app]).map(Some))
        .with_context(|| format!("deploying it said {begun:?}"))
}

fn removed(cluster: &Cluster, app: &str) -> Result<()> {
    let remove = ["app", "rm", app, "--yes", "--timeout", "60s"];
    until("its deployment to end", || cluster.flocker().ask(&remove).map(Some)).map(drop)
}

/// An app that begins and ends quickly, and may be on either node.
fn manifest(app: &str) -> String {
    format!("name: {app}\nservices:\n  book:\n    image: {IMAGE}\n    stop_grace_period: 1s\n")
}

/// What `flocker plugin ls` says of each plugin, by the name of its file, which most have as their own.
fn listed(cluster: &Cluster) -> Result<BTreeMap<String, Value>> {
    let said = cluster.flocker().ask(&["plugin", "ls"])?;
    let plugins = said["plugins"].as_array().context("no plugins are listed")?;
    let named = |plugin: &Value| {
        let name = plugin["name"].as_str().unwrap_or_default();
        let name = match name {
            // What is left of a name that clears the screen, and of one that is taken.
            tamed if tamed.contains("[2J") => "name_that_commands_a_terminal",
            marked if marked.starts_with("spread (") => "calls_itself_as_another",
            own => own,
        };
        (name.to_owned(), plugin.clone())
    };
    Ok(plugins.iter().map(named).collect())
}

/// Every decision was made by the healthy plugin and those that answered; the case failed in one of them, as it must.
fn explained(case: &Case, listed: &BTreeMap<String, Value>, decisions: &[Value]) -> Result<()> {
    let it = listed.get(case.name).context("it is not listed")?;
    let who = format!("{} {}", text(&it["name"]), text(&it["version"]));
    let mut failures = Vec::new();
    for decision in decisions {
        ensure!(decision["decided_by"] == "policies", "{decision:#}");
        let told = text(&decision["text"]);
        ensure!(told.contains(&who), "people are not told of `{who}`: {told}");
        ensure!(told.lines().all(harmless), "{told:?}");
        let key = if it["state"] == "shadow" { "shadows" } else { "failures" };
        let all = decision[key].as_array().context("no list")?;
        let its =
            |failure: &&Value| failure["policy"] == who.as_str() && failure["class"] != Value::Null;
        failures.extend(all.iter().filter(its).cloned());
    }
    match case.expect {
        Expect::Fails(_, class, words) | Expect::FailsInShadow(class, words) => {
            // A decision that was made while something else changed is made anew: what fails now and then may have failed
            // in the one that nobody kept.
            let always = it["calls"] == it["failures"];
            ensure!(!always || failures.len() == decisions.len(), "not all decisions tell of it");
            for failure in &failures {
                let (seen, message) = (text(&failure["class"]), text(&failure["message"]));
                let open = always && seen == "quarantined";
                ensure!(open || same(class, words, &seen, &message), "{failure:#}");
            }
        }
        Expect::Answers(..) => ensure!(failures.is_empty(), "{failures:#?}"),
        Expect::Refused(_) => bail!("it was loaded"),
    }
    as_expected(case, it)
}

/// What the list of plugins says of it.
fn as_expected(case: &Case, it: &Value) -> Result<()> {
    let (n_calls, n_failures) = (it["calls"].as_u64(), it["failures"].as_u64());
    ensure!(n_calls > Some(0), "it was not asked: {it:#}");
    let trouble = text(&it["trouble"]);
    ensure!(harmless(&trouble), "{trouble:?}");
    match case.expect {
        Expect::Fails(_, class, words) | Expect::FailsInShadow(class, words) => {
            let (seen, message) = trouble.split_once(": ").context("no trouble is told")?;
            ensure!(n_failures > Some(0) && same(class, words, seen, message), "{it:#}");
        }
        Expect::Answers(..) => ensure!(n_failures == Some(0), "{it:#}"),
        Expect::Refused(_) => bail!("it was loaded"),
    }
    Ok(())
}

/// On a busy machine wall clock may end what fuel would have ended.
fn same(class: &str, words: &str, seen: &str, message: &str) -> bool {
    (seen == class && message.contains(words)) || (class == "fuel" && seen == "timeout")
}

/// The daemon is the one that was started, what it wrote obeys nobody, and its healthy plugin never failed.
fn unharmed(cluster: &mut Cluster) -> Result<()> {
    let listed = listed(cluster)?;
    let healthy = listed.get("spread").context("the healthy plugin is gone")?;
    ensure!(healthy["failures"] == 0 && healthy["state"] == "active", "{healthy:#}");
    ensure!(healthy["calls"].as_u64() > Some(0), "{healthy:#}");
    let leader = cluster.node("n1")?;
    ensure!(leader.runs()?, "the daemon ended: {}", leader.said());
    let said = leader.said();
    let bad = said.lines().find(|line| !harmless(line));
    ensure!(bad.is_none(), "its log commands a terminal: {bad:?}");
    Ok(())
}

fn harmless(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A daemon that is told to load it ends at once, says why, and leaves nothing.
fn starts_not(cluster: &Cluster, case: &Case, words: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = path(&folder, case);
    fs::write(&file, case.build())?;
    let file = file.display().to_string();
    let mut daemon = cluster.new_daemon("n2", 1)?.elsewhere(case.name);
    daemon.set(&["--plugin", &file]);
    daemon.start()?;
    let status = daemon.ended()?;
    let said = daemon.said();
    ensure!(!status.success(), "it ended well: {said}");
    ensure!(said.contains(words) || said.contains("(timeout)"), "{said}");
    ensure!(said.contains(&file), "the file is not named: {said}");
    ensure!(said.lines().all(harmless), "{said:?}");
    ensure!(!daemon.socket().exists() && !daemon.pool().exists(), "something was made");
    Ok(())
}

/// At SIGHUP, a file that cannot be loaded any more takes nothing away.
fn stays_as_it_is(cluster: &mut Cluster) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("p.wasm");
    fs::copy(plugin("spread")?, &file)?;
    let leader = cluster.node("n1")?;
    leader.stop()?;
    leader.set(&["--plugin", &file.display().to_string()]);
    leader.start()?;
    cluster.all_alive()?;
    for name in ["start_loops", "half_of_a_policy", "schema_means_itself"] {
        let case = POLICIES.iter().find(|case| case.name == name).context("no such case")?;
        replace(&file, &case.build())?;
        let leader = cluster.node("n1")?;
        let before = leader.said().len();
        leader.hang_up()?;
        until("it to say that nothing changes", || {
            let said = leader.said().split_off(before);
            Ok(said.contains("the plugin stays as it is").then_some(()))
        })?;
        let app = name.replace('_', "-");
        let decision = decided(cluster, &app)?;
        ensure!(decision["decided_by"] == "policies", "{name}: {decision:#}");
        cluster.only_container(&app)?;
        removed(cluster, &app)?;
        unharmed(cluster).with_context(|| name)?;
    }
    Ok(())
}

/// As installers do it: a reader sees the old file or the new one.
fn replace(file: &Path, bytes: &[u8]) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, bytes)?;
    Ok(fs::rename(new, file)?)
}
