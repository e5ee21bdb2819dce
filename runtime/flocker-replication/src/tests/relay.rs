//! A network between two nodes that does to their bytes what networks do.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What happens to one connection, counted in bytes from sender to receiver.
#[derive(Debug, Clone, Copy)]
pub(super) enum Harm {
    /// Both directions end.
    Cut { after: usize },
    /// One bit of one byte changes.
    Flip { at: usize },
    /// No byte passes any more, and nobody is told.
    Silence { after: usize },
}

/// Passes connections on to `target`. The first one suffers the first harm, and so on; later ones suffer none.
pub(super) async fn relay(target: SocketAddr, harms: impl IntoIterator<Item = Harm>) -> Relay {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let harms = Mutex::new(harms.into_iter().collect::<VecDeque<Harm>>());
    let n_connections = Arc::new(Mutex::new(0));
    let passed = Arc::new(Mutex::new(Vec::new()));
    let (counter, overheard, mut tasks) = (n_connections.clone(), passed.clone(), JoinSet::new());
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((from, _)) = listener.accept().await {
            *counter.lock().unwrap() += 1;
            let harm = harms.lock().unwrap().pop_front();
            let to = TcpStream::connect(target).await.unwrap();
            connections.spawn(pass(from, to, harm, overheard.clone()));
        }
    });
    Relay { address, n_connections, passed, _tasks: tasks }
}

/// It works until it is dropped.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    n_connections: Arc<Mutex<usize>>,
    passed: Arc<Mutex<Vec<u8>>>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(super) fn n_connections(&self) -> usize {
        *self.n_connections.lock().unwrap()
    }

    /// Whether these bytes could be read on their way from sender to receiver.
    pub(super) fn overheard(&self, bytes: &[u8]) -> bool {
        self.passed.lock().unwrap().windows(bytes.len()).any(|seen| seen == bytes)
    }
}

/// As much as a test may want to look at.
fn listen(overheard: &Mutex<Vec<u8>>, bytes: &[u8]) {
    let mut overheard = overheard.lock().unwrap();
    if overheard.len() < 1 << 20 {
        overheard.extend_from_slice(bytes);
    }
}

async fn pass(from: TcpStream, to: TcpStream, harm: Option<Harm>, overheard: Arc<Mutex<Vec<u8>>>) {
    let (mut from_reader, mut from_writer) = from.into_split();
    let (mut to_reader, mut to_writer) = to.into_split();
    let there = async {
        let mut passed = 0;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let Ok(n @ 1..) = from_reader.read(&mut buffer).await else { return };
            let keep = match harm {
                Some(Harm::Flip { at }) => {
                    if (passed..passed + n).contains(&at) {
                        buffer[at - passed] ^= 0x10;
                    }
                    n
                }
                Some(Harm::Cut { after } | Harm::Silence { after }) => {
                    n.min(after - passed.min(after))
                }
                None => n,
            };
            if to_writer.write_all(&buffer[..keep]).await.is_err() {
                return;
            }
            listen(&overheard, &buffer[..keep]);
            passed += n;
            match harm {
                Some(Harm::Cut { after }) if passed > after => return,
                Some(Harm::Silence { after }) if passed > after => std::future::pending().await,
                Some(_) | None => {}
            }
        }
    };
    let back = async {
        let _ = copy(&mut to_reader, &mut from_writer).await;
        // A sender that was told all it needs has closed by now, or is about to.
        let _ = from_writer.shutdown().await;
    };
    tokio::pin!(there);
    tokio::select! {
        () = &mut there => {}
        () = back => there.await,
    }
}
