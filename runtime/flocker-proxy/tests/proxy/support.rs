//! A small cluster to test with: nodes, an app that says its name, clients. Nothing here sleeps; it waits for states.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use flocker_model::{
    AppName, Epoch, NodeName, OperationId, Revision, Route, RouteTable, ServiceKey, ServiceName,
    ServiceRoute, Timestamp,
};
use flocker_proxy::{Limits, Proxy, ProxyConfig, ServiceStats};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The port of the service, below the range from which the kernel takes ports of its own.
pub(crate) const PORT: u16 = 7379;

/// A loopback address that no other test uses, in this process or another.
pub(crate) fn new_ip() -> IpAddr {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let last = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    IpAddr::V4(Ipv4Addr::new(127, 1 + high % 120, low, last))
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

pub(crate) fn redis() -> ServiceKey {
    service("redis")
}

pub(crate) fn service(name: &str) -> ServiceKey {
    ServiceKey { app: AppName::new("shop").unwrap(), service: ServiceName::new(name).unwrap() }
}

pub(crate) fn active(name: &str, epoch: u64) -> Route {
    Route::Active { node: node(name), epoch: Epoch(epoch) }
}

pub(crate) fn parked() -> Route {
    Route::Parked {
        operation: OperationId::new("op-1").unwrap(),
        deadline: now() + Duration::from_secs(60),
    }
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_millis()).unwrap())
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, so: impl Fn() -> bool) -> impl Future<Output = ()> {
    let (what, place) = (what.to_owned(), std::panic::Location::caller());
    async move {
        let look = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            while !so() {
                ticks.tick().await;
            }
        };
        assert!(timeout(PATIENCE, look).await.is_ok(), "never: {what} ({place})");
    }
}

/// Waits for it, but not for ever.
#[track_caller]
pub(crate) fn soon<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let (what, place) = (what.to_owned(), std::panic::Location::caller());
    async move {
        match timeout(PATIENCE, future).await {
            Ok(value) => value,
            Err(_) => panic!("never: {what} ({place})"),
        }
    }
}

/// One node's proxy.
pub(crate) struct Node {
    pub(crate) ip: IpAddr,
    pub(crate) mesh: SocketAddr,
    pub(crate) proxy: Proxy,
}

/// Nodes, and the routes that they are told.
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) table: RouteTable,
}

impl Cluster {
    pub(crate) async fn of(names: &[&str]) -> Self {
        Self::with_limits(names, Limits::default()).await
    }

    /// Nodes of these names. They know no service yet.
    pub(crate) async fn with_limits(names: &[&str], limits: Limits) -> Self {
        let mut cluster = Self { nodes: BTreeMap::new(), table: RouteTable::default() };
        for name in names {
            let ip = new_ip();
            let listener = TcpListener::bind((ip, 7300)).await.unwrap();
            let mesh = listener.local_addr().unwrap();
            let config = ProxyConfig {
                node: node(name),
                listen: vec![ip],
                mesh: listener,
                limits: limits.clone(),
            };
            cluster
                .nodes
                .insert((*name).to_owned(), Node { ip, mesh, proxy: Proxy::start(config) });
            cluster.table.mesh.insert(node(name), mesh);
        }
        cluster
    }

    pub(crate) fn proxy(&self, name: &str) -> &Proxy {
        &self.nodes[name].proxy
    }

    /// Where clients find the service on a node.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        SocketAddr::new(self.nodes[name].ip, PORT)
    }

    pub(crate) fn stats(&self, name: &str) -> ServiceStats {
        self.proxy(name).stats().services.remove(&redis()).unwrap_or_default()
    }

    /// The next table, in which the service leads there.
    pub(crate) fn next(&mut self, route: Route) -> RouteTable {
        self.table.revision = Revision(self.table.revision.0 + 1);
        self.table.services.insert(redis(), ServiceRoute { host_ip: None, port: PORT, route });
        self.table.clone()
    }

    /// Tells every node, and waits until all follow.
    pub(crate) async fn route(&mut self, route: Route) {
        let table = self.next(route);
        self.publish(&table).await;
    }

    pub(crate) async fn publish(&self, table: &RouteTable) {
        for node in self.nodes.values() {
            node.proxy.publish(table.clone());
        }
        for node in self.nodes.values() {
            soon("the table is applied", node.proxy.applied(table.revision)).await;
        }
    }

    /// An app runs on the node, and the node answers for it.
    pub(crate) async fn start_app(&self, name: &str, epoch: u64) -> App {
        let app = App::start(name, (new_ip(), 0).into()).await;
        self.proxy(name).serve(&redis(), Epoch(epoch), app.address);
        app
    }
}

/// An app that answers each line with its name and the line, `wait` only after [`App::permit`], and the end of the
/// stream with the number of bytes that came. It ends when it is dropped.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

/// What an app shares with its connections.
struct Seen {
    name: String,
    lines: AtomicUsize,
    open: AtomicUsize,
    permits: Semaphore,
}

impl App {
    pub(crate) async fn start(name: &str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen {
            name: name.to_owned(),
            lines: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            permits: Semaphore::new(0),
        });
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.open.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    shared.answer(stream).await;
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, seen, _tasks: tasks }
    }

    /// How many lines came.
    pub(crate) fn lines(&self) -> usize {
        self.seen.lines.load(Ordering::SeqCst)
    }

    /// How many connections it has.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// One `wait` more may be answered.
    pub(crate) fn permit(&self) {
        self.seen.permits.add_permits(1);
    }
}

impl Seen {
    async fn answer(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let (mut line, mut total) = (String::new(), 0);
        while let Ok(n) = reader.read_line(&mut line).await {
            total += n;
            self.lines.fetch_add(n.min(1), Ordering::SeqCst);
            if line == "wait\n" {
                self.permits.acquire().await.unwrap().forget();
            }
            let name = &self.name;
            let answer =
                if n == 0 { format!("{name} {total} bytes\n") } else { format!("{name} {line}") };
            if writer.write_all(answer.as_bytes()).await.is_err() || n == 0 {
                return;
            }
            line.clear();
        }
    }
}

/// A client's connection.
pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

/// How a client's connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Orderly,
    Reset,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(soon("a connection", TcpStream::connect(address)).await.unwrap()))
    }

    pub(crate) async fn say(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// The next line of the app.
    pub(crate) async fn hear(&mut self) -> String {
        let mut line = String::new();
        soon("an answer", self.0.read_line(&mut line)).await.unwrap();
        assert!(line.ends_with('\n'), "cut off after {line:?}");
        line.trim_end().to_owned()
    }

    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.say(line).await;
        self.hear().await
    }

    /// Waits for the end, before which nothing more may come.
    pub(crate) async fn end(&mut self) -> Ended {
        match soon("the end of the connection", self.0.read(&mut [0; 64])).await {
            Ok(0) => Ended::Orderly,
            Ok(n) => panic!("{n} bytes more"),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                Ended::Reset
            }
        }
    }
}
