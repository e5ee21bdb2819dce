//! A storage array as vendors build them, in one process and for tests: disks are sparse files on loop devices, their
//! copies share nothing, a bearer token lets one in. It knows nothing of volumes but a document for each, which it
//! guards: an older epoch, or a writer that saw an older revision, is refused.
//!
//! ```text
//! GET    /capacity
//! GET    /volumes?after=NAME&limit=N      GET, PUT, DELETE /volumes/NAME     {epoch, revision, document}
//! GET    /volumes/NAME/disks              POST /disks {op, volume, size | from}: the same `op` makes one disk
//! PATCH, DELETE /disks/ID                 POST /disks/ID/attach {read_only} -> {device}
//! ```

mod shelf;

use std::{convert::Infallible, sync::Arc};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::AUTHORIZATION,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use shelf::Shelf;

/// What is answered: a status, and a document.
type Answer = (StatusCode, Value);

/// Serves until it is dropped.
///
/// # Errors
/// The listener is broken.
pub async fn serve(listener: TcpListener, shelf: Shelf, token: String) -> anyhow::Result<()> {
    let shared = Arc::new((shelf, format!("Bearer {token}")));
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| handle(Arc::clone(&shared), request));
        tasks.spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service),
        );
        // Those that ended; an error is the client's, who knows.
        while tasks.try_join_next().is_some() {}
    }
}

async fn handle(
    shared: Arc<(Shelf, String)>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let authorised = request.headers().get(AUTHORIZATION).is_some_and(|it| *it == *shared.1);
    let (head, body) = request.into_parts();
    let (status, document) = if authorised {
        match body.collect().await {
            Ok(body) => {
                let body = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
                let work = move || {
                    let path = head.uri.path().trim_matches('/');
                    let steps: Vec<&str> = path.split('/').collect();
                    route(&shared.0, &head.method, &steps, head.uri.query().unwrap_or(""), &body)
                };
                let done = tokio::task::spawn_blocking(work).await;
                done.unwrap_or_else(|error| failed(&error.to_string()))
            }
            Err(error) => failed(&error.to_string()),
        }
    } else {
        (StatusCode::UNAUTHORIZED, json!({ "error": "the token is missing or wrong" }))
    };
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
    *response.status_mut() = status;
    Ok(response)
}

fn failed(reason: &str) -> Answer {
    (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": reason }))
}

fn route(shelf: &Shelf, method: &Method, steps: &[&str], query: &str, body: &Value) -> Answer {
    let done = match (method.as_str(), steps) {
        ("GET", ["capacity"]) => shelf.capacity(),
        ("GET", ["volumes"]) => Ok(shelf.volumes(word(query, "after"), number(query, "limit"))),
        ("GET", ["volumes", name]) => Ok(shelf.volume(name)),
        ("PUT", ["volumes", name]) => shelf.put(name, body),
        ("DELETE", ["volumes", name]) => {
            shelf.remove(name, number(query, "epoch"), number(query, "revision"))
        }
        ("GET", ["volumes", name, "disks"]) => Ok(shelf.disks(name)),
        ("POST", ["disks"]) => shelf.make(body),
        ("PATCH", ["disks", id]) => shelf.resize(id, body),
        ("DELETE", ["disks", id]) => shelf.discard(id),
        ("POST", ["disks", id, "attach"]) => shelf.attach(id, body),
        _ => Ok((StatusCode::NOT_FOUND, json!({ "error": "there is no such thing" }))),
    };
    done.unwrap_or_else(|error| failed(&format!("{error:#}")))
}

fn word<'a>(query: &'a str, key: &str) -> &'a str {
    let found = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or("")
}

fn number(query: &str, key: &str) -> u64 {
    word(query, key).parse().unwrap_or(0)
}
