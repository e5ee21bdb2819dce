//! Every hostile backend, beside a healthy one that notices nothing.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use flocker_model::{ByteSize, Guid, Point, VolumeId};
use flocker_plugins::{BackendConfig, BackendLimits, Grants, PluginBackend};
use flocker_ports::{Backend, BackendError};
use hostile::{BACKENDS, BackendCase, Becomes, Verb};

use crate::world::{ONE, SIZE, TWO, op, tag, volume};

/// A verb ends within this time, whatever a plugin does, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Small enough that a test need not wait, and large enough for a busy machine.
fn limits() -> BackendLimits {
    BackendLimits {
        wall_look: Duration::from_secs(2),
        wall_change: Duration::from_secs(2),
        cpu: Duration::from_millis(300),
        attempts: 2,
        listed: 20_000,
        listed_bytes: 32 << 20,
        wall_listing: Duration::from_secs(4),
        ..BackendLimits::default()
    }
}

/// What this claim says of a case; where it does not hold, what was seen.
macro_rules! claim {
    ($holds:expr, $($seen:tt)+) => {
        if !$holds {
            return Err(format!("{}: {}", stringify!($holds), format!($($seen)+)));
        }
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_backends_are_contained() {
    let neighbour = Node::new("neighbour", &hostile::backend("neighbour", ""));
    let healthy = neighbour.open().await.unwrap();
    let (mut bad, mut n_calls) = (Vec::new(), 0);
    for case in BACKENDS {
        let began = Instant::now();
        let tried = tried(case).await.and_then(|()| {
            claim!(began.elapsed() < PATIENCE * 2, "it took {:?}", began.elapsed());
            Ok(())
        });
        bad.extend(tried.err().map(|why| format!("  {}: {why}", case.name)));
        used(&healthy).await;
        let info = healthy.info();
        assert_eq!(info.failures, 0, "after `{}`: {info:?}", case.name);
        assert!(info.calls > n_calls, "after `{}`, nobody was asked", case.name);
        n_calls = info.calls;
    }
    assert!(bad.is_empty(), "not contained:\n{}", bad.join("\n"));
}

/// Makes a volume and takes it away again.
async fn used(healthy: &PluginBackend) {
    healthy.create(&op(ONE), &volume("a"), &SIZE.into(), None).await.unwrap();
    assert_eq!(healthy.volumes().await.unwrap().len(), 1);
    healthy.destroy(&op(ONE), &volume("a")).await.unwrap();
}

/// One host with its folders.
struct Node {
    folder: tempfile::TempDir,
    component: PathBuf,
}

impl Node {
    fn new(name: &str, component: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("pool")).unwrap();
        fs::write(at("token"), "s3cret").unwrap();
        fs::set_permissions(at("token"), fs::Permissions::from_mode(0o600)).unwrap();
        let component_at = at(&format!("{name}.wasm"));
        fs::write(&component_at, component).unwrap();
        Self { component: component_at, folder }
    }

    async fn open(&self) -> Result<PluginBackend, String> {
        let at = |name: &str| self.folder.path().join(name);
        let grants = hostile::grants(&at("pool"), &at("token"));
        let config = BackendConfig {
            path: self.component.clone(),
            settings: String::new(),
            grants: Grants::new(grants.iter().map(|grant| grant.parse().unwrap())).unwrap(),
            state_dir: at("state"),
            cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache")),
            limits: limits(),
            signed_by: None,
        };
        PluginBackend::open(config).await.map_err(|error| error.to_string())
    }
}

async fn tried(case: &BackendCase) -> Result<(), String> {
    let node = Node::new(case.name, &case.build());
    let began = Instant::now();
    let opened = node.open().await;
    claim!(began.elapsed() < PATIENCE, "opening it took {:?}", began.elapsed());
    let Some(verb) = case.asked() else { return refused(case, opened) };
    let backend = opened?;
    let before = backend.describe();
    let shown = [&before.driver, &before.pool, &before.streams];
    claim!(shown.into_iter().all(|text| harmless(text)), "{before:?}");
    prepare(&backend, verb).await.map_err(|error| format!("on the way there: {error}"))?;
    let counted = backend.info().failures;
    let began = Instant::now();
    let answer = ask(&backend, verb).await;
    claim!(began.elapsed() < PATIENCE, "the answer took {:?}", began.elapsed());
    let failures = backend.info().failures - counted;
    claim!(backend.describe() == before, "it is another one now: {:?}", backend.describe());
    let metrics = backend.info().metrics;
    claim!(metrics.len() <= 64 && metrics.keys().all(|name| harmless(name)), "{metrics:?}");
    match (case.becomes, answer) {
        (Becomes::Does(_), answer) => {
            answer.map_err(|error| error.to_string())?;
            claim!(failures == 0, "{failures} failures");
            Ok(())
        }
        (_, Ok(())) => Err("it was believed".to_owned()),
        (Becomes::Breaks(_, words), Err(error)) => {
            let tries = u64::from(limits().attempts);
            claim!(failures == tries, "{failures} tries, and then: {error}");
            told(case, &backend, &error, words)
        }
        (Becomes::Lies(_, words), Err(error)) => {
            claim!(failures == 1, "{failures} failures, and then: {error}");
            told(case, &backend, &error, words)
        }
        (Becomes::Refuses(_, words), Err(error)) => {
            claim!(failures == 0, "{failures} failures, and then: {error}");
            told(case, &backend, &error, words)
        }
        (Becomes::Refused(_), Err(_)) => Err("it was opened".to_owned()),
    }
}

/// It says who failed, at what, and how, and nothing that a terminal obeys.
fn told(
    case: &BackendCase,
    backend: &PluginBackend,
    error: &BackendError,
    words: &str,
) -> Result<(), String> {
    let said = error.to_string();
    claim!(said.starts_with(&format!("plugin `{}` failed at `", case.name)), "{said}");
    claim!(said.contains(words), "{said}");
    claim!(said.len() < 2000 && harmless(&said.replace('\n', " ")), "{said:?}");
    let troubles = backend.troubles().join(" ");
    claim!(troubles.len() < 2000 && harmless(&troubles.replace('\n', " ")), "{troubles:?}");
    let is_counted = matches!(case.becomes, Becomes::Breaks(..) | Becomes::Lies(..));
    claim!(!is_counted || backend.info().last_failure.is_some(), "nothing is kept of it");
    Ok(())
}

fn refused(case: &BackendCase, opened: Result<PluginBackend, String>) -> Result<(), String> {
    let Becomes::Refused(words) = case.becomes else { return Err("it is asked nothing".into()) };
    let Err(said) = opened else { return Err("it was opened".to_owned()) };
    claim!(said.contains(words) && said.contains(case.name), "{said}");
    claim!(said.len() < 2000 && harmless(&said.replace('\n', " ")), "{said:?}");
    Ok(())
}

fn a() -> VolumeId {
    volume("a")
}

fn point() -> Point {
    Point { tag: tag("one"), guid: Guid("1".to_owned()) }
}

/// What has to be there before it is asked.
async fn prepare(backend: &PluginBackend, verb: Verb) -> Result<(), BackendError> {
    match verb {
        Verb::Room | Verb::Volumes | Verb::Stat | Verb::Create | Verb::Receive => return Ok(()),
        Verb::AbortReceive => {
            drop(backend.receive(&op(ONE), &a(), None, &point(), &SIZE.into()).await?);
            return Ok(());
        }
        Verb::Resize
        | Verb::Destroy
        | Verb::Snapshot
        | Verb::Snapshots
        | Verb::DestroySnapshots
        | Verb::Attach
        | Verb::Seal
        | Verb::Unseal
        | Verb::Promote
        | Verb::Retire
        | Verb::Send => backend.create(&op(ONE), &a(), &SIZE.into(), None).await?,
    };
    if matches!(verb, Verb::Unseal | Verb::Promote | Verb::Retire) {
        backend.seal(&op(ONE), &a()).await?;
    }
    Ok(())
}

async fn ask(backend: &PluginBackend, verb: Verb) -> Result<(), BackendError> {
    let (a, point) = (a(), point());
    let only = std::slice::from_ref(&a);
    match verb {
        Verb::Room => backend.capacity().await.map(drop),
        Verb::Volumes => backend.volumes().await.map(drop),
        Verb::Stat => backend.stat(&a).await.map(drop),
        Verb::Create => backend.create(&op(ONE), &a, &SIZE.into(), None).await.map(drop),
        Verb::Resize => backend.resize(&op(ONE), &a, ByteSize::mib(128)).await.map(drop),
        Verb::Destroy => backend.destroy(&op(ONE), &a).await.map(drop),
        Verb::Snapshot => backend.snapshot(&op(ONE), only, &tag("one")).await.map(drop),
        Verb::Snapshots => backend.snapshots(&a).await.map(drop),
        Verb::DestroySnapshots => backend.destroy_snapshots(&op(ONE), &a, &[point]).await.map(drop),
        Verb::Attach => backend.attach(&op(ONE), &a).await.map(drop),
        Verb::Seal => backend.seal(&op(ONE), &a).await.map(drop),
        Verb::Unseal => backend.unseal(&op(ONE), &a).await.map(drop),
        Verb::Promote => backend.promote(&op(TWO), &a, &point).await.map(drop),
        Verb::Retire => backend.retire(&op(TWO), &a, &point).await.map(drop),
        Verb::Send => backend.send(&a, None, &point, None).await.map(drop),
        Verb::Receive => backend.receive(&op(ONE), &a, None, &point, &SIZE.into()).await.map(drop),
        Verb::AbortReceive => backend.abort_receive(&op(ONE), &a).await.map(drop),
    }
}

/// Nothing that a terminal obeys, and nothing that turns text round or hides it.
fn harmless(text: &str) -> bool {
    let hides = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    !text.chars().any(|c| c.is_control() || hides(c))
}
