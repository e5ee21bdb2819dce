//! A registry that does not stop sending. Nothing of it is kept beyond what is said of how much is read.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use serde_json::json;

use crate::{command, shown};

/// Far more than is read, so that whoever reads all of it sees an end, and complains about something else.
const ALL: usize = 64 << 20;

const LAYER: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Answers as a registry with one plugin, but does not come to an end where a path contains `endless`.
fn start(endless: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            // Whoever has read enough goes away in the middle.
            thread::spawn(move || drop(answer(stream, endless)));
        }
    });
    address
}

fn answer(mut stream: TcpStream, endless: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap()?;
    while !lines.next().unwrap()?.is_empty() {}
    if request.contains(endless) {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"schemaVersion\": 2")?;
        for _ in 0..ALL / 4096 {
            stream.write_all(&[b' '; 4096])?;
        }
        return Ok(());
    }
    let config = json!({
        "created": "2026-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2",
        "layerDigests": [LAYER], "component": {"exports": [], "imports": []},
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.wasm.config.v0+json",
            "digest": flocker_plugins::digest(config.as_bytes()), "size": config.len(),
        },
        "layers": [{"mediaType": "application/wasm", "digest": LAYER, "size": 8}],
    })
    .to_string();
    let body = match request {
        request if request.contains("/manifests/") => manifest,
        request if request.contains("/blobs/") => config,
        _ => String::new(),
    };
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}", body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())
}

fn inspected(endless: &'static str) -> String {
    let reference = format!("{}/p:1.0", start(endless));
    let mut inspect = command("unix:///nowhere", &["plugin", "inspect", "--plain-http"]);
    shown(&inspect.arg(reference).env("DOCKER_CONFIG", "/nowhere").output().unwrap())
}

#[test]
fn a_manifest_without_an_end_is_not_read_to_it() {
    let said = inspected("/manifests/");
    assert!(said.contains("/p:1.0` is too large: at most 4194304 bytes are read"), "{said}");
    assert!(said.contains("error: the manifest of `") && said.contains("hint: "), "{said}");
}

#[test]
fn a_list_of_signatures_without_an_end_is_not_read_to_it() {
    let said = inspected("/referrers/");
    assert!(said.contains("error: the list of signatures of `"), "{said}");
    assert!(said.contains("is too large: at most 4194304 bytes are read"), "{said}");
}

#[test]
fn a_blob_is_not_read_beyond_what_was_announced() {
    let said = inspected("/blobs/");
    assert!(said.contains("is longer than announced"), "{said}");
}
