//! Whole listings, page by page. A plugin that never comes to an end of one is stopped by count, by bytes and by time.

use std::collections::BTreeSet;

use flocker_model::{Snapshot, VolumeId, VolumeState};
use flocker_ports::BackendError;
use tokio::time::timeout;

use super::{
    answers::{self, PAGE, Wrong},
    limits::BackendLimits,
    node::Node,
    questions::{Ask, Snapshots, Volumes},
};

/// What was listed so far.
struct Listed<T> {
    all: Vec<T>,
    bytes: usize,
}

impl<T> Listed<T> {
    fn new() -> Self {
        Self { all: Vec::new(), bytes: 0 }
    }

    /// Adds a page of so many bytes. Answers whether it was the last one.
    fn add(&mut self, page: Vec<T>, bytes: usize, limits: &BackendLimits) -> Result<bool, Wrong> {
        let is_last = page.len() < PAGE as usize;
        self.all.extend(page);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.all.len() > limits.listed {
            return Err(format!("it lists more than {} entries", limits.listed));
        }
        if self.bytes > limits.listed_bytes {
            let (n, most) = (self.all.len(), limits.listed_bytes);
            return Err(format!("{n} entries of its list have more than {most} bytes of text"));
        }
        Ok(is_last)
    }
}

impl Node {
    pub(crate) async fn all_volumes(&self) -> Result<Vec<VolumeState>, BackendError> {
        self.in_time::<Volumes, _>(None, async {
            let mut listed = Listed::<VolumeState>::new();
            loop {
                let last = listed.all.last().map(|state| state.id.clone());
                let after = last.as_ref().map(VolumeId::to_string);
                let answer = self.look(None, Volumes { after, limit: PAGE }).await?;
                let added = answers::volumes(last.as_ref(), &answer).and_then(|page| {
                    listed.add(page, answers::bytes_of_volumes(&answer), self.limits())
                });
                if self.checked("volumes", None, added)? {
                    return Ok(listed.all);
                }
            }
        })
        .await
    }

    pub(crate) async fn all_snapshots(
        &self,
        volume: &VolumeId,
    ) -> Result<Vec<Snapshot>, BackendError> {
        self.in_time::<Snapshots, _>(Some(volume), async {
            let (mut listed, mut known) = (Listed::<Snapshot>::new(), BTreeSet::new());
            loop {
                let after = listed.all.last().map(|snapshot| snapshot.point.tag.to_string());
                let question = Snapshots { name: volume.to_string(), after, limit: PAGE };
                let answer = self.look(Some(volume), question).await?;
                let bytes = answers::bytes_of_snapshots(&answer);
                let added = answers::snapshots(&mut known, answer)
                    .and_then(|page| listed.add(page, bytes, self.limits()));
                if self.checked("snapshots", Some(volume), added)? {
                    return Ok(listed.all);
                }
            }
        })
        .await
    }

    async fn in_time<Q: Ask, T>(
        &self,
        volume: Option<&VolumeId>,
        listing: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let wall = self.limits().wall_listing;
        let late =
            |_| self.wrong(Q::FUNCTION, volume, format!("its list took longer than {wall:?}"));
        self.plugin.waited_for(Q::FUNCTION, timeout(wall, listing)).await.map_err(late)?
    }

    fn limits(&self) -> &BackendLimits {
        &self.plugin.shared.limits
    }
}
