//! The wiring: the only place that knows two adapters at once.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use flocker_api::{Forward, Target};
use flocker_docker::{DockerConfig, DockerEngine};
use flocker_engine::{
    agent::{Agent, AgentParts},
    cluster::Cluster,
    control::Control,
    follower::{self, Followed},
    leader::{Leader, LeaderParts},
};
use flocker_planner::{Policies, plan::Settings};
use flocker_plugins::PluginHost;
use flocker_ports::{Store, SystemClock};
use flocker_proxy::{Limits, Proxy, ProxyConfig};
use flocker_replication::{KeyPair, Receiving, ReceivingConfig, Sender, SenderConfig};
use flocker_store::{EmbeddedStore, RemoteStore};
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Config, PORT_API, PORT_MESH, PORT_REPLICATION},
    ground::Ground,
    identity,
    kept_on::KeptOn,
    machine::ThisMachine,
    peers::Directory,
    plugins::{self, Plugins},
    proxy::{ProxyRoutes, publish},
    registration::Registration,
    storage::{self, Storage},
    streams, wire,
};

/// Calls that are under way when the daemon is asked to end are given so long.
const LAST_CALLS: Duration = Duration::from_millis(500);

/// What runs is given so long to end after we were asked to; then it is left as a crash would leave it.
const FAREWELL: Duration = Duration::from_secs(5);

/// A start that was given up because the daemon was asked to end while it waited for this.
#[derive(Debug, thiserror::Error)]
#[error("asked to end while waiting for {0}")]
pub(crate) struct AskedToEnd(pub(crate) &'static str);

/// Runs the node until it is asked to end.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    // From the first moment on: one that still waits for Docker or for the store is asked to end as well.
    tokio::spawn(stop_at_signal(stop.clone()));
    match serve(config, stop).await {
        Err(error) if error.is::<AskedToEnd>() => {
            tracing::info!("ended before it was ready: {error:#}");
            Ok(())
        }
        ended => ended,
    }
}

/// What can be found out without making anything on the machine comes first.
async fn serve(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    flocker_docker::check_gate(&config.gate)?;
    // From here on, being told to read the plugins again does not end a node that is still waiting for something.
    let hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be handled here")?;
    // The node's address may be that of its bridge, which is there only once Docker made it.
    let on_bridge = config.subnet.is_some_and(|subnet| subnet.gateway == config.address);
    if !on_bridge {
        drop(listen(config.address, 0, "anything").await?);
    }
    let place = identity::open(&config.state_dir)?;
    let socket = Socket::open(&config.socket)?;
    let listeners = if on_bridge { None } else { Some(Listeners::bind(&config).await?) };
    let policies = plugins::load(&config).await?;
    let storage = Storage::prepare(&config).await?;
    let store = store(&config).await?;
    let cluster = Cluster::new(store.clone());
    let own_key = streams::own_key(&config)?;
    let stream_key = own_key.as_ref().map(KeyPair::public);
    let registration = Registration::new(&config, cluster, &place.identity, stream_key);
    if let Some(store) = config.join {
        // Said at once: the first answer that there is none takes a while.
        tracing::info!(%store, "looking for the cluster's store");
    }
    registration.check(&stop).await?;
    let kept_on = KeptOn::of(&config, &storage)?;
    if let Some(before) = KeptOn::before(&config.state_dir)?.filter(|before| *before != kept_on) {
        let volumes = registration.volumes(&stop).await?;
        kept_on.check(&before, &config.node, &volumes, &config.state_dir)?;
    }

    let engine = Arc::new(docker(&config));
    let mut ground = Ground::new(engine.clone());
    let starting = Starting {
        config,
        stop,
        hangup,
        own_key,
        registration,
        policies,
        storage,
        kept_on,
        store,
        engine,
    };
    match starting.start(&mut ground, socket, listeners).await {
        Ok(running) => running.until_asked().await,
        Err(error) => {
            ground.undo().await;
            Err(error)
        }
    }
}

/// What is known and open before anything is made on the machine.
struct Starting {
    config: Config,
    stop: CancellationToken,
    hangup: Signal,
    own_key: Option<KeyPair>,
    registration: Registration,
    policies: Arc<PluginHost>,
    storage: Storage,
    kept_on: KeptOn,
    store: Arc<dyn Store>,
    engine: Arc<DockerEngine>,
}

impl Starting {
    /// Makes what is missing on the machine and starts every part. Nothing runs yet where it fails.
    async fn start(
        self,
        ground: &mut Ground,
        socket: Socket,
        listeners: Option<Listeners>,
    ) -> anyhow::Result<Running> {
        let Self { config, stop, hangup, own_key, registration, policies, .. } = self;
        let Self { storage, kept_on, store, engine, .. } = self;
        let plugins = Plugins { policies: policies.clone(), backend: storage.plugin() };
        let gateway = ground.network(&stop).await?;
        let listeners = match listeners {
            Some(listeners) => listeners,
            None => Listeners::bind(&config).await?,
        };
        let backend = ground.storage(storage).await?;
        // Before anybody can make a volume on it.
        kept_on.remember(&config.state_dir)?;
        let mut listen = vec![config.address];
        listen.extend(Some(gateway).filter(|gateway| *gateway != config.address));
        let proxy = Proxy::start(ProxyConfig {
            node: config.node.clone(),
            listen,
            mesh: listeners.mesh,
            limits: Limits::default(),
        });
        let cluster = Cluster::new(store.clone());
        let followed = follower::follow(cluster.clone(), stop.clone());
        let transport = streams::transport(own_key, followed.clone())?;
        let sending = SenderConfig::default();
        let parts = AgentParts {
            node: config.node.clone(),
            backend: backend.clone(),
            engine,
            replication: Arc::new(Sender::new(backend.clone(), transport.clone(), sending)),
            routes: Arc::new(ProxyRoutes(proxy.clone())),
            clock: Arc::new(SystemClock),
            machine: Arc::new(ThisMachine),
        };
        let agent = Agent::open(parts, &config.state_dir.join("journal"))?;
        // The last thing that may fail: from here on the others count on this node.
        let node = registration.write(&stop).await?;

        let leader = leader(&config, cluster, followed.clone(), agent.clone(), policies.clone());
        let tasks = TaskTracker::new();
        tasks.spawn(publish(proxy.clone(), followed.clone(), stop.clone()));
        let receiving = ReceivingConfig::new(config.node.clone());
        let (listener, ended) = (listeners.replication, stop.clone());
        tasks.spawn(Receiving::serve(listener, backend, transport, receiving, ended));
        let peers = Directory::new(config.node.clone(), agent.clone(), followed.clone());
        let (replicating, records, ended) = (agent.clone(), followed.clone(), stop.clone());
        tasks.spawn(async move { replicating.replicate(records, Arc::new(peers), ended).await });
        let (supervising, supervised) = (agent.clone(), stop.clone());
        tasks.spawn(async move { supervising.supervise(supervised).await });
        if config.join.is_none() {
            let (leading, led) = (leader.clone(), stop.clone());
            tasks.spawn(async move { leading.lead(led).await });
        }
        let reloaded = plugins.clone();
        tasks.spawn(plugins::reload_at_hangup(hangup, reloaded, config.clone(), stop.clone()));
        let ending = plugins.clone();
        let answering =
            Answering { config: &config, leader, agent: agent.clone(), policies, store };
        answering.serve(socket.listener, listeners.api, &tasks, &stop);

        tracing::info!(node = %node.name, api = %node.api, socket = %config.socket.display(), %gateway, "ready");
        let _socket = socket.file;
        Ok(Running { stop, registration, followed, tasks, agent, proxy, plugins: ending, _socket })
    }
}

/// A node that works.
struct Running {
    stop: CancellationToken,
    registration: Registration,
    followed: Followed,
    tasks: TaskTracker,
    agent: Agent,
    proxy: Proxy,
    plugins: Plugins,
    _socket: SocketFile,
}

impl Running {
    /// Works until the daemon is asked to end, or the node was removed from the cluster, which is an error.
    async fn until_asked(self) -> anyhow::Result<()> {
        let ended = tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            () = self.registration.removed(self.followed) => Err(self.registration.farewell()),
        };
        tracing::info!("ending; containers go on running");
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(FAREWELL, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                "some tasks did not end in time; what they did is finished at the next start"
            );
        }
        // A step that is still under way ends here as in a crash; its order is given again.
        self.agent.halt();
        self.proxy.stop().await;
        let Plugins { policies, backend } = self.plugins;
        // What was decided last is what somebody will want to know who looks for the reason of the end.
        let flushed = tokio::task::spawn_blocking(move || policies.flush_records());
        if tokio::time::timeout(FAREWELL, flushed).await.is_err() {
            tracing::warn!("the last decisions may be missing in the records");
        }
        if let Some(backend) = backend {
            storage::close(backend).await;
        }
        ended
    }
}

/// Cancels `stop` when the daemon is asked to end.
async fn stop_at_signal(stop: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be handled here; being asked to end is as being killed");
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    stop.cancel();
}

fn docker(config: &Config) -> DockerEngine {
    DockerEngine::connect(DockerConfig {
        socket: config.docker.clone(),
        node: config.node.clone(),
        state_dir: config.state_dir.clone(),
        gate: config.gate.clone(),
        subnet: config.subnet,
    })
}

async fn store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    match config.join {
        None => Ok(Arc::new(EmbeddedStore::open(&config.state_dir.join("store.redb")).await?)),
        Some(address) => Ok(Arc::new(RemoteStore::connect_lazy(&address.to_string())?)),
    }
}

/// Where operators of this machine connect.
struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

/// Takes the socket away with the daemon, also with one whose start fails. The state directory's lock is let go later,
/// so what is taken away is never the next daemon's.
struct SocketFile(PathBuf);

impl Socket {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let listener = flocker_api::unix_listener(path)?;
        Ok(Self { listener, file: SocketFile(path.to_owned()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "the socket stays");
        }
    }
}

/// The ports between nodes.
struct Listeners {
    api: TcpListener,
    mesh: TcpListener,
    replication: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            api: listen(config.address, PORT_API, "gRPC").await?,
            mesh: listen(config.address, PORT_MESH, "other nodes' proxies").await?,
            replication: listen(config.address, PORT_REPLICATION, "streams from other nodes")
                .await?,
        })
    }
}

async fn listen(address: IpAddr, port: u16, what: &str) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    TcpListener::bind(address).await.map_err(|error| {
        let hint = if error.kind() == ErrorKind::AddrNotAvailable {
            "\nhint: `--address` must be an address of this machine; `ip -br address` lists them"
                .to_owned()
        } else if error.kind() == ErrorKind::AddrInUse {
            format!("\nhint: `ss -ltnp 'sport = :{port}'` shows who has the port")
        } else {
            String::new()
        };
        anyhow::anyhow!("could not listen on {address} for {what}: {error}{hint}")
    })
}

fn leader(
    config: &Config,
    cluster: Cluster,
    followed: Followed,
    agent: Agent,
    policies: Arc<PluginHost>,
) -> Leader {
    let policies: Arc<dyn Policies> = policies;
    Leader::new(LeaderParts {
        cluster,
        peers: Arc::new(Directory::new(config.node.clone(), agent, followed.clone())),
        followed,
        policies,
        clock: Arc::new(SystemClock),
        settings: Settings { cooldown: config.rebalance_cooldown, ..Settings::default() },
        rebalance_every: config.rebalance_every,
    })
}

/// What answers gRPC.
struct Answering<'a> {
    config: &'a Config,
    leader: Leader,
    agent: Agent,
    policies: Arc<PluginHost>,
    store: Arc<dyn Store>,
}

impl Answering<'_> {
    /// Operators through the unix socket, nodes through TCP. A node that does not lead passes operators' calls on.
    fn serve(
        self,
        socket: UnixListener,
        api: TcpListener,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let target = match self.config.join {
            None => Target::Here,
            Some(address) => match flocker_api::Address::Tcp(address).connect_lazy() {
                Ok(channel) => Target::There(channel),
                Err(failure) => Target::Nowhere(failure),
            },
        };
        let control = wire::control_server(
            Control::new(self.leader),
            self.config.node.clone(),
            self.policies,
        );
        let control = Forward::new(control, move || target.clone());
        let operators = flocker_api::server().add_service(control.clone());
        let asked = stop.clone();
        let incoming = flocker_api::incoming_unix(socket);
        tasks.spawn(async move {
            let serving =
                operators.serve_with_incoming_shutdown(incoming, asked.clone().cancelled_owned());
            answer("operators", serving, asked).await;
        });
        let leads = self.config.join.is_none();
        let nodes = flocker_api::server()
            .add_service(control)
            .add_service(wire::agent_server(Arc::new(self.agent)))
            .add_optional_service(leads.then(|| flocker_store::serve(self.store)));
        let asked = stop.clone();
        let incoming = flocker_api::incoming_tcp(api);
        tasks.spawn(async move {
            let serving =
                nodes.serve_with_incoming_shutdown(incoming, asked.clone().cancelled_owned());
            answer("nodes", serving, asked).await;
        });
    }
}

/// Answers until asked to end, and a moment longer: calls that are under way may finish, but a watch never would.
async fn answer(
    whom: &str,
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
    stop: CancellationToken,
) {
    let patience = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_CALLS).await;
    };
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            tracing::error!(%error, "no longer answering {whom}");
        },
        () = patience => {}
    }
}
