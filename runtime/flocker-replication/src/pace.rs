//! Bandwidth limits: everything that is sent to one node within a limit shares it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use flocker_model::{ByteSize, NodeName};
use tokio::time::Instant;

/// When the next byte may be sent to each node. Streams that share a limit take turns chunk by chunk, so each gets its part.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<BTreeMap<NodeName, Instant>>);

impl Pace {
    /// Takes the room of so many bytes, and returns when they may be sent.
    pub(crate) fn take(&self, target: &NodeName, rate: ByteSize, bytes: u64) -> Instant {
        let now = Instant::now();
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        next.retain(|_, at| *at > now);
        let at = next.get(target).copied().unwrap_or(now);
        // A rate of zero would be no limit but a stop, which nobody asked for.
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.0.max(1));
        let lasts = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        next.insert(target.clone(), at + lasts.min(LONGEST));
        at
    }
}

/// No chunk is held longer than this, however low the limit: the other side would give the stream up.
const LONGEST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_streams_to_one_node_share_its_limit_and_others_do_not() {
        let (pace, began) = (Pace::default(), Instant::now());
        let (n2, n3) = (NodeName::new("n2").unwrap(), NodeName::new("n3").unwrap());
        let rate = ByteSize(1000);
        let mut last = began;
        for _ in 0..10 {
            // Two streams, 100 bytes each in turn.
            pace.take(&n2, rate, 100);
            last = pace.take(&n2, rate, 100);
        }
        assert_eq!(last - began, Duration::from_millis(1900));
        assert_eq!(pace.take(&n3, rate, 100), began);

        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(pace.take(&n2, rate, 100), Instant::now(), "room that was not used is not kept");
    }
}
