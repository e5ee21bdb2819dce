//! `flocker plugin bench`: what decisions cost, in clusters of three sizes.

mod crowd;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use flocker_api::Failure;
use flocker_planner::{ClusterView, Policies, PolicyAnswer, PolicyFailure};
use flocker_plugins::{Hook, Limits, OwnLimits, PluginHost};
use serde_json::{Value, json};

use self::crowd::Crowd;
use super::{host, load};
use crate::{args::Settings, show::table, terminal::Answer};

/// Nodes in the clusters.
const SIZES: [u32; 3] = [10, 1_000, 10_000];
/// Questions of one kind to one cluster: enough for a percentile, unless they take long.
const CALLS_MAX: usize = 300;
/// The time after which no more are asked.
const LONG_ENOUGH: Duration = Duration::from_millis(700);
/// So many are asked however long they take.
const CALLS_MIN: usize = 5;

/// What one kind of question costs in one cluster.
struct Cost {
    question: &'static str,
    n_nodes: u32,
    measured: Result<Measured, PolicyFailure>,
}

struct Measured {
    fuel: u64,
    /// The first question about a state of the cluster.
    first: Duration,
    /// Those that follow, the fastest first.
    warm: Vec<Duration>,
}

impl Measured {
    /// The time within which so many of a hundred were answered.
    fn percentile(&self, percent: usize) -> Duration {
        let position = (self.warm.len() * percent).div_ceil(100).saturating_sub(1);
        self.warm.get(position).copied().unwrap_or_default()
    }
}

pub(super) fn bench(
    file: &Path,
    settings: &Settings,
    limits: OwnLimits,
) -> Result<Answer, Failure> {
    let host = host()?;
    let loaded = load(&host, file, settings.read()?, limits)?;
    let mut costs = Vec::new();
    for n_nodes in SIZES {
        in_cluster(&host, &Crowd::new(n_nodes)?, n_nodes, &loaded.hooks, &mut costs);
    }
    let limit = limits.over(&Limits::default());
    let text = format!(
        "{} {}: a call may use {} units of fuel and {}\n\n{}{}",
        loaded.name,
        loaded.version,
        limit.fuel,
        humantime::format_duration(limit.wall),
        table(
            ["QUESTION", "NODES", "FUEL", "FIRST", "MEDIAN", "P99", "CALLS"],
            costs.iter().map(row)
        ),
        failures(&costs)
    );
    let json = json!({
        "name": loaded.name,
        "version": loaded.version,
        "digest": loaded.digest,
        "fuel_max": limit.fuel,
        "costs": costs.iter().map(cost_json).collect::<Vec<_>>(),
    });
    Ok(Answer::new(json, text))
}

/// Adds what each kind of question costs that the plugin answers.
fn in_cluster(
    host: &PluginHost,
    crowd: &Crowd,
    n_nodes: u32,
    hooks: &[Hook],
    costs: &mut Vec<Cost>,
) {
    let mut add = |hook: Hook, question: &'static str, ask: &dyn Fn(&Arc<ClusterView>) -> Asked| {
        if hooks.contains(&hook) {
            // Another state each time, a minute later: what failed at one size is not left alone at the next, and what
            // a plugin remembers of one is not true of the next.
            let view = crowd.view_after(costs.len() as u64);
            costs.push(Cost { question, n_nodes, measured: measure(&view, ask) });
        }
    };
    add(Hook::Placement, "placement", &|view| asked(host.place(view, &crowd.placement())));
    add(Hook::Rebalance, "rebalance", &|view| asked(host.rebalance(view, &crowd.rebalance())));
    add(Hook::Failover, "failover", &|view| asked(host.fail_over(view, &crowd.incident())));
    add(Hook::BackupSchedule, "schedule", &|view| asked(host.schedule(view, &crowd.schedule())));
    add(Hook::BackupSchedule, "prune", &|view| asked(host.prune(view, &crowd.prune())));
}

/// The fuel of an answer.
type Asked = Result<u64, PolicyFailure>;

fn asked<A>(answers: Vec<PolicyAnswer<A>>) -> Asked {
    let unasked = || PolicyFailure { class: "unasked".into(), message: "it was not asked".into() };
    let PolicyAnswer { answer, evidence, .. } = answers.into_iter().next().ok_or_else(unasked)?;
    answer.map(|_| evidence.fuel)
}

fn measure(
    view: &Arc<ClusterView>,
    ask: &dyn Fn(&Arc<ClusterView>) -> Asked,
) -> Result<Measured, PolicyFailure> {
    let timed = || {
        let began = Instant::now();
        ask(view).map(|fuel| (fuel, began.elapsed()))
    };
    let (mut fuel, first) = timed()?;
    let (began, mut warm) = (Instant::now(), Vec::new());
    while warm.len() < CALLS_MIN || (warm.len() < CALLS_MAX && began.elapsed() < LONG_ENOUGH) {
        let (used, took) = timed()?;
        fuel = fuel.max(used);
        warm.push(took);
    }
    warm.sort_unstable();
    Ok(Measured { fuel, first, warm })
}

fn row(cost: &Cost) -> [String; 7] {
    let (question, nodes) = (cost.question.to_owned(), cost.n_nodes.to_string());
    match &cost.measured {
        Ok(measured) => [
            question,
            nodes,
            measured.fuel.to_string(),
            micros(measured.first),
            micros(measured.percentile(50)),
            micros(measured.percentile(99)),
            (measured.warm.len() + 1).to_string(),
        ],
        Err(_) => {
            let [fuel, first, median, p99] = std::array::from_fn(|_| "-".to_owned());
            [question, nodes, fuel, first, median, p99, "failed".to_owned()]
        }
    }
}

/// What became of the questions that have no costs, below the table; empty where all have.
fn failures(costs: &[Cost]) -> String {
    let of = |cost: &Cost| {
        let Cost { question, n_nodes, measured } = cost;
        let PolicyFailure { class, message } = measured.as_ref().err()?;
        Some(format!("{question} failed with {n_nodes} nodes ({class}): {message}\n"))
    };
    let said: String = costs.iter().filter_map(of).collect();
    if said.is_empty() { said } else { format!("\n{said}") }
}

fn micros(span: Duration) -> String {
    format!("{} µs", span.as_micros())
}

fn cost_json(cost: &Cost) -> Value {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    match &cost.measured {
        Ok(measured) => json!({
            "question": cost.question,
            "nodes": cost.n_nodes,
            "fuel": measured.fuel,
            "first_us": micros(measured.first),
            "median_us": micros(measured.percentile(50)),
            "p99_us": micros(measured.percentile(99)),
            "calls": measured.warm.len() + 1,
        }),
        Err(failure) => json!({
            "question": cost.question,
            "nodes": cost.n_nodes,
            "failed": failure.class,
            "message": failure.message,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_calls_that_were_made() {
        let measured = |n: u64| Measured {
            fuel: 0,
            first: Duration::ZERO,
            warm: (1..=n).map(Duration::from_micros).collect(),
        };
        for (n, percent, micros) in
            [(100, 50, 50), (100, 99, 99), (5, 50, 3), (5, 99, 5), (1, 99, 1)]
        {
            let got = measured(n).percentile(percent);
            assert_eq!(got, Duration::from_micros(micros), "{percent} of {n}");
        }
    }
}
