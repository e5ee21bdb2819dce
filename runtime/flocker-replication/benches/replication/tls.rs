//! What TLS 1.3 costs: the transport alone against `socat` with OpenSSL, and streams of btrfs under it against the bare
//! commands, which encrypt nothing.

use std::sync::Arc;

use flocker_model::{NodeName, StreamKey};
use flocker_replication::{Announced, KeyPair, Sender, SenderConfig, StreamKeys, Transport};
use tokio_util::sync::CancellationToken;

use crate::{
    BARE_BTRFS, Ends, ROUNDS, Row, SYNTHETIC, free_port, node, peer,
    pools::{BtrfsPair, run},
    rate, receiving, send, streams,
    synthetic::Synthetic,
};

/// Two nodes that know each other.
#[derive(Debug)]
struct Two([(NodeName, StreamKey); 2]);

impl StreamKeys for Two {
    fn announced(&self, node: &NodeName) -> Announced {
        let known = self.0.iter().find(|(name, _)| name == node);
        known.map_or(Announced::NoNode, |(_, key)| Announced::Key(*key))
    }

    fn is_known(&self, key: &StreamKey) -> bool {
        self.0.iter().any(|(_, known)| known == key)
    }
}

fn ends() -> Ends {
    let [source, target] = [(), ()].map(|()| KeyPair::read(&KeyPair::draw().unwrap()).unwrap());
    let known = Arc::new(Two([(node("n1"), source.public()), (node("n2"), target.public())]));
    Ends {
        sender: Transport::tls(&source, known.clone()).unwrap(),
        receiver: Transport::tls(&target, known).unwrap(),
    }
}

pub(crate) async fn rows(rows: &mut Vec<Row>) {
    let ends = ends();
    rows.push(transport(&ends).await);
    let full = Row::new("full stream of btrfs, TLS 1.3", BARE_BTRFS, 0.9);
    let increment = Row::new("incremental stream of btrfs, TLS 1.3", BARE_BTRFS, 0.9);
    rows.extend(streams::<BtrfsPair>(&ends, full, increment).await);
}

async fn transport(ends: &Ends) -> Row {
    let stop = CancellationToken::new();
    let storage = || Arc::new(Synthetic::new(SYNTHETIC));
    let address = receiving(storage(), ends.receiver.clone(), &stop).await;
    let sender = Sender::new(storage(), ends.sender.clone(), SenderConfig::default());
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    run(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
         -keyout {at}/key.pem -out {at}/cert.pem"
    ));
    let mut row = Row::new("transport alone, TLS 1.3", "socat with OpenSSL", 1.0);
    for round in 0..ROUNDS {
        let (took, bytes) = send(&sender, address, None, Synthetic::point(round)).await;
        assert_eq!(bytes, SYNTHETIC);
        row.ours.push(rate(bytes, took));
        let port = free_port();
        row.theirs.push(rate(
            SYNTHETIC,
            peer(&format!(
                "socat -u -b262144 OPENSSL-LISTEN:{port},reuseaddr,cert={at}/cert.pem,key={at}/key.pem,verify=0 \
                 OPEN:/dev/null & head -c {SYNTHETIC} /dev/zero | \
                 socat -u -b262144 - OPENSSL:127.0.0.1:{port},verify=0,retry=50,interval=0.01 && wait"
            )),
        ));
    }
    stop.cancel();
    row
}
