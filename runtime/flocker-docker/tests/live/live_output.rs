//! Commands inside, output, limits, and the end of a process.

use std::time::{Duration, Instant};

use flocker_model::{ByteSize, CpuMillis};
use flocker_ports::{ContainerState, Engine, EngineError};
use futures::{StreamExt, TryStreamExt};

use crate::bench::{Bench, PATIENCE, POLITE, plan, until};

#[tokio::test]
async fn a_command_has_a_status_and_its_last_words() {
    let bench = Bench::new().await;
    let main = bench.running(&plan("main", POLITE, &[]), &[]).await;

    assert_eq!(bench.try_ask(&main.id, "echo out; echo err >&2; exit 7").await.0, 7);
    let (_, words) = bench
        .try_ask(&main.id, "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done")
        .await;
    assert!(words.ends_with("line 2999") && words.len() <= 4096, "{} bytes", words.len());
    let line = ["sleep", "777"].map(str::to_owned);
    let late = bench.engine.exec(&main.id, &line, Duration::from_millis(300)).await;
    assert!(matches!(late, Err(EngineError::Timeout { .. })), "got {late:?}");
    until(async || {
        !bench.ask(&main.id, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").await.contains("sleep 777")
    })
    .await;
}

#[tokio::test]
async fn output_is_told_apart_and_followed() {
    let bench = Bench::new().await;
    let script = format!(
        "trap 'exit 0' TERM; echo one; echo two >&2; echo three; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo four; {POLITE}"
    );
    let main = bench.running(&plan("main", &script, &[]), &[]).await;
    let name = "main".parse().unwrap();
    let engine = &bench.engine;
    let collect = async |tail| -> Vec<(bool, String)> {
        let chunks: Vec<_> =
            engine.logs(&main.id, &name, false, tail).await.unwrap().try_collect().await.unwrap();
        chunks
            .into_iter()
            .map(|chunk| (chunk.stderr, String::from_utf8(chunk.bytes.to_vec()).unwrap()))
            .collect()
    };

    until(async || collect(None).await.len() == 3).await;
    let mut all = collect(None).await;
    all.sort();
    assert_eq!(all, [(false, "one\n".into()), (false, "three\n".into()), (true, "two\n".into())]);
    let mut followed = engine.logs(&main.id, &name, true, Some(1)).await.unwrap();
    followed.next().await.unwrap().unwrap();
    bench.ask(&main.id, "touch /tmp/go").await;
    let next = tokio::time::timeout(PATIENCE, followed.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(&next.bytes[..], b"four\n");
}

#[tokio::test]
async fn limits_are_kept() {
    let bench = Bench::new().await;
    let mut plan = plan("main", "x=x; while :; do x=$x$x; done", &[]);
    plan.spec.memory = Some(ByteSize::mib(16));
    plan.spec.cpu = Some(CpuMillis(500));
    let main = bench.running(&plan, &[]).await;
    let client = bench.docker.client().await.unwrap();

    bench.exited(&main.id).await;

    let ContainerState::Exited { out_of_memory, at, .. } = bench.state(&main.id).await else {
        panic!("it ended")
    };
    assert!(out_of_memory && at.0 > 0);
    let host = client.inspect_container(&main.id.0, None).await.unwrap().host_config.unwrap();
    assert_eq!((host.memory, host.nano_cpus), (Some(16 << 20), Some(500_000_000)));
}

/// Given an app that does not want to end, it is killed after its grace; one that does is not waited for longer.
#[tokio::test]
async fn a_stop_takes_as_long_as_the_app() {
    let bench = Bench::new().await;
    let stubborn =
        bench.running(&plan("stubborn", "trap '' TERM; while :; do sleep 1; done", &[]), &[]).await;
    let polite = bench.running(&plan("polite", POLITE, &[]), &[]).await;

    let begun = Instant::now();
    bench.engine.stop(&stubborn.id, Duration::from_millis(700)).await.unwrap();
    let waited = begun.elapsed();
    bench.engine.stop(&polite.id, Duration::from_secs(600)).await.unwrap();

    assert!(waited >= Duration::from_millis(700), "killed after {waited:?}");
    assert_eq!(bench.exited(&stubborn.id).await, 128 + 9);
    assert_eq!(bench.exited(&polite.id).await, 0);
}
