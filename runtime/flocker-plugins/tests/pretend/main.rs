//! `quiet` in a pretend cluster: a real plugin, a real leader and agents, and pretend disks that tell when they were
//! written to.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{path::Path, sync::Arc, time::Duration};

use flocker_engine::control::Deployed;
use flocker_model::{AppName, NodeName, ServiceKey, ServiceName, Timestamp};
use flocker_planner::plan::Settings;
use flocker_plugins::{Configured, HostConfig, PluginHost};
use flocker_ports::Backend as _;
use flocker_sim::World;
use tokio::time::{Instant, sleep};

const SHOP: &str = "
name: shop
services:
  redis:
    image: redis
    ports: ['6379:6379']
    volumes: ['data:/data']
volumes:
  data:
    x-flocker: { size: 64MiB }
";

/// In pretend time.
const DEADLINE: Duration = Duration::from_secs(120);
const SECOND: Duration = Duration::from_secs(1);
/// The leader hears of a write, and the policy of that, within this time.
const HEARD: Duration = Duration::from_secs(3);

fn quiet() -> Arc<PluginHost> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../plugins/target/wasm32-unknown-unknown/release/quiet.wasm");
    assert!(
        path.exists(),
        "`{}` is missing\nhint: cd plugins && cargo build --release",
        path.display()
    );
    let host = PluginHost::new(HostConfig::default()).unwrap();
    let settings = r#"{"keep": 1000}"#.to_owned();
    host.load(&Configured { settings, ..Configured::new(&path) }).unwrap();
    Arc::new(host)
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// Writes once, through whichever node; the app must be there.
async fn write(world: &World, n: u32) {
    let redis = ServiceKey {
        app: AppName::new("shop").unwrap(),
        service: ServiceName::new("redis").unwrap(),
    };
    let deadline = Instant::now() + DEADLINE;
    while world.write(&node("n1"), &redis, &format!("rec-{n}"), &[7; 100]).is_err() {
        assert!(Instant::now() < deadline, "it cannot be written to");
        sleep(Duration::from_millis(10)).await;
    }
}

/// When each snapshot by schedule was taken, and why, oldest first.
async fn snapshots(world: &World) -> Vec<(Timestamp, String)> {
    let state = world.state().await.unwrap();
    let volume = state.volumes.values().next().unwrap().value.clone();
    let Some(owner) = volume.owner else { return vec![] };
    let all = world.backend(&owner).unwrap().snapshots(&volume.id).await.unwrap_or_default();
    let named = |s: flocker_model::Snapshot| {
        let tag = s.point.tag.to_string();
        let (at, label) = tag.strip_prefix("auto-")?.split_once('-')?;
        Some((Timestamp(at.parse().unwrap()), label.to_owned()))
    };
    all.into_iter().filter_map(named).collect()
}

/// The shop deployed, and its first snapshot taken.
async fn shop() -> World {
    let settings = Settings { cooldown: Duration::from_hours(24), ..Settings::default() };
    let world = World::start_with(&["n1", "n2"], quiet(), settings);
    world.boot().await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    while world.state().await.unwrap().nodes.len() < 2 {
        assert!(Instant::now() < deadline, "the nodes are not there");
        sleep(SECOND / 10).await;
    }
    let begun = world.control().deploy(SHOP, None).await.unwrap().1;
    assert!(matches!(begun, Deployed::Begun(_)), "{begun:?}");
    while snapshots(&world).await.is_empty() {
        assert!(Instant::now() < deadline, "no first snapshot");
        sleep(SECOND / 10).await;
    }
    world
}

#[tokio::test(start_paused = true)]
async fn a_pause_between_writes_is_saved_and_a_rest_costs_nothing() {
    let world = shop().await;
    sleep(Duration::from_mins(1)).await;
    let before = snapshots(&world).await.len();

    // Two bursts, five seconds of silence after each, and then nothing.
    for burst in 0..2 {
        for n in 0..10 {
            write(&world, 10 * burst + n).await;
            sleep(SECOND / 10).await;
        }
        sleep(3 * SECOND + HEARD).await;
        let saved = snapshots(&world).await;
        assert!(saved.len() > before + burst as usize, "burst {burst} is not saved: {saved:?}");
    }
    sleep(DEADLINE).await;
    let rested = snapshots(&world).await;
    sleep(Duration::from_mins(10)).await;

    let later = snapshots(&world).await;
    assert_eq!(later, rested, "nobody wrote");
    assert!(later.len() <= before + 4, "{later:?}");
    assert_eq!(later.last().unwrap().1, "quiet");
}

#[tokio::test(start_paused = true)]
async fn writes_without_a_pause_are_saved_every_fifteen_seconds() {
    let world = shop().await;
    for n in 0..600 {
        write(&world, n).await;
        sleep(SECOND / 10).await;
    }

    let saved = snapshots(&world).await;
    let busy: Vec<_> = saved.iter().filter(|(_, why)| why == "busy").map(|(at, _)| *at).collect();
    assert!((3..6).contains(&busy.len()), "{saved:?}");
    for pair in busy.windows(2) {
        let apart = pair[1].since(pair[0]);
        assert!((15 * SECOND..=15 * SECOND + HEARD).contains(&apart), "{apart:?} in {saved:?}");
    }
}
