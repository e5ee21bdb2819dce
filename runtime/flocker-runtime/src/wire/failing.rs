//! Which policies do not do what they were configured for, for whoever asks how the cluster is.

use flocker_api::v1;
use flocker_model::{NodeName, Timestamp};
use flocker_planner::PolicyFailure;
use flocker_plugins::{Health, Hook, Mode, PendingInfo, PluginInfo};

/// What an operator should look at, a line each: policies that fail or are left alone, builds that are not used, and that
/// the built-in policy decides where others should.
pub(super) fn troubles(
    plugins: &[PluginInfo],
    pending: &[PendingInfo],
    now: Timestamp,
) -> Vec<String> {
    let asked = || plugins.iter().filter(|plugin| plugin.mode != Mode::Off);
    let mut troubles: Vec<_> = asked().flat_map(|plugin| of(plugin, now)).collect();
    let mut placing =
        asked().filter(|p| p.mode == Mode::Active && p.loaded.hooks.contains(&Hook::Placement));
    troubles.extend(pending.iter().map(|plugin| awaited(plugin, now)));
    let awaited = pending.iter().any(|plugin| plugin.hooks.contains(&Hook::Placement));
    let wanted = awaited || placing.clone().next().is_some();
    if wanted && placing.all(|plugin| plugin.health != Health::Good) {
        troubles.push(
            "the built-in policy places apps, as no policy gives an answer that can be used"
                .to_owned(),
        );
    }
    troubles
}

/// A plugin of which nothing is known but its file.
pub(super) fn awaited_plugin(plugin: &PendingInfo, node: &NodeName) -> v1::Plugin {
    let state = if plugin.refused.is_none() { "loading" } else { "not loaded" };
    v1::Plugin {
        name: plugin.name(),
        hooks: plugin.hooks.iter().map(|hook| hook.as_str().to_owned()).collect(),
        weight: plugin.weight,
        state: state.to_owned(),
        trouble: plugin.refused.clone(),
        node: node.to_string(),
        ..v1::Plugin::default()
    }
}

fn awaited(plugin: &PendingInfo, now: Timestamp) -> String {
    let (name, seconds) = (plugin.name(), now.since(plugin.since).as_secs());
    match &plugin.refused {
        None => format!(
            "policy `{name}` is being compiled since {seconds} s, and has no say until that is done"
        ),
        Some(why) => format!("policy `{name}` was not loaded: {why}"),
    }
}

fn of(plugin: &PluginInfo, now: Timestamp) -> Vec<String> {
    let shadow = if plugin.mode == Mode::Shadow { " (shadow)" } else { "" };
    let name = format!("policy `{}`{shadow}", plugin.loaded.name);
    let failure = plugin.last_failure.as_ref();
    let why = failure.map(|(_, failure)| said(failure)).unwrap_or_default();
    let health = match plugin.health {
        Health::Good => None,
        Health::Failing => {
            let ago = failure.map_or(0, |(at, _)| now.since(*at).as_secs());
            Some(format!("{name} failed when it was last asked, {ago} s ago ({why})"))
        }
        Health::Quarantined { until } => {
            let again = until.since(now).as_secs();
            Some(format!(
                "{name} fails again and again, and is not asked for the next {again} s ({why})"
            ))
        }
    };
    let refused = plugin.refused.as_ref().map(|why| {
        format!("{name} goes on as the build that was loaded; its file cannot be used: {why}")
    });
    let trial = plugin.trial.as_ref().and_then(|trial| trial.failed.as_ref());
    let trial = trial
        .map(|f| format!("{name}: the new build failed in shadow and is not used ({})", said(f)));
    health.into_iter().chain(refused).chain(trial).collect()
}

fn said(failure: &PolicyFailure) -> String {
    format!("{}: {}", failure.class, failure.message)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf, time::Duration};

    use flocker_plugins::{Loaded, OwnLimits};

    use super::*;

    const NOW: Timestamp = Timestamp(100_000);

    fn policy(name: &str) -> PluginInfo {
        PluginInfo {
            loaded: Loaded {
                name: name.to_owned(),
                version: "0.1.0".to_owned(),
                digest: "sha256:0".to_owned(),
                hooks: vec![Hook::Placement],
                settings_schema: String::new(),
            },
            path: PathBuf::new(),
            weight: 1,
            mode: Mode::Active,
            limits: OwnLimits::default(),
            health: Health::Good,
            calls: 0,
            failures: 0,
            disagreements: 0,
            fuel_last: 0,
            fuel_max: 0,
            took_max: Duration::ZERO,
            last_failure: None,
            metrics: BTreeMap::new(),
            trial: None,
            refused: None,
        }
    }

    fn failing(name: &str, health: Health) -> PluginInfo {
        let failure = PolicyFailure { class: "trap".into(), message: "unreachable".into() };
        let last_failure = Some((Timestamp(88_000), failure));
        PluginInfo { health, last_failure, ..policy(name) }
    }

    #[test]
    fn policies_that_answer_are_no_trouble() {
        assert_eq!(troubles(&[policy("spread"), policy("labels")], &[], NOW), [""; 0]);
        assert_eq!(troubles(&[], &[], NOW), [""; 0]);
    }

    #[test]
    fn a_policy_that_fails_beside_one_that_answers_is_named() {
        assert_eq!(
            troubles(&[policy("labels"), failing("spread", Health::Failing)], &[], NOW),
            ["policy `spread` failed when it was last asked, 12 s ago (trap: unreachable)"]
        );
    }

    #[test]
    fn where_none_answers_the_built_in_policy_is_named_too() {
        let until = Timestamp(130_000);
        assert_eq!(
            troubles(&[failing("spread", Health::Quarantined { until })], &[], NOW),
            [
                "policy `spread` fails again and again, and is not asked for the next 30 s (trap: unreachable)",
                "the built-in policy places apps, as no policy gives an answer that can be used",
            ]
        );
    }

    #[test]
    fn a_policy_that_is_off_or_only_tried_out_leaves_nothing_to_the_built_in_one() {
        let with = |mode| PluginInfo { mode, ..failing("spread", Health::Failing) };
        assert_eq!(troubles(&[with(Mode::Off)], &[], NOW), [""; 0]);
        let said = troubles(&[with(Mode::Shadow)], &[], NOW);
        assert_eq!(
            said,
            [
                "policy `spread` (shadow) failed when it was last asked, 12 s ago (trap: unreachable)"
            ]
        );
    }

    #[test]
    fn a_policy_that_is_not_loaded_yet_or_never_will_be_is_named() {
        let pending = |path: &str, refused: Option<&str>| PendingInfo {
            path: path.into(),
            hooks: vec![Hook::Placement],
            since: Timestamp(88_000),
            refused: refused.map(str::to_owned),
            weight: 1,
            mode: Mode::Active,
        };
        let pending = [pending("/p/big.wasm", None), pending("/p/bad.wasm", Some("it is damaged"))];
        assert_eq!(
            troubles(&[], &pending, NOW),
            [
                "policy `big` is being compiled since 12 s, and has no say until that is done",
                "policy `bad` was not loaded: it is damaged",
                "the built-in policy places apps, as no policy gives an answer that can be used",
            ]
        );
        let node = NodeName::new("n1").unwrap();
        let listed = pending.map(|plugin| awaited_plugin(&plugin, &node));
        assert_eq!([&*listed[0].state, &*listed[1].state], ["loading", "not loaded"]);
        assert_eq!(listed[1].trouble.as_deref(), Some("it is damaged"));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let refused = Some("it is not WebAssembly".to_owned());
        assert_eq!(
            troubles(&[PluginInfo { refused, ..policy("spread") }], &[], NOW),
            [
                "policy `spread` goes on as the build that was loaded; its file cannot be used: it is not WebAssembly"
            ]
        );
    }
}
