//! How long each part of a move's blackout takes. It prints, and fails only on what no disk excuses.

use std::{
    fs,
    time::{Duration, Instant},
};

use flocker_ports::Backend;
use futures::StreamExt;

use super::{ONE, SIZE, World, op, tag, volume};
use flocker_model::Epoch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parts_of_a_blackout_are_short() {
    const ROUNDS: u64 = 7;
    let world = World::new().await;
    let volume = volume("a");
    let only = std::slice::from_ref(&volume);
    let (mut here, mut there) = (world.source.backend(), world.target.backend());
    here.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    let mut base = None;
    let mut times: Vec<(&str, Vec<Duration>)> =
        ["seal", "snapshot", "send+receive", "promote", "retire", "stat"]
            .map(|n| (n, Vec::new()))
            .into();
    for round in 1..=ROUNDS {
        let epoch = Epoch(round);
        let at = here.attach(&op(epoch), &volume).await.unwrap();
        fs::write(at.path.join(format!("f{round}")), vec![round as u8; 100_000]).unwrap();
        let mut watch = Instant::now();
        let mut lap = |idx: usize| {
            times[idx].1.push(watch.elapsed());
            watch = Instant::now();
        };
        here.seal(&op(epoch), &volume).await.unwrap();
        lap(0);
        let to = here
            .snapshot(&op(epoch), only, &tag(&format!("t{round}")))
            .await
            .unwrap()
            .remove(0)
            .point;
        lap(1);
        let mut receiver =
            there.receive(&op(epoch), &volume, base.as_ref(), &to, &SIZE.into()).await.unwrap();
        let mut chunks = here.send(&volume, base.as_ref(), &to, None).await.unwrap();
        while let Some(chunk) = chunks.next().await {
            receiver.write(chunk.unwrap()).await.unwrap();
        }
        receiver.finish().await.unwrap();
        lap(2);
        there.promote(&op(epoch.next()), &volume, &to).await.unwrap();
        lap(3);
        here.retire(&op(epoch.next()), &volume, &to).await.unwrap();
        lap(4);
        there.stat(&volume).await.unwrap();
        lap(5);
        base = Some(to);
        (here, there) = (there, here);
    }
    for (name, laps) in &mut times {
        laps.sort();
        println!("{name:>12} median {:?} max {:?}", laps[laps.len() / 2], laps[laps.len() - 1]);
        assert!(laps[laps.len() / 2] < Duration::from_secs(2), "{name} takes {laps:?}");
    }
}
