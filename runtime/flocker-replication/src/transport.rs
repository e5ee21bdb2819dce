//! What carries frames: TCP, in the clear or under TLS.

use std::{io, sync::Arc};

use flocker_model::NodeName;
use tokio::{
    io::{AsyncRead, AsyncWrite, split},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{
    keys::{KeyPair, StreamKeys},
    tls::{self, Distrust, Tls, Trust},
    wire::MAGIC,
};

/// How streams cross the network. Both sides need the same.
#[derive(Debug, Clone)]
pub struct Transport(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Clear,
    Tls(Box<Tls>),
}

/// The halves of a connection.
pub(crate) type Reader = Box<dyn AsyncRead + Send + Sync + Unpin>;
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Sync + Unpin>;

impl Transport {
    /// As they are, to whoever answers. For networks where nobody else is.
    #[must_use]
    pub fn clear() -> Self {
        Self(Kind::Clear)
    }

    /// TLS 1.3 between nodes that know each other's `keys`, of which this one has its `own`.
    ///
    /// # Errors
    /// When this build cannot do it, which ours can.
    pub fn tls(own: &KeyPair, keys: Arc<dyn StreamKeys>) -> Result<Self, rustls::Error> {
        Ok(Self(Kind::Tls(Box::new(Tls::new(own, keys)?))))
    }

    /// How to secure a connection to this node.
    pub(crate) fn towards(&self, target: &NodeName) -> Result<Towards, Distrust> {
        match &self.0 {
            Kind::Clear => Ok(Towards(None)),
            Kind::Tls(tls) => Ok(Towards(Some(tls.towards(target)?))),
        }
    }

    /// Finds out who made a connection.
    pub(crate) async fn accept(&self, connection: TcpStream) -> Accepted {
        let Kind::Tls(tls) = &self.0 else {
            let (reader, writer) = halves(connection);
            return Accepted::Stream { reader, writer, trust: None };
        };
        match is_clear(&connection).await {
            Ok(true) => {
                let (reader, writer) = halves(connection);
                return Accepted::Clear { reader, writer };
            }
            Ok(false) => {}
            Err(error) => return Accepted::Failed { error, reader: halves(connection).0 },
        }
        match tls.accept(connection).await {
            Ok((stream, trust)) => {
                let (reader, writer) = split(stream);
                let (reader, writer) = (Box::new(reader), Box::new(writer));
                Accepted::Stream { reader, writer, trust: Some(trust) }
            }
            Err((error, connection)) => Accepted::Failed { error, reader: Box::new(connection) },
        }
    }
}

/// What came of a connection that was made to us.
pub(crate) enum Accepted {
    /// Frames can be read from it.
    Stream { reader: Reader, writer: Writer, trust: Option<Trust> },
    /// It is of ours, and in the clear where that is not wanted.
    Clear { reader: Reader, writer: Writer },
    /// It is none, and was told so.
    Failed { error: io::Error, reader: Reader },
}

/// How to secure a connection.
pub(crate) struct Towards(Option<TlsConnector>);

impl Towards {
    pub(crate) async fn secure(self, connection: TcpStream) -> io::Result<(Reader, Writer)> {
        let Some(connector) = self.0 else { return Ok(halves(connection)) };
        let (reader, writer) = split(tls::connect(connector, connection).await?);
        Ok((Box::new(reader), Box::new(writer)))
    }
}

fn halves(connection: TcpStream) -> (Reader, Writer) {
    let (reader, writer) = connection.into_split();
    (Box::new(reader), Box::new(writer))
}

/// Whether what comes are frames, not TLS: their first bytes differ.
async fn is_clear(connection: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    connection.peek(&mut first).await?;
    Ok(first[0] == MAGIC[0])
}
