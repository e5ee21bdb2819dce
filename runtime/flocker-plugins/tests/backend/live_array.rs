//! `plugins/http-backend` on the array of `tests/array`: requests, a secret and block devices, all of them real.
//!
//! The port's rules are asked of two nodes that have an array each: a volume is there twice while it moves. What a
//! shared array adds to them, one writer of a newer epoch against an older, is asked below.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use flocker_model::ByteSize;
use flocker_plugins::{BackendConfig, BackendLimits, Grants, OpenBackendError, PluginBackend};
use flocker_ports::{
    Backend, BackendError,
    contract::backend::{Pair, RealFiles, missing_feature},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

use crate::world::{ONE, SIZE, TWO, dir_backend, op, tag, volume};

/// As `backend_contract!`, but for the two that let a mounted filesystem grow: Linux asks for a capability that root
/// does not have everywhere. Without it they are not asked, and what is said instead is.
macro_rules! contract {
    ({} $($name:ident)*) => { $(contract!($name);)* };
    (resize_is_remembered) => { contract!(grows resize_is_remembered); };
    (a_writer_hits_the_limit) => { contract!(grows a_writer_hits_the_limit); };
    (grows $name:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let nodes = Nodes::new().await;
            if may_grow() {
                flocker_ports::contract::backend::$name(nodes.pair()).await;
            } else {
                eprintln!("{} is not asked: CAP_SYS_RESOURCE is missing", stringify!($name));
                the_limit_is_kept_and_growing_refused_in_words(&nodes).await;
            }
        }
    };
    ($name:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let nodes = Nodes::new().await;
            match missing_feature(stringify!($name), nodes.pair().source) {
                None => flocker_ports::contract::backend::$name(nodes.pair()).await,
                Some(feature) => eprintln!("passed over: `{feature}` is not declared"),
            }
        }
    };
}
flocker_ports::each_backend_contract! { contract! {} }

/// Whether this process may let mounted filesystems grow: bit 24 of its capabilities.
fn may_grow() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() >> 24 & 1 == 1
}

async fn the_limit_is_kept_and_growing_refused_in_words(nodes: &Nodes) {
    let (backend, volume) = (nodes.source.backend(), volume("limit"));
    backend.create(&op(ONE), &volume, &ByteSize::mib(16).into(), None).await.unwrap();
    let at = backend.attach(&op(ONE), &volume).await.unwrap();
    fs::write(at.path.join("small"), vec![1; 4 << 20]).unwrap();
    let full = fs::write(at.path.join("large"), vec![2; 24 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);

    // Asked for again it does not pretend either; the files stay.
    for _ in 0..2 {
        let refused = backend.resize(&op(ONE), &volume, ByteSize::mib(96)).await;
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("resize2fs") && said.contains("CAP_SYS_RESOURCE"), "{said}");
    }
    let at = backend.attach(&op(ONE), &volume).await.unwrap();
    assert_eq!(fs::read(at.path.join("small")).unwrap(), vec![1; 4 << 20]);
}

const TOKEN: &str = "t0ken";

/// An array that runs until it is dropped, and leaves no devices then.
struct Array {
    folder: TempDir,
    port: u16,
    server: JoinSet<anyhow::Result<()>>,
}

impl Array {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut array = Self { folder, port: 0, server: JoinSet::new() };
        array.start().await;
        array
    }

    async fn start(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let shelf = array::Shelf::open(self.folder.path()).unwrap();
        self.server.spawn(array::serve(listener, shelf, TOKEN.to_owned()));
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        array::Shelf::detach_all(self.folder.path()).unwrap();
    }
}

/// One node and what it keeps.
struct Node {
    backend: Option<PluginBackend>,
    folder: TempDir,
}

impl Node {
    async fn new(array: &Array) -> Self {
        let folder = tempfile::tempdir().unwrap();
        secret(&folder.path().join("token"), TOKEN);
        let mut node = Self { backend: None, folder };
        node.backend = Some(PluginBackend::open(node.config(array)).await.unwrap());
        node
    }

    fn config(&self, array: &Array) -> BackendConfig {
        let token = self.folder.path().join("token");
        let grants = [
            format!("http={}", array.url()),
            "device=/dev/loop*".to_owned(),
            format!("secret=token:{}", token.display()),
        ];
        BackendConfig {
            path: http_backend(),
            settings: format!(r#"{{"url":"{}"}}"#, array.url()),
            grants: Grants::new(grants.iter().map(|grant| grant.parse().unwrap())).unwrap(),
            state_dir: self.folder.path().join("state"),
            cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache")),
            limits: BackendLimits::default(),
            signed_by: None,
        }
    }

    fn backend(&self) -> &PluginBackend {
        self.backend.as_ref().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(backend) = &self.backend {
            backend.close().unwrap();
        }
    }
}

/// Two nodes. Fields are dropped in their order: mounts go before devices.
struct Nodes {
    source: Node,
    target: Node,
    _arrays: [Array; 2],
}

impl Nodes {
    async fn new() -> Self {
        let arrays = [Array::new().await, Array::new().await];
        let (source, target) = (Node::new(&arrays[0]).await, Node::new(&arrays[1]).await);
        Self { source, target, _arrays: arrays }
    }

    fn pair(&self) -> Pair<'_> {
        Pair { source: self.source.backend(), target: self.target.backend(), content: &RealFiles }
    }
}

fn http_backend() -> PathBuf {
    let path = dir_backend().with_file_name("http_backend.wasm");
    let shown = path.display();
    assert!(path.exists(), "`{shown}` is missing\nhint: cd plugins && cargo build --release");
    path
}

fn secret(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Given the array and the daemon gone and come again, the data is there, and so is its owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_both_finds_the_volume_again() {
    let mut array = Array::new().await;
    let mut node = Node::new(&array).await;
    let volume = volume("kept");
    node.backend().create(&op(ONE), &volume, &SIZE.into(), Some((1234, 1235))).await.unwrap();
    let before = node.backend().attach(&op(ONE), &volume).await.unwrap();
    fs::write(before.path.join("f"), "precious").unwrap();

    array.server.shutdown().await;
    let refused = node.backend().attach(&op(ONE), &volume).await.unwrap_err().to_string();
    assert!(refused.contains("could not be reached"), "{refused}");
    array.start().await;
    node.backend = None;
    node.backend = Some(PluginBackend::open(node.config(&array)).await.unwrap());

    let after = node.backend().attach(&op(ONE), &volume).await.unwrap();
    assert_eq!(after, before);
    assert_eq!(fs::read(after.path.join("f")).unwrap(), b"precious");
    assert_eq!(fs::metadata(&after.path).unwrap().uid(), 1234);

    // And after the machine itself was gone: no mounts.
    node.backend().close().unwrap();
    let again = node.backend().attach(&op(ONE), &volume).await.unwrap();
    assert_eq!(fs::read(again.path.join("f")).unwrap(), b"precious");
}

/// Two nodes share an array: who was replaced is refused by the array itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_an_older_epoch_changes_nothing_in_a_shared_array() {
    let array = Array::new().await;
    let (old, new) = (Node::new(&array).await, Node::new(&array).await);
    let volume = volume("shared");
    let only = std::slice::from_ref(&volume);
    old.backend().create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    old.backend().seal(&op(ONE), &volume).await.unwrap();
    let at = old.backend().snapshot(&op(ONE), only, &tag("one")).await.unwrap().remove(0).point;
    old.backend().close().unwrap();

    new.backend().promote(&op(TWO), &volume, &at).await.unwrap();

    let refused = old.backend().snapshot(&op(ONE), only, &tag("late")).await.unwrap_err();
    assert!(matches!(refused, BackendError::StaleEpoch { .. }), "{refused}");
    assert_eq!(new.backend().snapshots(&volume).await.unwrap().len(), 1);
}

/// Given writers, a snapshot is a whole filesystem: it is read without a repair, and they go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_wait_for_a_snapshot_and_go_on() {
    let nodes = Nodes::new().await;
    let (backend, volume) = (nodes.source.backend(), volume("busy"));
    backend.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    let at = backend.attach(&op(ONE), &volume).await.unwrap();
    let path = at.path.join("f");
    let writer = std::thread::spawn(move || {
        for round in 0..200_u32 {
            fs::write(&path, vec![7; 40_000]).unwrap();
            fs::rename(&path, path.with_extension((round % 9).to_string())).unwrap();
        }
    });
    for round in 0..3 {
        let tag = tag(&format!("t{round}"));
        let taken = backend.snapshot(&op(ONE), std::slice::from_ref(&volume), &tag).await;
        let point = taken.unwrap().remove(0).point;
        let mut stream = backend.send(&volume, None, &point, None).await.unwrap();
        while let Some(chunk) = futures::StreamExt::next(&mut stream).await {
            chunk.unwrap();
        }
    }
    tokio::task::spawn_blocking(|| writer.join().unwrap()).await.unwrap();
    fs::write(at.path.join("after"), "x").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_granted_is_missed_in_words() {
    let array = Array::new().await;
    let node = Node::new(&array).await;
    let refused = |grants: Vec<String>| {
        let mut config = node.config(&array);
        config.state_dir = node.folder.path().join("other");
        config.grants = Grants::new(grants.iter().map(|grant| grant.parse().unwrap())).unwrap();
        PluginBackend::open(config)
    };
    let http = format!("http={}", array.url());
    let device = "device=/dev/loop*".to_owned();
    let open = node.folder.path().join("open");
    fs::write(&open, TOKEN).unwrap();
    for (grants, word) in [
        (vec![], "--grant http=URL"),
        (vec![http.clone()], "--grant device=/dev/NAME*"),
        (vec![http.clone(), device.clone()], "--grant secret=token:/PATH"),
        (
            vec![http.clone(), device.clone(), format!("secret=token:{}", open.display())],
            "chmod 600",
        ),
    ] {
        let said = refused(grants).await.unwrap_err().to_string();
        assert!(said.contains(word), "{said}");
    }

    // Another secret, another port, another device: the array, the host and the host refuse.
    let token = node.folder.path().join("token");
    secret(&token, "wrong");
    let said = node.backend().stat(&volume("a")).await.unwrap_err().to_string();
    assert!(said.contains("401") && !said.contains("wrong\""), "{said}");
    secret(&token, TOKEN);
    let secret = format!("secret=token:{}", token.display());
    let elsewhere = vec!["http=http://127.0.0.1:1".to_owned(), device, secret.clone()];
    let said = match refused(elsewhere).await {
        Ok(backend) => backend.stat(&volume("a")).await.unwrap_err().to_string(),
        Err(error @ OpenBackendError::Plugin(_)) => error.to_string(),
        Err(error) => panic!("{error}"),
    };
    assert!(said.contains("not granted"), "{said}");
    let other = refused(vec![http, "device=/dev/sd*".to_owned(), secret]).await.unwrap();
    let said =
        other.create(&op(ONE), &volume("a"), &SIZE.into(), None).await.unwrap_err().to_string();
    assert!(said.contains("device `/dev/loop") && said.contains("was not granted"), "{said}");
}
