//! The port's own suite, and how long a stop takes.

use flocker_docker::testing::IMAGE;
use flocker_ports::{Engine, contract::engine::Workbench};

use crate::bench::Bench;

#[tokio::test]
async fn docker_keeps_the_contract() {
    let bench = Bench::new().await;
    let client = bench.docker.client().await.unwrap();
    // `sleep` has no handler for SIGTERM, and as the first process would ignore it.
    let polite = ["sh", "-c", crate::bench::POLITE].map(str::to_owned).to_vec();
    let config = bollard::models::ContainerConfig { cmd: Some(polite), ..Default::default() };
    let base = bollard::models::ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        ..Default::default()
    };
    let made = client
        .create_container(None::<bollard::query_parameters::CreateContainerOptions>, base)
        .await
        .unwrap();
    let commit = bollard::query_parameters::CommitContainerOptions {
        container: Some(made.id),
        repo: Some("flocker-polite".to_owned()),
        tag: Some("1".to_owned()),
        ..Default::default()
    };
    client.commit_container(commit, config).await.unwrap();
    let workbench = Workbench {
        app: "contract".parse().unwrap(),
        image: "flocker-polite:1".to_owned(),
        volume: bench.volume("data", "/data"),
    };

    flocker_ports::contract::engine::all(&bench.engine, &workbench).await;

    assert!(bench.engine.ping().await.unwrap().starts_with("Docker "));
}
