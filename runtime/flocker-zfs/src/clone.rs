//! Clones: a volume that begins as a snapshot of another one, and what becomes of the snapshots that clones stand on.
//!
//! ```text
//! clone              SOURCE@flocker-TAG  <--  VOLUME               VOLUME is `making` until its marker is its own
//! remove the snapshot  SOURCE@flocker.GUID  <--  VOLUME            nobody's but the clone's, and goes with it
//! remove the source                         VOLUME@flocker.GUID    `promote` gives it to the clone
//! ```
//!
//! ZFS keeps what clones stand on, and nobody has to know: a snapshot that was removed has another name until the last
//! clone of it is gone, when ZFS removes it by itself.

use std::{fs, path::Path};

use flocker_model::{Point, Snapshot, VolumeId};
use flocker_ports::{BackendError, Change, Op};
use flocker_zfs_wire::{Call, Map, Value};

use crate::{
    backend::Node,
    command::run,
    mount,
    state::{Found, HIDDEN, Label, MARK, Origin, State, Want},
    verbs::{marker, writable},
};

impl Node {
    pub(crate) async fn clone_volume(
        &self,
        op: &Op,
        source: &VolumeId,
        at: &Point,
        volume: &VolumeId,
    ) -> Result<Change, BackendError> {
        let action = "could not clone";
        if self.is_made(action, op, volume).await? {
            return Ok(Change::None);
        }
        let state = self.need(source).await?;
        let snapshot = one_of(&state, source, at)?;
        let label = Label { want: Want::Making, epoch: op.epoch, size: state.label.size };
        let properties = writable(&label, &state.options(), snapshot.referenced);
        self.make_clone(action, source, snapshot, volume, properties).await?;
        // From now on it cannot be replaced any more; was it, before?
        one_of(&*self.need(source).await?, source, at)?;
        self.make_live(action, volume).await
    }

    /// Makes a dataset out of a snapshot, and marks its content as the volume's.
    pub(crate) async fn make_clone(
        &self,
        action: &str,
        source: &VolumeId,
        at: &Snapshot,
        volume: &VolumeId,
        properties: Map,
    ) -> Result<(), BackendError> {
        let about = self.about(action, volume);
        let dataset = self.dataset(volume);
        let origin = format!("{}@{MARK}{}", self.dataset(source), at.point.tag);
        let clone = Call::Clone { name: dataset.clone(), origin, properties };
        self.helper.call(clone).await.map_err(|error| about.explain(error))?;
        let Found::Ours(made) = self.look(volume).await? else {
            return Err(self.restless(action, volume));
        };
        self.mark(volume, &made).await
    }

    /// Marks the content of a dataset as the volume's. A clone is encrypted with the key of its source.
    pub(crate) async fn mark(&self, volume: &VolumeId, state: &State) -> Result<(), BackendError> {
        self.unlock(volume, state).await?;
        let (id, dataset) = (volume.clone(), self.dataset(volume));
        let action = format!("could not mark volume `{volume}`");
        self.files(&action, &self.folder(volume), move |folder: &Path| {
            mount::mount(&dataset, folder)?;
            fs::write(marker(folder), id.as_str())
        })
        .await
    }

    /// Removes those of the snapshots that clones stand on, as far as anybody else can tell; none where somebody else's do.
    /// Says whether there were any.
    pub(crate) async fn hide(
        &self,
        volume: &VolumeId,
        which: &[Point],
    ) -> Result<bool, BackendError> {
        let state = self.need(volume).await?;
        let asked = state.points().filter(|point| which.contains(point));
        let asked: Vec<&Point> = asked.collect();
        let is_asked = |origin: &&Origin| asked.iter().any(|point| point.guid == origin.guid);
        let origins = state.origins.iter().filter(is_asked);
        let mut hidden = Vec::new();
        for origin in origins.filter(|origin| origin.heir().is_some()) {
            hidden.push(self.hide_one(volume, origin).await?);
        }
        self.let_go(volume, &hidden).await?;
        Ok(!hidden.is_empty())
    }

    async fn hide_one(&self, volume: &VolumeId, origin: &Origin) -> Result<Origin, BackendError> {
        let name = format!("{}@{HIDDEN}{}", self.dataset(volume), origin.guid);
        if !origin.hidden {
            let about = self.about("could not remove a snapshot of", volume);
            let renamed = run(&self.zfs, &["rename", &origin.name, &name]).await;
            renamed.map_err(|reason| about.failed(reason))?;
        }
        Ok(Origin { name, hidden: true, ..origin.clone() })
    }

    /// Has ZFS remove hidden snapshots as soon as no clone stands on them.
    pub(crate) async fn let_go(
        &self,
        volume: &VolumeId,
        hidden: impl IntoIterator<Item = &Origin>,
    ) -> Result<(), BackendError> {
        let identity = |origin: &Origin| {
            let number = origin.guid.0.parse::<u64>().unwrap_or_default();
            (origin.name.clone(), Value::Signed(number.cast_signed()))
        };
        let snapshots: Map = hidden.into_iter().map(identity).collect();
        if snapshots.is_empty() {
            return Ok(());
        }
        let about = self.about("could not remove a snapshot of", volume);
        let arguments = Map::from([("snapshots".to_owned(), snapshots.into())]);
        let answer = self.program(include_str!("programs/let_go.lua"), true, arguments).await;
        let answer = answer.map_err(|error| about.explain(error))?;
        match answer.get("outcome").and_then(Value::text) {
            Some("done") => Ok(()),
            Some(_) | None => Err(self.refused(&about, &answer)),
        }
    }

    /// Gives the snapshots that clones stand on to one of them, so that the volume, of which nothing else is left, can be
    /// removed.
    pub(crate) async fn hand_over(
        &self,
        volume: &VolumeId,
        state: &State,
    ) -> Result<(), BackendError> {
        let needed: Vec<&Origin> =
            state.origins.iter().filter(|origin| origin.heir().is_some()).collect();
        // With the newest, all that are older go too.
        let Some(heir) = needed.last().and_then(|origin| origin.heir()) else { return Ok(()) };
        let mut hidden = Vec::new();
        for origin in &needed {
            hidden.push(self.hide_one(volume, origin).await?);
        }
        self.let_go(volume, &hidden).await?;
        let about = self.about("could not remove", volume);
        let promoted = self.helper.call(Call::Promote { name: heir.to_owned() }).await;
        promoted.map(drop).map_err(|error| about.explain(error))
    }
}

/// The snapshot of this name and identity.
pub(crate) fn one_of<'a>(
    state: &'a State,
    volume: &VolumeId,
    at: &Point,
) -> Result<&'a Snapshot, BackendError> {
    let found = state.by_guid(&at.guid).filter(|found| found.point == *at);
    found
        .ok_or_else(|| BackendError::NoSuchSnapshot { volume: volume.clone(), tag: at.tag.clone() })
}
