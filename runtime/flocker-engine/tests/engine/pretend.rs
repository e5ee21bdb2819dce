//! A pretend cluster with a shop in it, and a client that writes all the time and remembers what was acknowledged.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use flocker_engine::control::Deployed;
use flocker_model::{
    AppName, NodeName, Operation, OperationId, OperationState, ServiceKey, ServiceName, VolumeName,
};
use flocker_ports::Backend as _;
use flocker_sim::{Unwritten, World};
use tokio::time::{Instant, sleep, timeout};

pub(crate) const SHOP: &str = "
name: shop
services:
  redis:
    image: redis
    ports: ['6379:6379']
    volumes: ['data:/data']
    restart: always
volumes:
  data:
    x-flocker: { size: 64MiB }
";

/// Long enough for everything that a test waits for, short enough to notice that it never comes. In pretend time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

pub(crate) fn app() -> AppName {
    AppName::new("shop").unwrap()
}

pub(crate) fn redis() -> ServiceKey {
    ServiceKey { app: app(), service: ServiceName::new("redis").unwrap() }
}

/// A client that writes numbered records through a node, until it is told to end.
pub(crate) struct Client {
    acknowledged: Arc<Mutex<Vec<u64>>>,
    refused: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Client {
    pub(crate) fn start(world: Arc<World>, via: NodeName) -> Self {
        let acknowledged = Arc::new(Mutex::new(vec![]));
        let (over, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (written, ended, was_refused) = (acknowledged.clone(), over.clone(), refused.clone());
        let task = tokio::spawn(async move {
            let mut number = 0;
            while !ended.load(Ordering::Relaxed) {
                match world.write(&via, &redis(), &format!("rec-{number}"), &[7; 100]) {
                    Ok(()) => {
                        written.lock().unwrap().push(number);
                        number += 1;
                    }
                    Err(Unwritten::Refused) => was_refused.store(true, Ordering::Relaxed),
                    Err(Unwritten::Held | Unwritten::Retry) => {}
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        Self { acknowledged, refused, over, task }
    }

    /// Ends it, and returns the numbers of the records that were acknowledged.
    pub(crate) async fn end(self) -> Vec<u64> {
        self.over.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        assert!(!self.refused.load(Ordering::Relaxed), "a connection was refused");
        self.acknowledged.lock().unwrap().clone()
    }
}

/// A world of three nodes with the shop deployed and answering.
pub(crate) async fn shop() -> Arc<World> {
    let world = booted().await;
    let id = deployed(&world, SHOP).await;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    world
}

pub(crate) async fn until<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "it did not become so");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn ended(world: &World, id: &OperationId) -> Operation {
    let finished = async {
        loop {
            let operation = world.state().await.unwrap().operations.get(id).cloned();
            match operation {
                Some(operation) if operation.state.is_final() => return operation,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    match timeout(DEADLINE, finished).await {
        Ok(operation) => operation,
        Err(_) => {
            panic!("{:#?}\n{:?}", world.state().await.unwrap().operations.get(id), world.heard())
        }
    }
}

pub(crate) async fn owner(world: &World) -> NodeName {
    world.state().await.unwrap().apps[&app()].value.owner.clone().unwrap()
}

pub(crate) fn another(than: &NodeName) -> NodeName {
    node(if *than == node("n3") { "n2" } else { "n3" })
}

/// What must hold once everything has calmed down, whatever happened before.
pub(crate) async fn settled(world: &Arc<World>, acknowledged: &[u64]) {
    let owner = owner(world).await;
    until(|| async { world.read(&node("n1"), &redis(), "rec-0").is_ok() }).await;
    for number in acknowledged {
        let found = world.read(&node("n1"), &redis(), &format!("rec-{number}")).unwrap();
        assert!(
            found.is_some(),
            "record {number} of {} was acknowledged and is lost",
            acknowledged.len()
        );
    }
    let state = world.state().await.unwrap();
    let volume = state.volumes[&VolumeName::new("shop.data").unwrap()].value.clone();
    assert_eq!(volume.owner.as_ref(), Some(&owner));
    for (name, (live, processes)) in world.writers(&volume.id).await.unwrap() {
        assert_eq!(live, name == owner, "volume on {name}, owner {owner}");
        assert_eq!(processes, usize::from(name == owner), "processes on {name}, owner {owner}");
    }
}

/// The shop on a node that the test knows beforehand.
pub(crate) fn shop_on(name: &str) -> String {
    format!("{SHOP}x-flocker: {{ placement: {{ nodes: [{name}] }} }}\n")
}

pub(crate) async fn booted() -> Arc<World> {
    let world = Arc::new(World::start(&["n1", "n2", "n3"]));
    world.boot().await.unwrap();
    until(|| async { world.state().await.unwrap().nodes.len() == 3 }).await;
    sleep(Duration::from_millis(500)).await;
    world
}

pub(crate) async fn deployed(world: &World, manifest: &str) -> OperationId {
    match world.control().deploy(manifest, None).await.unwrap().1 {
        Deployed::Begun(id) => id,
        other => panic!("{other:?}"),
    }
}

/// The last operation of the shop, ended.
pub(crate) async fn last(world: &World) -> OperationState {
    until(|| async {
        let state = world.state().await.unwrap();
        !state.operations.is_empty() && state.operations.values().all(|o| o.state.is_final())
    })
    .await;
    let state = world.state().await.unwrap();
    state.operations.values().next_back().unwrap().state.clone()
}

pub(crate) async fn nothing_left_on(world: &World, name: &NodeName) {
    assert_eq!(world.backend(name).unwrap().volumes().await.unwrap(), [], "volumes on {name}");
    assert_eq!(world.engine(name).unwrap().containers(), [], "containers on {name}");
}

pub(crate) fn adopting(name: &str, volume: &str) -> String {
    format!(
        "name: {name}\nservices:\n  redis:\n    image: redis\n    volumes: ['data:/data']\nvolumes:\n  data: {{ external: true, name: {volume} }}\n"
    )
}

pub(crate) async fn volume_on(world: &World, volume: &str, at: &str) -> VolumeName {
    let name = VolumeName::new(volume).unwrap();
    let size = flocker_model::ByteSize(64 << 20);
    world.control().create_volume(&name, size.into(), None, Some(&node(at))).await.unwrap();
    name
}
