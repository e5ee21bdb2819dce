//! How services are served: limits, sockets that only their owner may use, connections that say nothing are closed.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, UnixListener},
    time::Sleep,
};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{TcpListenerStream, UnixListenerStream},
};
use tonic::transport::{
    Server,
    server::{Connected, TcpConnectInfo, UdsConnectInfo},
};

use crate::{
    limits,
    v1::{agent_server::AgentServer, control_server::ControlServer},
};

/// A server with every limit set that tonic leaves open; those of single messages belong to the services.
#[must_use]
pub fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(limits::STREAMS_MAX)
        .http2_max_header_list_size(limits::HEADERS_MAX)
        .http2_keepalive_interval(Some(limits::PING))
        .http2_keepalive_timeout(Some(limits::PING_ANSWER))
}

/// The service for operators, with its limits.
pub fn control_service<T: crate::v1::control_server::Control>(service: T) -> ControlServer<T> {
    ControlServer::new(service)
        .max_decoding_message_size(limits::MESSAGE_MAX)
        .max_encoding_message_size(limits::MESSAGE_MAX)
}

/// The service for the leader, with its limits.
pub fn agent_service<T: crate::v1::agent_server::Agent>(service: T) -> AgentServer<T> {
    AgentServer::new(service)
        .max_decoding_message_size(limits::MESSAGE_MAX)
        .max_encoding_message_size(limits::MESSAGE_MAX)
}

/// Why a socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program answers there.
    #[error(
        "somebody listens on `{path}` already\nhint: is another flocker-runtime running on this machine?"
    )]
    InUse { path: PathBuf },
    /// Something else has the name.
    #[error(
        "`{path}` exists and is not a socket; it was left as it is\nhint: move it away, or give another path"
    )]
    NotASocket { path: PathBuf },
    /// The system refused.
    #[error("could not listen on `{path}`")]
    Io { path: PathBuf, source: io::Error },
}

/// Listens on a unix socket that only this user may connect to. A socket left by a program that is gone is replaced,
/// one that answers is not. The folder is made where it is missing, for this user only.
///
/// # Errors
/// See [`ListenError`].
pub fn unix_listener(path: &Path) -> Result<UnixListener, ListenError> {
    let failed = |source| ListenError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(failed(error)),
            Ok(_) => return Err(ListenError::InUse { path: path.to_owned() }),
        },
    }
    // Bound under another name and renamed: the socket is never there with wider permissions, and an old one is
    // replaced in one step.
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    let bound = UnixListener::bind(&fresh).map_err(failed)?;
    let placed = fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&fresh, path));
    if let Err(error) = placed {
        // The error that matters is the first one.
        let _ = fs::remove_file(&fresh);
        return Err(failed(error));
    }
    Ok(bound)
}

/// The connections of a TCP listener, for [`server`].
pub fn incoming_tcp(
    listener: TcpListener,
) -> impl Stream<Item = io::Result<Connection<tokio::net::TcpStream>>> + Send + 'static {
    TcpListenerStream::new(listener).map(|accepted| {
        let stream = accepted?;
        // Calls are small and wait for each other; without this each may wait for the other side's acknowledgement.
        stream.set_nodelay(true)?;
        Ok(Connection::new(stream))
    })
}

/// The connections of a unix listener, for [`server`].
pub fn incoming_unix(
    listener: UnixListener,
) -> impl Stream<Item = io::Result<Connection<tokio::net::UnixStream>>> + Send + 'static {
    UnixListenerStream::new(listener).map(|accepted| accepted.map(Connection::new))
}

/// A connection that fails unless its other end says something within [`limits::HANDSHAKE`]. HTTP/2 pings only find
/// those who go silent later.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    /// Gone once the first byte came.
    silence: Option<Pin<Box<Sleep>>>,
}

impl<S> Connection<S> {
    fn new(stream: S) -> Self {
        Self { stream, silence: Some(Box::pin(tokio::time::sleep(limits::HANDSHAKE))) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buf);
        if read.is_ready() {
            self.silence = None;
            return read;
        }
        match &mut self.silence {
            None => Poll::Pending,
            Some(silence) => silence.as_mut().poll(context).map(|()| {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the other side connected and said nothing",
                ))
            }),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Connection<tokio::net::TcpStream> {
    type ConnectInfo = TcpConnectInfo;
    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl Connected for Connection<tokio::net::UnixStream> {
    type ConnectInfo = UdsConnectInfo;
    fn connect_info(&self) -> UdsConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/flocker.sock");

        let _listener = unix_listener(&path).unwrap();

        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn only_a_socket_that_nobody_answers_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flocker.sock");
        let first = unix_listener(&path).unwrap();

        assert!(matches!(unix_listener(&path), Err(ListenError::InUse { .. })));
        drop(first);
        let _second = unix_listener(&path).unwrap();

        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(matches!(unix_listener(&file), Err(ListenError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_given_up() {
        let (_silent, ours) = tokio::io::duplex(64);
        let mut connection = Connection::new(ours);

        let error = connection.read_u8().await.unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
