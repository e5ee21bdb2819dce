//! `array ADDRESS FOLDER TOKEN`: serves until it is killed. Its devices stay, and are found again by the next one.

use std::path::Path;

use anyhow::Context;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, folder, token] = arguments.as_slice() else {
        anyhow::bail!(
            "usage: array ADDRESS FOLDER TOKEN\nhint: array 127.0.0.1:8443 /srv/array secret"
        );
    };
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("could not listen at `{address}`"))?;
    array::serve(listener, array::Shelf::open(Path::new(folder))?, token.clone()).await
}
