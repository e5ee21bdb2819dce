//! Sends a plugin's requests to the URLs that the operator granted. Each request is a connection of its own, to an
//! address that was looked up once, checked, and is not looked up again; nothing is followed, nothing is kept.

pub(crate) mod tls;

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{HOST, HeaderMap, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use url::{Host, Position, Url};

use super::{
    bindings::flocker::plugin::{http as wit, types::Failure},
    secrets::Secrets,
    state::{CODE_LATE, CODE_NOT_GRANTED, CODE_TOO_MUCH, CODE_UNREACHABLE, coded, wait_at_most},
};
use crate::{
    chatter::tame,
    grants::url::{UrlGrant, read},
};
use tls::Tls;

/// What a body may hold, in either direction.
const BODY_BYTES_MAX: usize = 4 << 20;
/// What the headers of an answer may hold together.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// What decides where a request goes or where it ends; the host writes these itself.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a plugin may reach, and what may be put into its requests.
#[derive(Debug, Default)]
pub(crate) struct Http {
    pub(crate) granted: Vec<UrlGrant>,
    pub(crate) secrets: Secrets,
    pub(crate) tls: Tls,
}

impl Http {
    pub(crate) async fn send(&self, what: wit::Request) -> Result<wit::Response, Failure> {
        let wall = wait_at_most(what.timeout_ms);
        let url = tame(&what.url, 200);
        let late = |_| coded(CODE_LATE, format!("`{url}` did not answer within {wall:?}"));
        timeout(wall, self.exchange(what)).await.map_err(late)?
    }

    async fn exchange(&self, what: wit::Request) -> Result<wit::Response, Failure> {
        let refuse = |reason: &str| {
            let url = tame(&what.url, 200);
            coded(CODE_NOT_GRANTED, format!("`{url}` is not asked: {reason}"))
        };
        let url = read(&what.url).map_err(refuse)?;
        let grant = self.granted.iter().find(|grant| grant.permits(&url)).ok_or_else(|| {
            refuse("it was not granted\nhint: --grant http=URL permits a URL and what is below it")
        })?;
        let headers = self.headers(&what.headers, &url).map_err(|reason| refuse(&reason))?;
        let method = method(&what.method).map_err(refuse)?;
        if what.body.len() > BODY_BYTES_MAX {
            return Err(refuse("its body has more than 4 MiB"));
        }
        let mut request = Request::new(Full::new(Bytes::from(what.body)));
        *request.method_mut() = method;
        let path = &url[Position::BeforePath..Position::AfterQuery];
        *request.uri_mut() =
            path.parse().map_err(|_| coded(CODE_NOT_GRANTED, format!("`{path}` is no path")))?;
        *request.headers_mut() = headers;
        let unreachable = |reason: String| {
            coded(CODE_UNREACHABLE, format!("`{grant}` could not be reached: {reason}"))
        };
        let stream = connect(grant, &url).await.map_err(unreachable)?;
        if url.scheme() == "http" {
            return speak(grant, stream, request).await;
        }
        let stream = self.tls.shake(&url, stream).await.map_err(unreachable)?;
        speak(grant, stream, request).await
    }

    fn headers(&self, wanted: &[wit::Header], url: &Url) -> Result<HeaderMap, String> {
        if wanted.len() > HEADERS_MAX {
            return Err(format!("it has more than {HEADERS_MAX} headers"));
        }
        let mut headers = HeaderMap::new();
        for wit::Header { name, value, secret } in wanted {
            let shown = tame(name, 80);
            let wrong = |reason: &str| format!("header `{shown}` {reason}");
            let name: HeaderName = name.parse().map_err(|_| wrong("has no valid name"))?;
            if RESERVED.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
                return Err(wrong("is the host's to write"));
            }
            let mut value = value.clone().into_bytes();
            if let Some(secret) = secret {
                let content = self.secrets.read(secret);
                let content = content
                    .map_err(|e| wrong(&format!("needs the secret `{}`: {e}", tame(secret, 80))))?;
                value.extend(content);
            }
            let mut value =
                HeaderValue::from_bytes(&value).map_err(|_| wrong("has no valid value"))?;
            value.set_sensitive(secret.is_some());
            headers.append(name, value);
        }
        let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]);
        headers.insert(HOST, host.map_err(|e| e.to_string())?);
        Ok(headers)
    }
}

/// Requests for a tunnel are none; whatever else servers know is theirs to judge.
fn method(text: &str) -> Result<Method, &'static str> {
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT | Method::TRACE) | Err(_) => Err("its method is not allowed"),
        Ok(method) => Ok(method),
    }
}

/// Connects to an address that stands behind the host's name and that the grant means.
async fn connect(grant: &UrlGrant, url: &Url) -> Result<TcpStream, String> {
    let port = url.port_or_known_default().ok_or("it has no port")?;
    let found: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![(address, port).into()],
        Some(Host::Ipv6(address)) => vec![(address, port).into()],
        Some(Host::Domain(name)) => {
            tokio::net::lookup_host((name, port)).await.map_err(|e| e.to_string())?.collect()
        }
        None => Vec::new(),
    };
    permitted(grant, &found)?;
    // These addresses, and no second look at the name.
    TcpStream::connect(found.as_slice()).await.map_err(|e| e.to_string())
}

/// A name that leads to one address that it must not lead to is not trusted with the others either.
fn permitted(grant: &UrlGrant, found: &[SocketAddr]) -> Result<(), String> {
    match found.iter().find(|address| !grant.may_reach(address.ip())) {
        Some(address) => Err(format!(
            "its name leads to {}, which is not public\nhint: grant an address of a private network as a number",
            address.ip()
        )),
        None => Ok(()),
    }
}

/// One request and its answer, on a connection of their own.
async fn speak(
    grant: &UrlGrant,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<wit::Response, Failure> {
    let broken = |error: hyper::Error| {
        let reason = in_full(&error);
        coded(CODE_UNREACHABLE, format!("`{grant}` could not be reached: {reason}"))
    };
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with this call, also if that is given up.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let response = sender.send_request(request).await.map_err(broken)?;
    answer(grant, response).await
}

async fn answer(grant: &UrlGrant, response: Response<Incoming>) -> Result<wit::Response, Failure> {
    let (head, body) = response.into_parts();
    let too_much = || coded(CODE_TOO_MUCH, format!("`{grant}` answered more than 4 MiB"));
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return too_much();
        }
        coded(CODE_UNREACHABLE, format!("`{grant}` broke off its answer: {error}"))
    })?;
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    Ok(wit::Response {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: body.to_bytes().into(),
        attrs: Vec::new(),
    })
}

/// With its causes: the outer error says little.
fn in_full(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
