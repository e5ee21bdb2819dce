//! Back to a snapshot: what was until now gets the name of another volume, and a clone of the snapshot takes its place.
//!
//! ```text
//! before    VOLUME@one  VOLUME@two  VOLUME                                  it says that it goes back
//! rename    KEPT@one    KEPT@two    KEPT
//! clone     KEPT@one    KEPT@two    KEPT      KEPT@one   <-- VOLUME         `making`, then live
//! promote   VOLUME@one  VOLUME                VOLUME@one <-- KEPT@two KEPT  with older snapshots, and all their identities
//! ```
//!
//! What is on its way says so in the pool: it is finished when the pool is opened, or when it is asked for again. Until then
//! the volume is said to be what it was, and nothing else is done with it.

use std::{collections::BTreeMap, sync::PoisonError};

use flocker_model::{Guid, Point, SnapshotTag, VolumeId, VolumeState};
use flocker_ports::{BackendError, Change, Op};
use flocker_zfs_wire::Call;

use crate::{
    backend::Node,
    clone::one_of,
    plan,
    state::{Found, Label, MARK, State, Want},
    verbs::{Effect, Said, volume_state, writable},
};

const ACTION: &str = "could not put back";

/// A way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    volume: VolumeId,
    kept: VolumeId,
    to: Point,
}

/// A way back that has begun and not ended.
#[derive(Debug)]
pub(crate) struct Rolling {
    way: Way,
    /// What the volume is said to be.
    said: Option<VolumeState>,
}

impl Way {
    /// What a volume says that is on it.
    fn going(&self) -> String {
        format!("going {} {} {} {}", self.volume, self.kept, self.to.tag, self.to.guid)
    }

    /// What was left says at its end.
    fn went(&self) -> String {
        format!("went {} {} {} {}", self.volume, self.kept, self.to.tag, self.to.guid)
    }

    /// Reads what a volume says that is on it.
    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let ["going", volume, kept, tag, guid] = words[..] else { return None };
        let to = Point { tag: SnapshotTag::new(tag).ok()?, guid: Guid(guid.to_owned()) };
        Some(Self { volume: VolumeId::new(volume).ok()?, kept: VolumeId::new(kept).ok()?, to })
    }
}

impl Node {
    pub(crate) async fn rollback(
        &self,
        op: &Op,
        volume: &VolumeId,
        to: &Point,
        kept: &VolumeId,
    ) -> Result<Change, BackendError> {
        let begun = self.with_rolling(|rolling| rolling.get(volume).map(|one| one.way.clone()));
        if let Some(way) = begun {
            self.finish_rollback(&way).await?;
        }
        let state = self.need(volume).await?;
        plan::attach(op, volume, &state)?;
        let way = Way { volume: volume.clone(), kept: kept.clone(), to: to.clone() };
        match self.look(kept).await? {
            Found::Absent => {}
            Found::Foreign { .. } => return Err(self.foreign(ACTION, kept)),
            Found::Ours(left) if left.rollback == Some(way.went()) => return Ok(Change::None),
            Found::Ours(left) => match left.label.want {
                Want::Role(_) => {
                    let found = plan::role_name(left.label.want);
                    let (volume, needed) = (kept.clone(), "absent");
                    return Err(BackendError::WrongRole { volume, found, needed });
                }
                Want::Making | Want::Gone => {
                    if let Some(holder) = self.remove(kept, &left).await? {
                        return Err(BackendError::Busy { volume: kept.clone(), holder });
                    }
                }
            },
        }
        one_of(&state, volume, to)?;
        // Whatever still uses it is found out before anything is changed.
        self.unmount(volume).await?;
        let going = Effect { rollback: Some(way.going()), ..Effect::default() };
        // Should nobody hear whether it was written down, it stays on its way until somebody asks again.
        self.begin(&way, &state);
        match self.commit(ACTION, vec![(volume, &*state, going)]).await? {
            Said::Done => {}
            Said::Changed | Said::Written => return Err(self.give_up(volume)),
        }
        self.finish_rollback(&way).await?;
        Ok(Change::Made)
    }

    /// Goes on where a crash ended a way back, if the dataset says that it is on one.
    pub(crate) async fn resume_rollback(&self, state: &State) -> Result<(), BackendError> {
        let Some(way) = state.rollback.as_deref().and_then(Way::parse) else { return Ok(()) };
        self.begin(&way, state);
        self.finish_rollback(&way).await
    }

    fn begin(&self, way: &Way, state: &State) {
        let said = volume_state(&way.volume, &state.label, state.referenced);
        let rolling = Rolling { way: way.clone(), said };
        self.with_rolling(|all| all.insert(way.volume.clone(), rolling));
    }

    /// Does what is still to be done, from whichever point on.
    async fn finish_rollback(&self, way: &Way) -> Result<(), BackendError> {
        let Way { volume, kept, to } = way;
        let until_now = self.until_now(way).await?;
        match self.look(volume).await? {
            Found::Ours(state) if state.label.want != Want::Making => {}
            Found::Foreign { .. } => return Err(self.foreign(ACTION, volume)),
            // One that was being made has nothing of its own yet.
            Found::Ours(state) => {
                self.remove(volume, &state).await?;
                self.take_place(way, &until_now).await?;
            }
            Found::Absent => self.take_place(way, &until_now).await?,
        }
        if !self.has(volume, to).await? {
            let about = self.about(ACTION, volume);
            let promoted = self.helper.call(Call::Promote { name: self.dataset(volume) }).await;
            promoted.map_err(|error| about.explain(error))?;
        }
        self.bookmark(volume).await?;
        self.mark(kept, &until_now).await?;
        self.unmount(kept).await?;
        let Found::Ours(state) = self.look(kept).await? else {
            return Err(self.restless(ACTION, kept));
        };
        let went = Effect { rollback: Some(way.went()), ..Effect::default() };
        match self.commit(ACTION, vec![(kept, &*state, went)]).await? {
            Said::Done => {}
            Said::Changed | Said::Written => return Err(self.restless(ACTION, kept)),
        }
        self.with_rolling(|rolling| rolling.remove(volume));
        self.settle(kept).await?;
        self.settle(volume).await
    }

    /// It was never written down that the volume goes back.
    fn give_up(&self, volume: &VolumeId) -> BackendError {
        self.with_rolling(|rolling| rolling.remove(volume));
        self.restless(ACTION, volume)
    }

    /// What the volume was until now, under its new name.
    async fn until_now(&self, way: &Way) -> Result<Box<State>, BackendError> {
        let Way { volume, kept, .. } = way;
        let is_going = |state: &State| state.rollback == Some(way.going());
        if let Found::Absent = self.look(kept).await? {
            if !matches!(self.look(volume).await?, Found::Ours(state) if is_going(&state)) {
                return Err(self.give_up(volume));
            }
            self.unmount(volume).await?;
            let (from, to) = (self.dataset(volume), self.dataset(kept));
            let renamed = self.helper.call(Call::Rename { from, to }).await;
            renamed.map_err(|error| self.about(ACTION, volume).explain(error))?;
        }
        match self.look(kept).await? {
            Found::Ours(state) if is_going(&state) => Ok(state),
            Found::Ours(_) | Found::Absent | Found::Foreign { .. } => {
                Err(self.restless(ACTION, kept))
            }
        }
    }

    /// Makes the volume anew, out of the snapshot.
    async fn take_place(&self, way: &Way, until_now: &State) -> Result<(), BackendError> {
        let Way { volume, kept, to } = way;
        let snapshot = one_of(until_now, kept, to)?;
        let label = Label { want: Want::Making, ..until_now.label };
        let mut properties = writable(&label, &until_now.options(), snapshot.referenced);
        // Where the pool has no room for both, it is not now that this may fail; `settle` asks for it.
        properties.remove("refreservation");
        self.make_clone(ACTION, kept, snapshot, volume, properties).await?;
        // Before it has the snapshots: one that is being made is removed with everything after a crash.
        self.make_live(ACTION, volume).await.map(drop)
    }

    async fn has(&self, volume: &VolumeId, to: &Point) -> Result<bool, BackendError> {
        match self.look(volume).await? {
            Found::Ours(state) => Ok(state.by_guid(&to.guid).is_some()),
            Found::Absent | Found::Foreign { .. } => Err(self.restless(ACTION, volume)),
        }
    }

    /// Bookmarks stayed with what was; those that the volume has snapshots of, it gets again. Without one nothing is lost yet.
    async fn bookmark(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let Found::Ours(state) = self.look(volume).await? else { return Ok(()) };
        let dataset = self.dataset(volume);
        let mark = |point: &Point| {
            let name = format!("{MARK}{}", point.tag);
            (format!("{dataset}#{name}"), format!("{dataset}@{name}"))
        };
        let marks: BTreeMap<String, String> = state.points().map(mark).collect();
        if let Err(error) = self.helper.call(Call::Bookmark { marks }).await {
            tracing::debug!(%volume, ?error, "not all bookmarks could be made");
        }
        Ok(())
    }

    fn with_rolling<T>(&self, look: impl FnOnce(&mut BTreeMap<VolumeId, Rolling>) -> T) -> T {
        look(&mut self.rolling.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing else is done with a volume on its way back, nor with what becomes of it.
    pub(crate) fn refuse_rolling(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let way = self.with_rolling(|rolling| {
            let is_on = |one: &&Rolling| one.way.volume == *volume || one.way.kept == *volume;
            rolling.values().find(is_on).map(|one| one.way.clone())
        });
        way.map_or(Ok(()), |Way { volume: goes, to, .. }| {
            let holder = format!(
                "volume `{goes}` is on its way back to its snapshot `{}`\nhint: ask for that again, or start the daemon \
                 again, to finish it",
                to.tag
            );
            Err(BackendError::Busy { volume: volume.clone(), holder })
        })
    }

    /// What is said of a volume on its way back, or of what becomes of it.
    pub(crate) fn said_while_rolling(&self, volume: &VolumeId) -> Option<Option<VolumeState>> {
        self.with_rolling(|rolling| {
            let goes = rolling.get(volume).map(|one| one.said.clone());
            let is_kept = rolling.values().any(|one| one.way.kept == *volume);
            goes.or(is_kept.then_some(None))
        })
    }

    /// The same in a list.
    pub(crate) fn say_while_rolling(&self, volumes: &mut Vec<VolumeState>) {
        self.with_rolling(|rolling| {
            volumes.retain(|state| {
                rolling.values().all(|one| one.way.volume != state.id && one.way.kept != state.id)
            });
            volumes.extend(rolling.values().filter_map(|one| one.said.clone()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_says_where_to() {
        let to = Point { tag: SnapshotTag::new("t.1").unwrap(), guid: Guid("7".to_owned()) };
        let (volume, kept) = (VolumeId::new("v").unwrap(), VolumeId::new("k").unwrap());
        let way = Way { volume, kept, to };

        assert_eq!(Way::parse(&way.going()).as_ref(), Some(&way));
        for text in [&*way.went(), "", "going v k t.1", "going V k t.1 7"] {
            assert_eq!(Way::parse(text), None, "{text}");
        }
    }
}
