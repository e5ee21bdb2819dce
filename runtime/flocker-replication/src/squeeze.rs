//! Whether chunks are worth compressing: only where the network takes longer over the bytes that are saved than the CPU
//! over saving them. Nobody has to know how fast a network is; it is measured, chunk by chunk.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use flocker_model::NodeName;
use tokio::time::Instant;

use crate::wire::Message;

/// Zstandard's fastest level but the negative ones: on text about 500 MB/s and a third of the size,
/// <https://github.com/facebook/zstd#benchmarks>. Higher ones save little more of what storage sends.
const LEVEL: i32 = 1;

/// While compressing does not pay, one chunk in so many is tried: what is sent changes on its way.
const PROBE_EVERY: u32 = 64;

/// What the last chunks say counts this much less with each further one.
const MEMORY: f64 = 0.8;

/// What is saved must be more than what measurements are wrong by.
const PAYS: f64 = 0.9;

/// What is known of each node, from one stream to the next: most increments are too short to learn anything from.
#[derive(Debug, Default)]
pub(crate) struct Squeezes(Mutex<BTreeMap<NodeName, Squeeze>>);

impl Squeezes {
    pub(crate) fn of<T>(&self, target: &NodeName, work: impl FnOnce(&mut Squeeze) -> T) -> T {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(target).copied();
        let mut squeeze = known.unwrap_or_default();
        let done = work(&mut squeeze);
        // Compressing takes a moment, in which others may learn something; what is learnt last counts.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(target.clone(), squeeze);
        done
    }
}

/// What compressing costs and brings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Squeeze {
    /// Nanoseconds that the network takes for a byte.
    network: Option<f64>,
    /// Nanoseconds that compressing takes for a byte.
    cpu: Option<f64>,
    /// What is left of a byte.
    left: Option<f64>,
    since_probe: u32,
}

impl Default for Squeeze {
    fn default() -> Self {
        // The first chunk is tried.
        Self { network: None, cpu: None, left: None, since_probe: PROBE_EVERY }
    }
}

fn learn(known: &mut Option<f64>, seen: f64) {
    *known = Some(known.map_or(seen, |known| known * MEMORY + seen * (1.0 - MEMORY)));
}

#[expect(clippy::cast_precision_loss, reason = "lengths of chunks, and estimates")]
fn per_byte(took: Duration, bytes: usize) -> f64 {
    took.as_nanos() as f64 / bytes.max(1) as f64
}

impl Squeeze {
    /// The chunk as it is to be sent: as it is, or smaller.
    pub(crate) fn pack(&mut self, chunk: Bytes) -> Message {
        self.since_probe += 1;
        if !self.pays() && self.since_probe < PROBE_EVERY {
            return Message::Chunk(chunk);
        }
        self.since_probe = 0;
        let began = Instant::now();
        let packed = zstd::bulk::compress(&chunk, LEVEL);
        learn(&mut self.cpu, per_byte(began.elapsed(), chunk.len()));
        let packed = packed.ok().filter(|packed| packed.len() < chunk.len());
        let length = packed.as_ref().map_or(chunk.len(), Vec::len);
        #[expect(clippy::cast_precision_loss, reason = "lengths of chunks, and an estimate")]
        learn(&mut self.left, length as f64 / chunk.len().max(1) as f64);
        match (packed, u32::try_from(chunk.len())) {
            (Some(packed), Ok(length)) => Message::Packed { bytes: packed.into(), length },
            (Some(_) | None, _) => Message::Chunk(chunk),
        }
    }

    /// So many bytes took the network so long, waiting for a limit included.
    pub(crate) fn sent(&mut self, bytes: usize, took: Duration) {
        learn(&mut self.network, per_byte(took, bytes));
    }

    fn pays(&self) -> bool {
        match (self.network, self.cpu, self.left) {
            (Some(network), Some(cpu), Some(left)) => cpu + left * network < PAYS * network,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(network: f64, cpu: f64, left: f64) -> Squeeze {
        Squeeze { network: Some(network), cpu: Some(cpu), left: Some(left), since_probe: 0 }
    }

    #[test]
    fn it_pays_where_the_network_is_slower_than_the_saving() {
        // A gigabit, and text: 8 ns for a byte.
        assert!(after(8.0, 2.0, 0.35).pays());
        // Ten gigabits, and the same.
        assert!(!after(0.8, 2.0, 0.35).pays());
        // A slow line, and what does not get smaller.
        assert!(!after(80.0, 2.0, 1.0).pays());
        assert!(!Squeeze::default().pays());
    }

    #[test]
    fn streams_beside_each_other_know_the_same() {
        let (squeezes, n2) = (Squeezes::default(), NodeName::new("n2").unwrap());
        squeezes.of(&n2, |squeeze| squeeze.sent(1000, Duration::from_micros(3)));

        let seen = squeezes.of(&n2, |_| squeezes.of(&n2, |beside| beside.network));

        assert_eq!(seen, Some(3.0));
    }

    #[test]
    fn what_is_sent_is_looked_at_now_and_then() {
        let mut squeeze = Squeeze::default();
        let text = Bytes::from(vec![b'a'; 10_000]);
        let packed = (0..PROBE_EVERY * 3).filter(|_| {
            let message = squeeze.pack(text.clone());
            squeeze.sent(10_000, Duration::from_nanos(10));
            matches!(message, Message::Packed { .. })
        });
        assert_eq!(
            packed.count(),
            3,
            "the first of all, and then the network is far too fast for it"
        );
        squeeze.sent(10_000, Duration::from_secs(1));
        assert!(matches!(squeeze.pack(text), Message::Packed { bytes, .. } if bytes.len() < 100));
    }
}
