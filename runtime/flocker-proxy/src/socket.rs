//! Sockets as the proxy wants them: which options they carry, and how they end.

use std::{io, net::SocketAddr, time::Duration};

use rustix::net::{Shutdown, sockopt};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, timeout, timeout_at},
};

/// A peer whose machine died says nothing. An idle connection to it is found after 15 + 3 × 5 seconds; sooner would
/// wake idle machines for nothing, later would let dead connections pile up behind a limit.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// And one with bytes on their way after as long: keepalive does not run then, and TCP alone would try for 15 minutes.
const UNACKNOWLEDGED_MAX_MS: u32 = 30_000;

/// Opens a port. The address may still have connections of an earlier run, hence the reuse of it.
pub(crate) fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // Otherwise `[::]` would take the port from every IPv4 address as well.
            sockopt::set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

/// Connects within `most`.
pub(crate) async fn connect(address: SocketAddr, most: Duration) -> io::Result<TcpStream> {
    let stream = timeout(most, TcpStream::connect(address)).await.map_err(io::Error::from)??;
    tune(&stream)?;
    Ok(stream)
}

/// The options of every connection, towards clients, nodes and containers.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    // We pass on what the other side sent in the pieces in which it came; waiting for more would only add latency.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MAX_MS)?;
    Ok(())
}

/// Closes so that the peer sees a reset: this is no orderly end.
pub(crate) fn reset(stream: TcpStream) {
    // Where this fails the socket is dead already.
    let _ = stream.set_zero_linger();
}

/// No more bytes will come from us; the peer sees the end of the stream.
pub(crate) fn end_of_stream(stream: &TcpStream) -> io::Result<()> {
    match rustix::net::shutdown(stream, Shutdown::Write) {
        // It was reset in the meantime, which is an end as well; reading from it tells.
        Err(rustix::io::Errno::NOTCONN) => Ok(()),
        other => Ok(other?),
    }
}

/// Closes so that the peer reads all we wrote and then the end of the stream, even where it still sends.
pub(crate) async fn part(stream: TcpStream, linger_max: Duration) {
    if end_of_stream(&stream).is_err() {
        return;
    }
    let deadline = Instant::now() + linger_max;
    while let Ok(Ok(())) = timeout_at(deadline, stream.readable()).await {
        let mut scrap = [0; 4096];
        match stream.try_read(&mut scrap) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
