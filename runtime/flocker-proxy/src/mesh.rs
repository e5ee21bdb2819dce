//! The owner's side of the hop between nodes: takes a connection over only for a service and an epoch that it serves.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    select,
    sync::OwnedSemaphorePermit,
    time::timeout,
};
use tracing::debug;

use crate::{
    core::Core,
    listeners::Gate,
    relay::{End, Relay},
    routing::{Fate, Hop},
    service::{Flow, Service},
    socket,
    wire::{Answer, HEADER_MAX, Header, WireError},
};

/// Why a connection was closed without an answer.
#[derive(Debug, thiserror::Error)]
enum Rejection {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Foreign(#[from] WireError),
    #[error("bytes follow the header before we answered")]
    Impatient,
    #[error("too many connections have not said yet what they want")]
    TooMany,
}

/// Takes over other nodes' connections until the proxy is stopped.
pub(crate) async fn run(core: Arc<Core>, listener: TcpListener) {
    let mut gate = Gate::new(&core, &listener);
    loop {
        let accepted = select! {
            accepted = gate.accept() => accepted,
            () = core.stop.cancelled() => return,
        };
        if let Some((stream, peer, permit)) = accepted {
            let core_of_task = Arc::clone(&core);
            core.tasks.spawn(take(core_of_task, stream, peer, permit));
        }
    }
}

async fn take(
    core: Arc<Core>,
    mut stream: TcpStream,
    peer: SocketAddr,
    _permit: OwnedSemaphorePermit,
) {
    let header = match read_header(&core, &mut stream).await {
        Ok(header) => header,
        Err(rejection) => {
            core.mesh.rejected.add(1);
            debug!(%peer, "closed a connection to the mesh port: {rejection}");
            return socket::reset(stream);
        }
    };
    let (service, flow, backend) = match reach(&core, &header).await {
        Ok(reached) => reached,
        Err(answer) => {
            core.mesh.sent_away.add(1);
            // Where this fails, the other side finds out as well, and tries again.
            let _ = stream.write_all(&answer.encode()).await;
            return;
        }
    };
    core.mesh.accepted.add(1);
    if stream.write_all(&Answer::Ok.encode()).await.is_err() {
        return;
    }
    let carried = service.counters.carried.count();
    let relay = Relay::new(&stream, &backend, &service.counters.others, &core.limits);
    let end = relay.run(flow.disturbed(), flow.cut()).await;
    drop(carried);
    match end {
        End::Finished => {}
        End::Quiesced | End::Untouched => {
            drop(backend);
            drop(flow);
            socket::part(stream, core.limits.linger_max).await;
        }
        End::Cut | End::Broken(_) => {
            if let End::Broken(error) = end {
                debug!(service = %service.key, client = %header.client, %error, "connection of another node broken");
            }
            socket::reset(backend);
            socket::reset(stream);
        }
    }
}

async fn read_header(core: &Core, stream: &mut TcpStream) -> Result<Header, Rejection> {
    let _half_open =
        core.mesh.half_open.count_below(core.limits.half_open).ok_or(Rejection::TooMany)?;
    socket::tune(stream)?;
    let conversation = async {
        let mut bytes = Vec::with_capacity(HEADER_MAX);
        loop {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            match Header::decode(&bytes)? {
                Some((header, length)) if length == bytes.len() => return Ok(header),
                Some(_) => return Err(Rejection::Impatient),
                None => {}
            }
        }
    };
    timeout(core.limits.header_max, conversation)
        .await
        .map_err(|late| Rejection::Io(late.into()))?
}

/// Connects to the container, if it is here under the epoch under which it is asked for.
async fn reach(
    core: &Arc<Core>,
    header: &Header,
) -> Result<(Arc<Service>, Flow, TcpStream), Answer> {
    let service = core.service(&header.service).ok_or(Answer::Moved)?;
    let flow = service.enter(core, |view| view.take_over(header.epoch))?;
    let address = match flow.lead.hop {
        Hop::Container(address) | Hop::Mesh(address) => address,
    };
    let connected = select! {
        biased;
        _ = flow.disturbed() => return Err(Answer::Unavailable),
        connected = socket::connect(address, core.limits.connect_container_max) => connected,
    };
    match connected {
        Ok(backend) if flow.fate() == Fate::Keep => Ok((service, flow, backend)),
        Ok(_) => Err(Answer::Unavailable),
        Err(error) => {
            debug!(service = %service.key, %address, %error, "the container does not take a connection");
            Err(Answer::Unavailable)
        }
    }
}
