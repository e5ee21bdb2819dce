//! What is due when, and which copies may go: the two questions of the hook `backup-schedule`.

use std::time::Duration;

use flocker_model::Timestamp;
use flocker_planner::{Droppable, Due, PruneQuestion, Schedule, ScheduleQuestion};
use serde::{Deserialize, Serialize};
use wasmtime::{Store, component::Resource};

use super::{Ask, exported, reason};
use crate::{
    bindings::{
        exports::flocker::plugin::backup_schedule::{self, BackupCopy},
        flocker::plugin::types,
    },
    chatter::tame,
    contract::Hook,
    guest::Exports,
    state::State,
    view::View,
};

/// The longest name of a lane, and the longest label.
const NAME_CHARS_MAX: usize = 64;

/// `backup-schedule.next`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Next {
    volumes: Vec<u32>,
    horizon_ms: u64,
}

impl Ask for Next {
    type Verdict = backup_schedule::Schedule;
    const HOOK: Hook = Hook::BackupSchedule;
    const KIND: &'static str = "schedule";

    fn put(
        &self,
        store: &mut Store<State>,
        exports: &Exports,
        context: &types::Context,
        view: Resource<View>,
    ) -> wasmtime::Result<Result<Self::Verdict, types::Failure>> {
        let hook = exported(exports.backups.as_ref(), Self::HOOK)?;
        hook.call_next(store, context, view, &self.volumes, self.horizon_ms)
    }
}

impl From<&ScheduleQuestion> for Next {
    fn from(question: &ScheduleQuestion) -> Self {
        let horizon_ms = u64::try_from(question.horizon.as_millis()).unwrap_or(u64::MAX);
        Self { volumes: question.volumes.clone(), horizon_ms }
    }
}

/// The verdict, as the planner knows it.
pub(crate) fn schedule(verdict: backup_schedule::Schedule) -> Schedule {
    let due = |d: backup_schedule::Due| Due {
        volume: d.volume,
        at: Timestamp(d.at_ms),
        lane: tame(&d.lane, NAME_CHARS_MAX),
        label: tame(&d.label, NAME_CHARS_MAX),
    };
    Schedule {
        due: verdict.due.into_iter().map(due).collect(),
        ask_again: Duration::from_millis(verdict.ask_again_ms),
    }
}

/// `backup-schedule.prune`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prune {
    volume: u32,
    lane: String,
    copies: Vec<BackupCopy>,
}

impl Ask for Prune {
    type Verdict = Vec<backup_schedule::Droppable>;
    const HOOK: Hook = Hook::BackupSchedule;
    const KIND: &'static str = "prune";

    fn put(
        &self,
        store: &mut Store<State>,
        exports: &Exports,
        context: &types::Context,
        view: Resource<View>,
    ) -> wasmtime::Result<Result<Self::Verdict, types::Failure>> {
        let hook = exported(exports.backups.as_ref(), Self::HOOK)?;
        hook.call_prune(store, context, view, self.volume, &self.lane, &self.copies)
    }
}

impl From<&PruneQuestion> for Prune {
    fn from(question: &PruneQuestion) -> Self {
        let copy = |c: &flocker_planner::Copied| BackupCopy {
            tag: c.tag.clone(),
            taken_ms: c.taken.0,
            label: c.label.clone(),
            bytes: c.bytes,
            attrs: Vec::new(),
        };
        Self {
            volume: question.volume,
            lane: question.lane.clone(),
            copies: question.copies.iter().map(copy).collect(),
        }
    }
}

/// The verdict, as the planner knows it.
pub(crate) fn droppable(verdict: Vec<backup_schedule::Droppable>) -> Vec<Droppable> {
    let may_go =
        |d: backup_schedule::Droppable| Droppable { copy: d.copy, reason: reason(&d.reason) };
    verdict.into_iter().map(may_go).collect()
}
