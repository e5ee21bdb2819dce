//! What is due when, and which copies may go: the two questions of the hook `backup-schedule`.

use std::time::Duration;

use flocker_model::Timestamp;
use flocker_planner::{
    ClusterView, Droppable, Due, PolicyFailure, PruneQuestion, Schedule, ScheduleQuestion,
    backups::{check_prune, check_schedule},
};
use serde::{Deserialize, Serialize};

use super::{Ask, Entry, exported, reason};
use crate::{
    bindings::{
        exports::flocker::plugin::backup_schedule::{self, BackupCopy},
        flocker::plugin::types,
    },
    chatter::tame,
    contract::Hook,
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
    type Question = ScheduleQuestion;
    type Answer = Schedule;
    type Verdict = backup_schedule::Schedule;
    const HOOK: Hook = Hook::BackupSchedule;
    const KIND: &'static str = "schedule";

    fn of(question: &ScheduleQuestion) -> Self {
        let horizon_ms = u64::try_from(question.horizon.as_millis()).unwrap_or(u64::MAX);
        Self { volumes: question.volumes.clone(), horizon_ms }
    }

    fn put(&self, entry: Entry<'_>) -> wasmtime::Result<Result<Self::Verdict, types::Failure>> {
        let hook = exported(entry.exports.backups.as_ref(), Self::HOOK)?;
        hook.call_next(entry.store, entry.context, entry.view, &self.volumes, self.horizon_ms)
    }

    fn read(
        verdict: Self::Verdict,
        _: &ClusterView,
        question: &ScheduleQuestion,
    ) -> Result<Schedule, PolicyFailure> {
        let due = |d: backup_schedule::Due| Due {
            volume: d.volume,
            at: Timestamp(d.at_ms),
            lane: tame(&d.lane, NAME_CHARS_MAX),
            label: tame(&d.label, NAME_CHARS_MAX),
        };
        let schedule = Schedule {
            due: verdict.due.into_iter().map(due).collect(),
            ask_again: Duration::from_millis(verdict.ask_again_ms),
        };
        check_schedule(question, &schedule).map(|()| schedule)
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
    type Question = PruneQuestion;
    type Answer = Vec<Droppable>;
    type Verdict = Vec<backup_schedule::Droppable>;
    const HOOK: Hook = Hook::BackupSchedule;
    const KIND: &'static str = "prune";

    fn of(question: &PruneQuestion) -> Self {
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

    fn put(&self, entry: Entry<'_>) -> wasmtime::Result<Result<Self::Verdict, types::Failure>> {
        let hook = exported(entry.exports.backups.as_ref(), Self::HOOK)?;
        hook.call_prune(
            entry.store,
            entry.context,
            entry.view,
            self.volume,
            &self.lane,
            &self.copies,
        )
    }

    fn read(
        verdict: Self::Verdict,
        _: &ClusterView,
        question: &PruneQuestion,
    ) -> Result<Vec<Droppable>, PolicyFailure> {
        let may_go =
            |d: backup_schedule::Droppable| Droppable { copy: d.copy, reason: reason(&d.reason) };
        let droppable: Vec<_> = verdict.into_iter().map(may_go).collect();
        check_prune(question, &droppable).map(|()| droppable)
    }
}
