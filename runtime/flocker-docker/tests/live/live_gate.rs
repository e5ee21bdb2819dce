//! The gate: what runs, when, on which mounts.

use std::{fs, io::Write, path::PathBuf, time::Duration};

use bollard::query_parameters::{
    CreateImageOptions, RestartContainerOptions, StopContainerOptions,
};
use flocker_docker::{DockerConfig, DockerEngine};
use flocker_gate::{Order, Proof, STATUS_REFUSED};
use flocker_ports::{ContainerState, Engine, EngineError};
use futures::TryStreamExt;
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Bench, PATIENCE, POLITE, plan, until};

/// Where a test finds the FIFO of container `main` of app `shop`.
fn fifo(bench: &Bench) -> PathBuf {
    bench.docker.folder().join("state/n1/gates/flocker-n1.shop.main/order")
}

fn write(bench: &Bench, bytes: &[u8]) {
    fs::File::options().write(true).open(fifo(bench)).unwrap().write_all(bytes).unwrap();
}

/// Given a user, a working directory in a volume and a second volume for reading, the app sees all of it and is the
/// first process.
#[tokio::test]
async fn the_app_takes_the_place_of_the_gate() {
    let bench = Bench::new().await;
    let mut plan = plan("main", POLITE, &["/data", "/library"]);
    plan.spec.user = Some("app".to_owned());
    plan.spec.working_dir = Some("/data".into());
    plan.spec.environment.insert("COLOUR".to_owned(), "blue".to_owned());
    let data = bench.volume("data", "/data");
    let mut library = bench.volume("library", "/library");
    library.read_only = true;
    fs::write(library.source.join("book"), "text").unwrap();

    let before = bench.host_mounts();
    let main = bench.gated(&plan).await;
    let gated = bench.host_mounts();
    bench.engine.open_gate(&main.id, &[data.clone(), library.clone()]).await.unwrap();

    assert_eq!(bench.ask(&main.id, "head -c 2 /proc/1/cmdline; pwd").await, "sh/data");
    assert_eq!(bench.ask(&main.id, "id -u; echo $COLOUR").await, "1000\nblue");
    assert_eq!(bench.ask(&main.id, "cat /library/book; echo hello > /data/greeting").await, "text");
    assert_eq!(fs::read_to_string(data.source.join("greeting")).unwrap(), "hello\n");
    let (status, _) = bench.try_ask(&main.id, "echo no > /library/book").await;
    assert_ne!(status, 0, "a read-only volume was written");
    assert_eq!(bench.host_mounts(), gated, "mounts of the container reached the host");
    bench.engine.remove(&main.id).await.unwrap();
    until(async || bench.host_mounts() == before).await;
}

/// Given an order that names another volume, the gate itself refuses, and the app never runs.
#[tokio::test]
async fn the_gate_believes_only_what_it_sees() {
    let bench = Bench::new().await;
    let main = bench.gated(&plan("main", "echo the app ran", &["/data"])).await;
    let volume = bench.volume("data", "/data");
    let proof =
        Proof { path: volume.path, device: volume.device, inode: volume.inode, read_only: false };

    write(&bench, &Order { proofs: vec![proof] }.encode());

    assert_eq!(bench.exited(&main.id).await, i64::from(STATUS_REFUSED));
    let name = "main".parse().unwrap();
    let output: Vec<_> =
        bench.engine.logs(&main.id, &name, false, None).await.unwrap().try_collect().await.unwrap();
    let output: Vec<u8> = output.into_iter().flat_map(|chunk| chunk.bytes).collect();
    let output = String::from_utf8(output).unwrap();
    assert!(output.starts_with("flocker-gate: `/data` is not the volume"), "got {output}");
    assert_eq!(output.lines().count(), 1, "got {output}");
}

/// Given a writer that dies half-way, the gate waits for another; the placeholder cannot be written meanwhile.
#[tokio::test]
async fn half_an_order_opens_nothing() {
    let bench = Bench::new().await;
    let main = bench.gated(&plan("main", POLITE, &["/data"])).await;
    let volume = bench.volume("data", "/data");
    let order = Order::default().encode();

    for length in [0, 1, order.len() / 2, order.len() - 1] {
        write(&bench, &order[..length]);
    }

    assert_eq!(bench.state(&main.id).await, ContainerState::Gated);
    let placeholder = fs::metadata(bench.docker.folder().join("state/n1/placeholder")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&placeholder.permissions()) & 0o777, 0o555);
    bench.engine.open_gate(&main.id, &[volume]).await.unwrap();
    assert!(matches!(bench.state(&main.id).await, ContainerState::Running { .. }));
}

/// Given an attempt that mounted and then failed, the next one mounts what is right then.
#[tokio::test]
async fn a_second_attempt_replaces_what_the_first_one_mounted() {
    let bench = Bench::new().await;
    let main = bench.gated(&plan("main", POLITE, &["/data"])).await;
    let (old, new) = (bench.volume("old", "/data"), bench.volume("new", "/data"));
    // In the way of the mark that comes between the mount and the order.
    let obstacle = fifo(&bench).with_file_name("opened.new");
    fs::create_dir(&obstacle).unwrap();

    let failed = bench.engine.open_gate(&main.id, std::slice::from_ref(&old)).await;
    let state = bench.state(&main.id).await;
    fs::remove_dir(&obstacle).unwrap();
    bench.engine.open_gate(&main.id, std::slice::from_ref(&new)).await.unwrap();

    assert!(matches!(failed, Err(EngineError::Failed { .. })), "got {failed:?}");
    assert_eq!(state, ContainerState::Gated);
    bench.ask(&main.id, "touch /data/here").await;
    assert!(new.source.join("here").exists() && !old.source.join("here").exists());
}

/// Given a command that does not exist, the start fails and says so; the image holds nothing at all, so the gate needs
/// nothing.
#[tokio::test]
async fn a_missing_command_is_named_also_in_an_empty_image() {
    let bench = Bench::new().await;
    let client = bench.docker.client().await.unwrap();
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some("flocker-empty".to_owned()),
        tag: Some("1".to_owned()),
        ..CreateImageOptions::default()
    };
    // Two blocks of zeros end an archive.
    let body = bollard::body_full(bytes::Bytes::from_static(&[0; 1024]));
    client.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await.unwrap();
    let mut plan = plan("main", "", &[]);
    plan.spec.image = "flocker-empty:1".to_owned();
    plan.spec.command = Some(vec!["no-such-program".to_owned()]);
    let main = bench.gated(&plan).await;

    let refused = bench.engine.open_gate(&main.id, &[]).await;

    let Err(EngineError::GateRefused { reason, .. }) = refused else { panic!("got {refused:?}") };
    assert!(reason.starts_with("could not execute `no-such-program`"), "got {reason}");
}

/// Given a container whose end Docker cannot notice, since its helper hangs, all others are still seen.
#[tokio::test]
async fn one_container_that_hangs_hides_no_other() {
    let bench = Bench::new().await;
    let client = bench.docker.client().await.unwrap();
    let other = bench.running(&plan("other", POLITE, &[]), &[]).await;
    let main = bench.running(&plan("main", POLITE, &[]), &[]).await;
    let state = client.inspect_container(&main.id.0, None).await.unwrap().state.unwrap();
    let app = Pid::from_raw(i32::try_from(state.pid.unwrap()).unwrap()).unwrap();
    let status = fs::read_to_string(format!("/proc/{app}/status")).unwrap();
    let helper = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    let helper = Pid::from_raw(helper.trim().parse().unwrap()).unwrap();

    kill_process(helper, Signal::STOP).unwrap();
    kill_process(app, Signal::KILL).unwrap();
    until(async || fs::metadata(format!("/proc/{app}/exe")).is_err()).await;
    let listed = bench.engine.list().await;
    kill_process(helper, Signal::CONT).unwrap();

    let state =
        |id| listed.as_ref().unwrap().iter().find(|one| one.id == id).unwrap().state.clone();
    let (other, unknown) = (state(other.id), state(main.id.clone()));
    assert!(matches!(other, ContainerState::Running { .. }), "got {other:?}");
    assert!(matches!(unknown, ContainerState::Exited { status: 255, .. }), "got {unknown:?}");
    until(async || bench.exited(&main.id).await == 137).await;
}

/// Given an app that somebody paused, it still gets to end in order.
#[tokio::test]
async fn a_paused_app_is_asked_to_end_as_well() {
    let bench = Bench::new().await;
    let client = bench.docker.client().await.unwrap();
    for (grace, status) in [(PATIENCE, 0), (Duration::ZERO, 137)] {
        let main = bench.running(&plan("main", POLITE, &[]), &[]).await;
        client.pause_container(&main.id.0).await.unwrap();

        let begun = std::time::Instant::now();
        bench.engine.stop(&main.id, grace).await.unwrap();

        assert!(begun.elapsed() < PATIENCE / 2, "it took {:?}", begun.elapsed());
        assert_eq!(bench.exited(&main.id).await, status);
        bench.engine.remove(&main.id).await.unwrap();
    }
}

/// Given an app that ends at once with a status that the gate uses too, its end is its own.
#[tokio::test]
async fn an_app_may_end_with_any_status() {
    let bench = Bench::new().await;
    for status in [0, 117, 127] {
        let main = bench.gated(&plan("main", &format!("exit {status}"), &[])).await;
        bench.engine.open_gate(&main.id, &[]).await.unwrap();
        assert_eq!(bench.exited(&main.id).await, status);
        bench.engine.remove(&main.id).await.unwrap();
    }
}

/// Given an operator who works past us, the app still runs only through its gate, and a gated container ends when asked.
#[tokio::test]
async fn a_restart_by_hand_ends_at_the_gate() {
    let bench = Bench::new().await;
    let client = bench.docker.client().await.unwrap();
    let volume = bench.volume("data", "/data");
    let script = format!("echo started >> /data/starts; {POLITE}");
    let main =
        bench.running(&plan("main", &script, &["/data"]), std::slice::from_ref(&volume)).await;
    let starts = || fs::read_to_string(volume.source.join("starts")).unwrap_or_default();
    until(async || starts() == "started\n").await;

    client.restart_container(&main.id.0, None::<RestartContainerOptions>).await.unwrap();
    let restarted = bench.state(&main.id).await;
    let patient = StopContainerOptions { signal: None, t: Some(120) };
    tokio::time::timeout(PATIENCE, client.stop_container(&main.id.0, Some(patient)))
        .await
        .unwrap()
        .unwrap();

    assert_eq!(restarted, ContainerState::Gated);
    assert_eq!(starts(), "started\n");
    assert_eq!(bench.exited(&main.id).await, 128 + 15);
    bench.engine.stop(&main.id, Duration::ZERO).await.unwrap();
}

/// Given a gate that the image cannot execute, the error says so, and that it is the gate's fault.
#[tokio::test]
async fn a_gate_that_cannot_be_executed_is_named() {
    let bench = Bench::new().await;
    // Linked dynamically, with a linker that no image has.
    let mut program = fs::read(std::env::current_exe().unwrap()).unwrap();
    let linker = program.windows(4).position(|bytes| bytes == b"/lib").unwrap();
    program[linker + 3] = b'x';
    let gate = bench.docker.folder().join("dynamic");
    fs::write(&gate, program).unwrap();
    let engine = DockerEngine::connect(DockerConfig {
        socket: bench.docker.socket(),
        node: "n2".parse().unwrap(),
        state_dir: bench.docker.folder().join("state/n2"),
        gate,
        subnet: Some(bench.docker.subnet(5)),
    });
    let made = engine.create(&plan("main", POLITE, &[])).await.unwrap();

    let refused = engine.start_gated(&made.id).await.unwrap_err().to_string();

    assert!(refused.contains("its gate could not be executed"), "{refused}");
    assert!(refused.contains("\nhint: "), "{refused}");
}
