//! Against servers of our own on this machine, most of them hostile.

use std::{
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// Answers every connection with the same bytes, then does as told, and remembers what it was asked.
pub(super) struct Server {
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy)]
pub(super) enum Then {
    Close,
    /// Keeps the connection open and says no more.
    Hang,
    /// Says the same again and again.
    Repeat,
}

impl Server {
    pub(super) async fn new(answer: &'static str, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let heard = Arc::clone(&asked);
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 64 << 10];
                let length = stream.read(&mut request).await.unwrap();
                heard
                    .lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&request[..length]).into_owned());
                let mut sent = stream.write_all(answer.as_bytes()).await;
                match then {
                    Then::Close => {}
                    Then::Hang => std::future::pending().await,
                    Then::Repeat => {
                        while sent.is_ok() {
                            sent = stream.write_all(answer.as_bytes()).await;
                        }
                    }
                }
            }
        });
        Self { port, asked, _tasks: tasks }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A client that was granted `/api` of this server.
    fn client(&self) -> Http {
        client(&self.url("/api"))
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

pub(super) const FINE: &str = "HTTP/1.1 200 OK\r\nx-array: 7\r\ncontent-length: 2\r\n\r\nok";

pub(super) fn client(grant: &str) -> Http {
    Http { granted: vec![UrlGrant::parse(grant).unwrap()], ..Http::default() }
}

pub(super) fn get(url: &str) -> wit::Request {
    wit::Request {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: 20_000,
        attrs: Vec::new(),
    }
}

fn header(name: &str, value: &str, secret: Option<&str>) -> wit::Header {
    let secret = secret.map(str::to_owned);
    wit::Header { name: name.to_owned(), value: value.to_owned(), secret }
}

#[tokio::test]
async fn a_request_arrives_whole_with_its_secret_and_is_answered_whole() {
    let server = Server::new(FINE, Then::Hang).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut client = server.client();
    client.secrets.0.insert("token".to_owned(), token);
    let request = wit::Request {
        method: "POST".to_owned(),
        headers: vec![
            header("authorization", "Bearer ", Some("token")),
            header("content-type", "application/json", None),
        ],
        body: b"{}".to_vec(),
        ..get(&server.url("/api/volumes?limit=5"))
    };

    let response = client.send(request).await.unwrap();

    assert_eq!((response.status, &*response.body), (200, &b"ok"[..]));
    assert!(response.headers.contains(&("x-array".to_owned(), "7".to_owned())));
    let asked = server.asked().remove(0);
    assert!(asked.starts_with("POST /api/volumes?limit=5 HTTP/1.1\r\n"), "{asked}");
    for line in [
        "authorization: Bearer s3cret\r\n",
        "content-length: 2\r\n",
        &format!("host: 127.0.0.1:{}\r\n", server.port),
    ] {
        assert!(asked.contains(line), "{line}: {asked}");
    }
    assert!(asked.ends_with("\r\n\r\n{}"), "{asked}");
}

#[tokio::test]
async fn what_was_not_granted_is_not_even_connected_to() {
    let server = Server::new(FINE, Then::Close).await;
    let client = server.client();
    for url in [
        server.url("/"),
        server.url("/apis"),
        server.url("/api/../admin"),
        server.url("/api/%2e%2e/admin"),
        format!("http://root@127.0.0.1:{}/api", server.port),
        format!("https://127.0.0.1:{}/api", server.port),
        format!("http://localhost:{}/api", server.port),
        format!("http://127.0.0.1:{}/api", server.port.wrapping_add(1)),
    ] {
        let refused = client.send(get(&url)).await.unwrap_err();
        assert_eq!(refused.code, CODE_NOT_GRANTED, "{url}: {}", refused.message);
    }
    for method in ["CONNECT", "TRACE", "GET /x HTTP/1.1\r\n\r\nGET", ""] {
        let request = wit::Request { method: method.to_owned(), ..get(&server.url("/api")) };
        assert_eq!(client.send(request).await.unwrap_err().code, CODE_NOT_GRANTED, "{method}");
    }
    assert_eq!(server.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn headers_cannot_smuggle_anything() {
    let server = Server::new(FINE, Then::Close).await;
    let client = server.client();
    for (bad, word) in [
        (header("x", "a\r\nhost: evil", None), "no valid value"),
        (header("x", "a\nb", None), "no valid value"),
        (header("x\r\ny", "a", None), "no valid name"),
        (header("Host", "evil", None), "the host's"),
        (header("content-length", "0", None), "the host's"),
        (header("Transfer-Encoding", "chunked", None), "the host's"),
        (header("proxy-authorization", "x", None), "the host's"),
        (header("authorization", "Bearer ", Some("other")), "not granted"),
    ] {
        let request = wit::Request { headers: vec![bad], ..get(&server.url("/api")) };
        let said = client.send(request).await.unwrap_err().message;
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(server.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_redirect_is_answered_and_not_followed() {
    let elsewhere = Server::new(FINE, Then::Close).await;
    let location = format!(
        "HTTP/1.1 307 Go\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        elsewhere.url("/admin")
    );
    let server = Server::new(location.leak(), Then::Close).await;

    let response = server.client().send(get(&server.url("/api"))).await.unwrap();

    assert_eq!(response.status, 307);
    assert_eq!(elsewhere.asked(), Vec::<String>::new());
}

/// A name that leads into the machine or its network: however it got there, the connection is not made.
#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused() {
    let grant = UrlGrant::parse("http://array.example:8080").unwrap();
    let address = |text: &str| -> SocketAddr { format!("{text}:8080").parse().unwrap() };
    assert!(permitted(&grant, &[address("93.184.215.14")]).is_ok());
    for found in [
        vec![address("127.0.0.1")],
        vec![address("93.184.215.14"), address("127.0.0.1")],
        vec![address("169.254.169.254")],
        vec![address("[::ffff:10.0.0.1]")],
    ] {
        let said = permitted(&grant, &found).unwrap_err();
        assert!(said.contains("not public") && said.contains("hint:"), "{said}");
    }

    // The names of this machine that its resolver knows are such names.
    let server = Server::new(FINE, Then::Close).await;
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let url = format!("http://{name}:{}/", server.port);
    let refused = client(&url).send(get(&url)).await.unwrap_err();
    assert_eq!(refused.code, CODE_UNREACHABLE, "{}", refused.message);
    assert_eq!(server.asked(), Vec::<String>::new());

    let url = format!("http://localhost:{}/", server.port);
    assert_eq!(client(&url).send(get(&url)).await.unwrap().status, 200);
}

#[tokio::test]
async fn huge_slow_and_broken_answers_end() {
    let chunks =
        "HTTP/1.1 200 OK\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    for (answer, then, code) in [
        (chunks, Then::Repeat, CODE_TOO_MUCH),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nx", Then::Repeat, CODE_TOO_MUCH),
        ("x-header: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", Then::Repeat, CODE_UNREACHABLE),
        ("", Then::Hang, CODE_LATE),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", Then::Hang, CODE_LATE),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", Then::Close, CODE_UNREACHABLE),
        ("", Then::Close, CODE_UNREACHABLE),
    ] {
        let server = Server::new(answer, then).await;
        let start = Instant::now();
        let timeout_ms = if code == CODE_LATE { 300 } else { 20_000 };
        let request = wit::Request { timeout_ms, ..get(&server.url("/api")) };
        let failed = server.client().send(request).await.unwrap_err();
        assert_eq!(failed.code, code, "{answer}: {}", failed.message);
        assert!(start.elapsed() < Duration::from_secs(15), "{answer}");
    }
    let server = Server::new(FINE, Then::Close).await;
    let request = wit::Request { body: vec![0; BODY_BYTES_MAX + 1], ..get(&server.url("/api")) };
    assert_eq!(server.client().send(request).await.unwrap_err().code, CODE_NOT_GRANTED);
}
