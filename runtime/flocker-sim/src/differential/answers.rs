//! What two backends answered, in a form that can be compared: errors by their kind and what they say about the volume,
//! identities of snapshots as the model calls them.

use std::collections::BTreeMap;

use flocker_model::{Guid, Point, VolumeState};
use flocker_ports::{BackendError, Change};

/// An identity that no snapshot has, in the words of every backend.
pub(super) const NOBODYS: &str = "424242";

/// Which of the real backend's identities is which of the model's.
#[derive(Debug, Default)]
pub(super) struct Names {
    real_of: BTreeMap<Guid, Guid>,
    model_of: BTreeMap<Guid, Guid>,
}

impl Names {
    /// The two were answered as the same snapshot.
    pub(super) fn meet(&mut self, model: &Guid, real: &Guid) {
        self.real_of.entry(model.clone()).or_insert_with(|| real.clone());
        self.model_of.entry(real.clone()).or_insert_with(|| model.clone());
    }

    /// A point of the model's, for the real backend.
    pub(super) fn real(&self, point: &Point) -> Point {
        let guid = self.real_of.get(&point.guid).unwrap_or(&point.guid);
        Point { tag: point.tag.clone(), guid: guid.clone() }
    }

    /// A point of the real backend's, as the model calls it.
    pub(super) fn model(&self, point: &Point) -> Point {
        let unknown = || Guid(format!("unknown {}", point.guid));
        let guid = self.model_of.get(&point.guid).cloned().unwrap_or_else(unknown);
        Point { tag: point.tag.clone(), guid }
    }
}

pub(super) type Answer<T> = Result<T, BackendError>;

/// A refusal. What only people read is left out.
pub(super) fn refusal(error: &BackendError) -> String {
    match error {
        BackendError::NoSuchVolume(_)
        | BackendError::NoSuchSnapshot { .. }
        | BackendError::StaleEpoch { .. }
        | BackendError::WrongRole { .. } => error.to_string(),
        BackendError::Diverged { volume, .. } => format!("volume `{volume}` has diverged"),
        BackendError::Busy { volume, .. } => format!("volume `{volume}` is busy"),
        BackendError::PoolFull { .. } => "the pool is full".to_owned(),
        BackendError::CannotResume { .. } => "cannot resume".to_owned(),
        BackendError::CorruptStream { .. } => "corrupt".to_owned(),
        // The model never fails, so this one is shown as a difference, and why.
        BackendError::Unsupported { .. } => "unsupported".to_owned(),
        BackendError::Failed { .. } => format!("failed: {error}"),
    }
}

pub(super) fn show<T>(answer: &Answer<T>, granted: impl FnOnce(&T) -> String) -> String {
    match answer {
        Ok(answer) => granted(answer),
        Err(error) => refusal(error),
    }
}

pub(super) fn change(change: Change) -> String {
    match change {
        Change::Made => "made".to_owned(),
        Change::None => "so already".to_owned(),
    }
}

pub(super) fn points<'a>(points: impl Iterator<Item = &'a Point>) -> String {
    let points: Vec<_> = points.map(|point| format!("{} {}", point.tag, point.guid)).collect();
    format!("[{}]", points.join(", "))
}

/// What everybody must agree on about a volume; how much is written to it is the filesystem's.
pub(super) fn volume(state: &VolumeState) -> String {
    let VolumeState { id, role, epoch, size, used: _ } = state;
    format!("{id}: {role:?} at epoch {epoch}, {size}")
}
