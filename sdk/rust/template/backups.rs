//! Says what is snapshotted when, and which copies may go: here, one snapshot per hour, and the last 24 are kept.

use std::time::Duration;

use flocker_sdk::{Backups, Cluster, Copied, Droppable, Due, Policy, Timestamp, Volume};

const HOUR: Duration = Duration::from_secs(3600);
const KEPT: usize = 24;

#[derive(Debug, Default)]
pub struct {{type}};

impl Policy for {{type}} {}

impl Backups for {{type}} {
    fn due(
        &self,
        _cluster: &Cluster,
        volume: &Volume,
        now: Timestamp,
        horizon: Duration,
    ) -> Vec<Due> {
        let at = volume.snapshot().map_or(now, |last| last + HOUR);
        if at.since(now) > horizon {
            vec![]
        } else {
            vec![Due::snapshot(at, "hourly")]
        }
    }

    fn prune(
        &self,
        _volume: &Volume,
        _lane: &str,
        copies: &[Copied],
        _now: Timestamp,
    ) -> Vec<Droppable> {
        let because = |copy| Droppable {
            copy,
            reason: format!("the last {KEPT} are kept"),
        };
        (0..copies.len().saturating_sub(KEPT))
            .map(because)
            .collect()
    }
}

flocker_sdk::export!({{type}}: Backups);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let copies: Vec<_> = (0..30).map(|n| Copied::sample(Timestamp(n))).collect();
        let volume = Volume::sample("shop.data");

        let gone = {{type}}.prune(&volume, "snapshot", &copies, Timestamp(30));

        assert_eq!(
            gone.iter().map(|d| d.copy).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5]
        );
    }
}
