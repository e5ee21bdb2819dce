//! What a placement decision costs, by the size of the cluster: natively, by a plugin, and by a plugin that is handed
//! the cluster as a list of records; and a small policy that reads four columns, natively and as a plugin, beside its
//! goals. `cargo xtask bench plugins` builds what this needs.
//!
//! All contenders take turns within one run, and medians are shown: these numbers are ratios, not promises.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

mod cluster;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/host/forge.rs"]
mod forge;
mod four;
#[path = "../policy/src/logic.rs"]
mod logic;
mod naive;

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use flocker_planner::{BuiltIn, ClusterView, PlacementQuestion, Policies};
use flocker_plugins::{Configured, HostConfig, Limits, PluginHost, RecordsConfig};
use serde_json::json;

use crate::{forge::Forge, four::FourColumns, naive::Contender};

/// Times of one contender, in microseconds.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.0.push(began.elapsed().as_secs_f64() * 1e6);
        done
    }

    fn last(&self) -> f64 {
        *self.0.last().unwrap()
    }

    fn at(&mut self, share: f64) -> f64 {
        self.0.sort_by(f64::total_cmp);
        let position = ((self.0.len() - 1) as f64 * share).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let position = position as usize;
        self.0[position]
    }
}

/// A component of this repository, by its name.
fn policy(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../plugins/target/wasm32-unknown-unknown/release")
        .join(format!("{name}.wasm"));
    assert!(path.exists(), "`{}` is missing\nhint: cargo xtask bench plugins", path.display());
    path
}

fn host(limits: Limits, cache: Option<PathBuf>) -> PluginHost {
    PluginHost::new(HostConfig { limits, cache, ..HostConfig::default() }).unwrap()
}

/// More views than there are contenders.
const KEPT_MAX: usize = 8;

/// The small policy about a new view, with everything recorded.
const RECORDED: &str = "four columns, plugin, recorded";

/// The small policy about a new view and about the same one again: natively, as a plugin, and the difference of each round.
const SMALL: [[&str; 3]; 2] = [
    ["four columns, native", "four columns, plugin", "four columns, beyond native"],
    [
        "four columns, same view, native",
        "four columns, same view, plugin",
        "four columns, same view, beyond native",
    ],
];

/// What is aimed at with 1,000 nodes: median and 99th percentile, in microseconds.
fn goals(contender: &str) -> &'static [u32] {
    match contender {
        "four columns, plugin" | RECORDED => &[100, 500],
        "four columns, beyond native" | "four columns, same view, beyond native" => &[10],
        _ => &[],
    }
}

/// One decision about a view that nobody has looked at yet: the leader makes a new one for each plan. The view is kept for
/// a while: whoever is the last to hold one spends longer on giving it back than on the decision.
fn decide(
    policies: &dyn Policies,
    cluster: &ClusterView,
    question: &PlacementQuestion,
    times: &mut Times,
    kept: &mut VecDeque<Arc<ClusterView>>,
) {
    let view = Arc::new(cluster.clone());
    kept.push_back(Arc::clone(&view));
    if kept.len() > KEPT_MAX {
        kept.pop_front();
    }
    let answers = times.measure(|| policies.place(&view, question));
    assert!(answers.iter().all(|a| a.answer.is_ok()), "{answers:?}");
}

fn by_size(rounds: usize) -> Vec<serde_json::Value> {
    let mut rows = Vec::new();
    for nodes in [10, 1_000, 10_000] {
        let (cluster, question) = cluster::of(nodes);
        let warm = host(Limits::default(), None);
        warm.load(&Configured::new(&policy("spread"))).unwrap();
        let fresh = host(Limits { calls_per_instance: 1, ..Limits::default() }, None);
        fresh.load(&Configured::new(&policy("spread"))).unwrap();
        let mut naive = Contender::new();
        let four = host(Limits::default(), None);
        four.load(&Configured::new(&policy("four_columns"))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let records = RecordsConfig { folder: folder.path().to_owned(), bytes_max: 64 << 20 };
        let recorded = HostConfig { records: Some(records), ..HostConfig::default() };
        let recorded = PluginHost::new(recorded).unwrap();
        recorded.load(&Configured::new(&policy("four_columns"))).unwrap();
        let mut times: BTreeMap<&str, Times> = BTreeMap::new();
        let view = Arc::new(cluster.clone());
        let mut kept = VecDeque::new();
        for _ in 0..rounds {
            decide(&BuiltIn, &cluster, &question, times.entry("native").or_default(), &mut kept);
            decide(&warm, &cluster, &question, times.entry("plugin").or_default(), &mut kept);
            decide(
                &fresh,
                &cluster,
                &question,
                times.entry("plugin, fresh instance").or_default(),
                &mut kept,
            );
            // The second question about the same view: its columns are there already.
            let again = times.entry("plugin, same view").or_default();
            drop(warm.place(&view, &question));
            again.measure(|| warm.place(&view, &question));
            let records = times.entry("list of records").or_default();
            records.measure(|| naive.evaluate(&cluster, &question));
            for (at, policies) in [&FourColumns as &dyn Policies, &four].into_iter().enumerate() {
                let [new, again] = SMALL.map(|names| names[at]);
                decide(policies, &cluster, &question, times.entry(new).or_default(), &mut kept);
                drop(policies.place(&view, &question));
                let again = times.entry(again).or_default();
                again.measure(|| policies.place(&view, &question));
            }
            let times_recorded = times.entry(RECORDED).or_default();
            decide(&recorded, &cluster, &question, times_recorded, &mut kept);
            // What it writes must not cost the others anything.
            recorded.flush_records();
            for [native, plugin, beyond] in SMALL {
                let difference = times[plugin].last() - times[native].last();
                times.entry(beyond).or_default().0.push(difference);
            }
        }
        for (name, mut times) in times {
            let goals = if nodes == 1_000 { goals(name) } else { &[] };
            rows.push(json!({
                "nodes": nodes, "volumes": cluster.volumes.len(), "contender": name,
                "p50_us": times.at(0.5), "p99_us": times.at(0.99),
                "goals_us": goals,
            }));
        }
    }
    rows
}

/// From nothing to the first answer, with the compiled code in the cache.
fn cold(rounds: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let (cluster, question) = cluster::of(10);
    let mut times = Times::default();
    for _ in 0..=rounds {
        let host = host(Limits::default(), Some(folder.path().join("cache")));
        times.measure(|| host.load(&Configured::new(&policy("spread"))).unwrap());
        decide(&host, &cluster, &question, &mut Times::default(), &mut VecDeque::new());
    }
    // The first one compiled.
    times.0.remove(0);
    times.at(0.5)
}

/// Decisions per second beside a plugin that traps on every call, as a share of those without it.
fn beside_a_trap() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("trap.wasm");
    std::fs::write(&broken, Forge::evaluating("(unreachable)").build()).unwrap();
    let (cluster, question) = cluster::of(1_000);
    let alone = host(Limits::default(), None);
    alone.load(&Configured::new(&policy("spread"))).unwrap();
    let beside = host(Limits::default(), None);
    beside.load(&Configured::new(&policy("spread"))).unwrap();
    beside.load(&Configured::new(&broken)).unwrap();
    let per_second = |host: &PluginHost| {
        let view = Arc::new(cluster.clone());
        let (began, mut n) = (Instant::now(), 0.0);
        while began.elapsed() < Duration::from_millis(500) {
            drop(host.place(&view, &question));
            n += 1.0;
        }
        n
    };
    let mut ratios = Times::default();
    for _ in 0..5 {
        ratios.0.push(per_second(&beside) / per_second(&alone));
    }
    ratios.at(0.5)
}

fn main() {
    let json = std::env::args().any(|a| a == "--json");
    let rows = by_size(200);
    let (cold, trap) = (cold(20), beside_a_trap());
    if json {
        let report = json!({ "decisions": rows, "cold_us": cold, "share_beside_a_trap": trap });
        println!("{report}");
        return;
    }
    println!(
        "{:>7} {:>8}  {:<38} {:>12} {:>12}   goals",
        "nodes", "volumes", "contender", "p50", "p99"
    );
    for row in &rows {
        let goals: Vec<_> =
            row["goals_us"].as_array().into_iter().flatten().map(|us| format!("{us} us")).collect();
        println!(
            "{:>7} {:>8}  {:<38} {:>9.1} us {:>9.1} us   {}",
            row["nodes"],
            row["volumes"],
            row["contender"].as_str().unwrap_or_default(),
            row["p50_us"].as_f64().unwrap_or_default(),
            row["p99_us"].as_f64().unwrap_or_default(),
            goals.join(", "),
        );
    }
    println!("loaded from the compile cache in {cold:.0} us");
    println!("beside a plugin that traps on every call: {:.0} % of the decisions", trap * 100.0);
}
