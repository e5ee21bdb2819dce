//! One stream per volume: the newer connection takes the volume from the older one, unless its epoch is older.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use flocker_model::{Epoch, VolumeId};
use tokio_util::sync::CancellationToken;

/// The volumes that are being received.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slots(Arc<Mutex<BTreeMap<VolumeId, Holder>>>);

#[derive(Debug)]
struct Holder {
    epoch: Epoch,
    /// Tells the holder to let go.
    leave: CancellationToken,
    /// Held while the volume is worked on.
    work: Arc<tokio::sync::Mutex<()>>,
}

/// The right to receive a volume, until someone newer comes.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
    volume: VolumeId,
    /// Fires when someone newer came, or the server ends.
    pub(crate) leave: CancellationToken,
    work: Arc<tokio::sync::Mutex<()>>,
}

/// The volume is being received under a newer epoch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    pub(crate) current: Epoch,
}

impl Slots {
    /// Takes the volume from whoever has it. `leave` is the server's own end.
    pub(crate) fn take(
        &self,
        volume: &VolumeId,
        epoch: Epoch,
        leave: &CancellationToken,
    ) -> Result<Slot, Stale> {
        let mut holders = self.lock();
        let before = holders.get(volume);
        if let Some(before) = before {
            if before.epoch > epoch {
                return Err(Stale { current: before.epoch });
            }
            before.leave.cancel();
        }
        let leave = leave.child_token();
        let work = before.map(|b| b.work.clone()).unwrap_or_default();
        let holder = Holder { epoch, leave: leave.clone(), work: work.clone() };
        holders.insert(volume.clone(), holder);
        Ok(Slot { slots: self.clone(), volume: volume.clone(), leave, work })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VolumeId, Holder>> {
        // Nothing can panic while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Returns when the one before has let go; until the guard is dropped nobody else touches the volume.
    pub(crate) async fn work(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.work.clone().lock_owned().await
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut holders = self.slots.lock();
        // The last one forgets the volume: this slot and the table are the only ones left that know it. An older holder
        // may still be at work when a newer one has given up, and the next one has to wait for it.
        if Arc::strong_count(&self.work) <= 2 {
            holders.remove(&self.volume);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_connection_wins_unless_its_epoch_is_older() {
        let (slots, end) = (Slots::default(), CancellationToken::new());
        let volume = VolumeId::new("v").unwrap();

        let first = slots.take(&volume, Epoch(2), &end).unwrap();
        let second = slots.take(&volume, Epoch(2), &end).unwrap();
        let stale = slots.take(&volume, Epoch(1), &end);
        drop(first);
        let still_stale = slots.take(&volume, Epoch(1), &end);

        assert_eq!(stale.unwrap_err(), Stale { current: Epoch(2) });
        assert!(still_stale.is_err(), "the first one's end must not forget the second");
        assert!(!second.leave.is_cancelled());
        drop(second);
        assert!(slots.take(&volume, Epoch(1), &end).is_ok());
    }

    #[tokio::test]
    async fn one_that_gave_up_does_not_hide_the_one_at_work() {
        let (slots, end) = (Slots::default(), CancellationToken::new());
        let volume = VolumeId::new("v").unwrap();
        let first = slots.take(&volume, Epoch(1), &end).unwrap();
        let _work = first.work().await;
        drop(slots.take(&volume, Epoch(1), &end).unwrap());

        let third = slots.take(&volume, Epoch(1), &end).unwrap();

        assert!(futures::poll!(std::pin::pin!(third.work())).is_pending());
    }

    #[tokio::test]
    async fn the_newer_one_waits_until_the_older_has_let_go() {
        let (slots, end) = (Slots::default(), CancellationToken::new());
        let volume = VolumeId::new("v").unwrap();
        let first = slots.take(&volume, Epoch(1), &end).unwrap();
        let work = first.work().await;

        let second = slots.take(&volume, Epoch(1), &end).unwrap();

        assert!(first.leave.is_cancelled());
        let mut waiting = std::pin::pin!(second.work());
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(work);
        waiting.await;
    }
}
