//! Docker goes away and comes back.

use std::time::Duration;

use flocker_ports::{ContainerEvent, ContainerState, Engine, EngineError};
use futures::StreamExt;

use crate::bench::{Bench, PATIENCE, POLITE, plan};

async fn resync(events: &mut (impl futures::Stream<Item = ContainerEvent> + Unpin)) {
    let heard = async {
        while let Some(event) = events.next().await {
            if event == ContainerEvent::Resync {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
}

/// Given a Docker that ends its containers with itself, nothing starts again by itself, and work goes on afterwards.
#[tokio::test]
async fn a_restarted_docker_starts_nothing() {
    let mut bench = Bench::new().await;
    let mut events = bench.engine.events();
    assert_eq!(events.next().await, Some(ContainerEvent::Resync));
    let running = bench.running(&plan("main", POLITE, &[]), &[]).await;
    let gated = bench.gated(&plan("second", POLITE, &[])).await;

    bench.docker.stop().await.unwrap();
    for dead in [
        bench.engine.ping().await.map(|_| ()),
        bench.engine.list().await.map(|_| ()),
        bench.engine.stop(&running.id, Duration::ZERO).await,
        bench.engine.create(&plan("third", POLITE, &[])).await.map(|_| ()),
    ] {
        assert!(matches!(dead, Err(EngineError::Unreachable { .. })), "got {dead:?}");
    }
    bench.docker.launch(false).await.unwrap();

    resync(&mut events).await;
    for id in [&running.id, &gated.id] {
        assert!(
            matches!(bench.state(id).await, ContainerState::Exited { .. }),
            "{:?}",
            bench.state(id).await
        );
    }
    bench.engine.start_gated(&running.id).await.unwrap();
    bench.engine.open_gate(&running.id, &[]).await.unwrap();
    bench.engine.stop(&running.id, Duration::ZERO).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
    assert_eq!(ended, Some(ContainerEvent::Ended(running.id)));
}

/// Given a Docker that leaves its containers alone, a crash of it changes nothing for them.
#[tokio::test]
async fn containers_outlive_a_crash_of_docker_with_live_restore() {
    let mut bench = Bench::new().await;
    bench.docker.stop().await.unwrap();
    bench.docker.launch(true).await.unwrap();
    let running = bench.running(&plan("main", POLITE, &[]), &[]).await;
    let volume = bench.volume("data", "/data");
    let gated = bench.gated(&plan("second", POLITE, &["/data"])).await;
    let before = bench.state(&running.id).await;

    bench.docker.kill().await.unwrap();
    let dead = bench.engine.list().await;
    bench.docker.launch(true).await.unwrap();

    assert!(matches!(dead, Err(EngineError::Unreachable { .. })), "got {dead:?}");
    assert_eq!(bench.state(&running.id).await, before);
    assert_eq!(bench.state(&gated.id).await, ContainerState::Gated);
    bench.engine.open_gate(&gated.id, &[volume]).await.unwrap();
    assert!(matches!(bench.state(&gated.id).await, ContainerState::Running { .. }));
    bench.engine.stop(&running.id, PATIENCE).await.unwrap();
    assert_eq!(bench.exited(&running.id).await, 0);
}
