//! Where a node answers, and how a connection to it is made.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use tonic::transport::{Channel, Endpoint};

use crate::{Code, Failure, limits};

/// Where a daemon listens for the people of its own machine, unless it was told otherwise.
pub const SOCKET_DEFAULT: &str = "/run/flocker/flocker.sock";

/// Where a node answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A unix socket on this machine.
    Unix(PathBuf),
    /// An address on the network.
    Tcp(SocketAddr),
}

/// An address that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address: expected `unix:///PATH` or `tcp://IP:PORT`")]
pub struct InvalidAddress {
    text: String,
}

impl Default for Address {
    fn default() -> Self {
        Self::Unix(PathBuf::from(SOCKET_DEFAULT))
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let refuse = || InvalidAddress { text: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix://") {
            // A relative path would lead elsewhere from each folder.
            return if Path::new(path).is_absolute() {
                Ok(Self::Unix(path.into()))
            } else {
                Err(refuse())
            };
        }
        let address = text.strip_prefix("tcp://").ok_or_else(refuse)?;
        address.parse().map(Self::Tcp).map_err(|_| refuse())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl Address {
    /// Connects now.
    ///
    /// # Errors
    /// [`Code::UNREACHABLE`] when nobody answers there, with a hint where the daemon may be found.
    pub async fn connect(&self) -> Result<Channel, Failure> {
        self.endpoint()?.connect().await.map_err(|error| self.unreachable(&error))
    }

    /// Connects at the first call, and again whenever the connection was lost. A dead peer is noticed by pings within
    /// [`limits::PING`] and [`limits::PING_ANSWER`], also in the middle of a call that takes hours.
    ///
    /// # Errors
    /// When the path of a unix socket cannot be used.
    pub fn connect_lazy(&self) -> Result<Channel, Failure> {
        Ok(self.endpoint()?.connect_lazy())
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let uri = match self {
            Self::Unix(path) => format!("unix://{}", path.display()),
            Self::Tcp(address) => format!("http://{address}"),
        };
        let endpoint = Endpoint::from_shared(uri).map_err(|error| {
            Failure::new(Code::INVALID_ARGUMENT, format!("`{self}` is not an address: {error}"))
        })?;
        Ok(endpoint
            .connect_timeout(limits::CONNECT)
            .http2_keep_alive_interval(limits::PING)
            .keep_alive_timeout(limits::PING_ANSWER)
            .keep_alive_while_idle(true)
            .http2_max_header_list_size(limits::HEADERS_MAX))
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> Failure {
        let mut cause = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let hint = match self {
            Self::Unix(path) => format!(
                "is flocker-runtime running, and does it listen at `{}`? It listens at `{SOCKET_DEFAULT}` unless it \
                 was told otherwise",
                path.display()
            ),
            Self::Tcp(_) => {
                format!("is flocker-runtime running there? It would listen at `{self}`")
            }
        };
        Failure::new(Code::UNREACHABLE, format!("could not connect to `{self}`: {cause}"))
            .hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["unix:///run/flocker/flocker.sock", "tcp://127.0.0.1:4521", "tcp://[::1]:4521"]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "unix://relative.sock",
            "tcp://",
            "tcp://host:1",
            "http://127.0.0.1:1",
            "127.0.0.1:4521",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        assert_eq!(Address::default().to_string(), "unix:///run/flocker/flocker.sock");
    }

    #[tokio::test]
    async fn nobody_there_is_a_failure_that_says_where_to_look() {
        let folder = tempfile::tempdir().unwrap();
        let address = Address::Unix(folder.path().join("none.sock"));

        let failure = address.connect().await.unwrap_err();

        assert_eq!(failure.code, Code::UNREACHABLE);
        assert!(failure.message.contains("none.sock"), "{failure}");
        assert!(failure.message.contains("No such file"), "{failure}");
        assert!(failure.hint.unwrap().contains("is flocker-runtime running"));
    }
}
