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
    // No `TCP_USER_TIMEOUT`, which would find a peer that died with bytes on their way sooner than TCP's 15 minutes: it
    // also ends connections to peers that live and do not read for so long, such as `psql` that shows a page.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_not_taken_for_dead() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = listener.local_addr().unwrap();

        let stream = connect(address, Duration::from_secs(10)).await.unwrap();

        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 0);
        assert!(sockopt::socket_keepalive(&stream).unwrap());
    }
}
