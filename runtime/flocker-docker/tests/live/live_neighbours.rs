//! Several nodes, and strangers, on one Docker.

use std::time::Duration;

use bollard::{models::ContainerCreateBody, query_parameters::CreateContainerOptions};
use flocker_docker::{DockerConfig, DockerEngine, testing::IMAGE};
use flocker_model::{Link, LinkTarget};
use flocker_ports::{ContainerId, ContainerState, Engine, EngineError};

use crate::bench::{Bench, POLITE, plan};

fn node(bench: &Bench, name: &str, index: u8) -> DockerEngine {
    DockerEngine::connect(DockerConfig {
        socket: bench.docker.socket(),
        node: name.parse().unwrap(),
        state_dir: bench.docker.folder().join("state").join(name),
        gate: flocker_docker::testing::gate().unwrap(),
        subnet: Some(bench.docker.subnet(index)),
    })
}

/// Given containers of another node and of nobody, this node neither sees nor touches them.
#[tokio::test]
async fn what_is_not_ours_is_left_alone() {
    let bench = Bench::new().await;
    let client = bench.docker.client().await.unwrap();
    let body =
        ContainerCreateBody { image: Some(IMAGE.to_owned()), ..ContainerCreateBody::default() };
    let stranger = client.create_container(None::<CreateContainerOptions>, body).await.unwrap().id;
    client.start_container(&stranger, None).await.unwrap();
    let other = node(&bench, "n2", 3);
    let theirs = other.create(&plan("main", POLITE, &[])).await.unwrap();
    other.start_gated(&theirs.id).await.unwrap();
    other.open_gate(&theirs.id, &[]).await.unwrap();

    for id in [ContainerId(stranger.clone()), theirs.id.clone()] {
        for refused in [
            bench.engine.stop(&id, Duration::ZERO).await,
            bench.engine.remove(&id).await,
            bench.engine.start_gated(&id).await.map(|_| ()),
            bench.engine.open_gate(&id, &[]).await,
            bench.engine.exec(&id, &["true".to_owned()], Duration::from_secs(1)).await.map(|_| ()),
        ] {
            assert!(matches!(refused, Err(EngineError::NoSuchContainer(_))), "got {refused:?}");
        }
        let state = client.inspect_container(&id.0, None).await.unwrap().state.unwrap();
        assert_eq!(state.running, Some(true));
    }
    assert_eq!(bench.engine.list().await.unwrap(), []);
    assert_eq!(other.list().await.unwrap().len(), 1);
}

/// Given two nodes on one Docker, each has the address that it was configured with, and finds its network again.
#[tokio::test]
async fn each_node_has_its_own_network() {
    let bench = Bench::new().await;
    for index in [1, 2] {
        let engine = node(&bench, &format!("m{index}"), index);
        let want = bench.docker.subnet(index).gateway;

        assert_eq!(engine.ensure_network().await.unwrap(), want);
        assert_eq!(engine.ensure_network().await.unwrap(), want);

        // The node's own sockets can use it at once.
        std::net::TcpListener::bind((want, 0)).unwrap();
        let elsewhere = node(&bench, &format!("m{index}"), index + 4).ensure_network().await;
        assert!(matches!(elsewhere, Err(EngineError::Failed { .. })), "got {elsewhere:?}");
        engine.remove_network().await.unwrap();
        engine.remove_network().await.unwrap();
    }
    let chosen = bench.engine.ensure_network().await.unwrap();
    assert_eq!(bench.engine.ensure_network().await.unwrap(), chosen);
}

/// Given two apps with a `db` each, and links, every container reaches what it means, whatever was made first.
#[tokio::test]
async fn siblings_and_linked_apps_are_reached_by_their_names() {
    let bench = Bench::new().await;
    let mut web = plan("web", POLITE, &[]);
    web.siblings = vec!["web".parse().unwrap(), "db".parse().unwrap()];
    web.spec.links = vec![
        Link { alias: "store".to_owned(), target: LinkTarget::Container("db".parse().unwrap()) },
        Link { alias: "mail".to_owned(), target: LinkTarget::App("post".parse().unwrap()) },
    ];
    let web = bench.running(&web, &[]).await;
    let own = bench.running(&plan("db", POLITE, &[]), &[]).await;
    let mut foreign = plan("db", POLITE, &[]);
    foreign.app = "bank".parse().unwrap();
    let foreign = bench.running(&foreign, &[]).await;

    let gateway = bench.engine.ensure_network().await.unwrap();
    let address = |container: &flocker_ports::Container| container.address.unwrap().to_string();
    let resolve = async |name: &str| {
        bench.ask(&web.id, &format!("nslookup -type=a {name} | tail -n 2")).await
    };

    assert_ne!(own.address, foreign.address);
    assert!(resolve("db").await.contains(&address(&own)), "got {}", resolve("db").await);
    assert!(resolve("store").await.contains(&address(&own)));
    assert!(resolve("web").await.contains(&address(&web)));
    let hosts = bench.ask(&web.id, "cat /etc/hosts").await;
    assert!(hosts.contains(&format!("{gateway}\tmail")), "got {hosts}");
    assert!(matches!(bench.state(&web.id).await, ContainerState::Running { .. }));
}
