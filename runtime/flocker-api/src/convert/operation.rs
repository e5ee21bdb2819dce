//! Operations and their reports.

use std::time::Duration;

use flocker_model::{
    ByteSize, Epoch, MoveReport, Operation, OperationKind, OperationState, Phase, PhaseReport,
    Purpose, Round, Timestamp, Transfer,
};

use super::{Malformed, each, messages, nanoseconds, parse, parse_option, required};
use crate::v1::{
    self, operation as kinds, operation::Kind, operation_state as states, operation_state::State,
};

impl From<&Operation> for v1::Operation {
    fn from(operation: &Operation) -> Self {
        Self {
            id: operation.id.to_string(),
            app: operation.app.to_string(),
            kind: Some((&operation.kind).into()),
            purpose: v1::Purpose::from(operation.purpose).into(),
            state: Some((&operation.state).into()),
            phase: v1::Phase::from(operation.phase).into(),
            undoing: operation.undoing.clone(),
            trouble: operation.trouble.clone(),
            started_ms: operation.started.0,
            finished_ms: operation.finished.map(|at| at.0),
            parked_ms: operation.parked.map(|at| at.0),
            phases: messages(&operation.report.phases),
            rounds: messages(&operation.report.rounds),
            blackout_ns: operation.report.blackout.map(nanoseconds),
        }
    }
}

impl TryFrom<v1::Operation> for Operation {
    type Error = Malformed;
    fn try_from(operation: v1::Operation) -> Result<Self, Malformed> {
        Ok(Self {
            purpose: operation.purpose().try_into()?,
            phase: operation.phase().try_into()?,
            id: parse("id", &operation.id)?,
            app: parse("app", &operation.app)?,
            kind: required("kind", operation.kind)?,
            state: required("state", operation.state)?,
            undoing: operation.undoing,
            trouble: operation.trouble,
            started: Timestamp(operation.started_ms),
            finished: operation.finished_ms.map(Timestamp),
            parked: operation.parked_ms.map(Timestamp),
            report: MoveReport {
                phases: each(operation.phases)?,
                rounds: each(operation.rounds)?,
                blackout: operation.blackout_ns.map(Duration::from_nanos),
            },
        })
    }
}

impl From<&OperationKind> for Kind {
    fn from(kind: &OperationKind) -> Self {
        match kind {
            OperationKind::Deploy { target, tried } => Self::Deploy(kinds::Deploy {
                target: target.to_string(),
                tried: tried.iter().map(ToString::to_string).collect(),
            }),
            OperationKind::Update { node, manifest } => {
                Self::Update(kinds::Update { node: node.to_string(), manifest: manifest.clone() })
            }
            OperationKind::Move { source, target, epoch } => Self::Move(kinds::Move {
                source: source.to_string(),
                target: target.to_string(),
                epoch: epoch.0,
            }),
            OperationKind::Remove { node, volumes } => Self::Remove(kinds::Remove {
                node: node.as_ref().map(ToString::to_string),
                volumes: *volumes,
            }),
        }
    }
}

impl TryFrom<Kind> for OperationKind {
    type Error = Malformed;
    fn try_from(kind: Kind) -> Result<Self, Malformed> {
        Ok(match kind {
            Kind::Deploy(kind) => Self::Deploy {
                target: parse("target", &kind.target)?,
                tried: kind.tried.iter().map(|n| parse("tried", n)).collect::<Result<_, _>>()?,
            },
            Kind::Update(kind) => {
                Self::Update { node: parse("node", &kind.node)?, manifest: kind.manifest }
            }
            Kind::Move(kind) => Self::Move {
                source: parse("source", &kind.source)?,
                target: parse("target", &kind.target)?,
                epoch: Epoch(kind.epoch),
            },
            Kind::Remove(kind) => Self::Remove {
                node: parse_option("node", kind.node.as_deref())?,
                volumes: kind.volumes,
            },
        })
    }
}

impl From<&OperationState> for v1::OperationState {
    fn from(state: &OperationState) -> Self {
        let state = match state {
            OperationState::Running => State::Running(states::Running {}),
            OperationState::Waiting { reason } => State::Waiting(reason.clone()),
            OperationState::Done => State::Done(states::Done {}),
            OperationState::Aborted { reason } => State::Aborted(reason.clone()),
            OperationState::Failed { reason } => State::Failed(reason.clone()),
        };
        Self { state: Some(state) }
    }
}

impl TryFrom<v1::OperationState> for OperationState {
    type Error = Malformed;
    fn try_from(state: v1::OperationState) -> Result<Self, Malformed> {
        Ok(match state.state.ok_or(Malformed::missing("state"))? {
            State::Running(states::Running {}) => Self::Running,
            State::Waiting(reason) => Self::Waiting { reason },
            State::Done(states::Done {}) => Self::Done,
            State::Aborted(reason) => Self::Aborted { reason },
            State::Failed(reason) => Self::Failed { reason },
        })
    }
}

impl From<Purpose> for v1::Purpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Operator => Self::Operator,
            Purpose::Create => Self::Create,
            Purpose::Drain => Self::Drain,
            Purpose::Rebalance => Self::Rebalance,
        }
    }
}

impl TryFrom<v1::Purpose> for Purpose {
    type Error = Malformed;
    fn try_from(purpose: v1::Purpose) -> Result<Self, Malformed> {
        match purpose {
            v1::Purpose::Operator => Ok(Self::Operator),
            v1::Purpose::Create => Ok(Self::Create),
            v1::Purpose::Drain => Ok(Self::Drain),
            v1::Purpose::Rebalance => Ok(Self::Rebalance),
            v1::Purpose::Unspecified => Err(Malformed::missing("purpose")),
        }
    }
}

impl From<Phase> for v1::Phase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Planned => Self::Planned,
            Phase::Seed => Self::Seed,
            Phase::Converge => Self::Converge,
            Phase::Prepare => Self::Prepare,
            Phase::Park => Self::Park,
            Phase::Stop => Self::Stop,
            Phase::Seal => Self::Seal,
            Phase::Delta => Self::Delta,
            Phase::Commit => Self::Commit,
            Phase::Promote => Self::Promote,
            Phase::Start => Self::Start,
            Phase::Unpark => Self::Unpark,
            Phase::Reverse => Self::Reverse,
        }
    }
}

impl TryFrom<v1::Phase> for Phase {
    type Error = Malformed;
    fn try_from(phase: v1::Phase) -> Result<Self, Malformed> {
        Ok(match phase {
            v1::Phase::Planned => Self::Planned,
            v1::Phase::Seed => Self::Seed,
            v1::Phase::Converge => Self::Converge,
            v1::Phase::Prepare => Self::Prepare,
            v1::Phase::Park => Self::Park,
            v1::Phase::Stop => Self::Stop,
            v1::Phase::Seal => Self::Seal,
            v1::Phase::Delta => Self::Delta,
            v1::Phase::Commit => Self::Commit,
            v1::Phase::Promote => Self::Promote,
            v1::Phase::Start => Self::Start,
            v1::Phase::Unpark => Self::Unpark,
            v1::Phase::Reverse => Self::Reverse,
            v1::Phase::Unspecified => return Err(Malformed::missing("phase")),
        })
    }
}

impl From<&PhaseReport> for v1::PhaseReport {
    fn from(report: &PhaseReport) -> Self {
        Self {
            phase: v1::Phase::from(report.phase).into(),
            took_ns: nanoseconds(report.took),
            undo: report.undo,
            trouble: report.trouble.clone(),
        }
    }
}

impl TryFrom<v1::PhaseReport> for PhaseReport {
    type Error = Malformed;
    fn try_from(report: v1::PhaseReport) -> Result<Self, Malformed> {
        Ok(Self {
            phase: report.phase().try_into()?,
            took: Duration::from_nanos(report.took_ns),
            undo: report.undo,
            trouble: report.trouble,
        })
    }
}

impl From<&Round> for v1::Round {
    fn from(round: &Round) -> Self {
        Self { tag: round.tag.to_string(), transfer: Some(round.transfer.into()) }
    }
}

impl TryFrom<v1::Round> for Round {
    type Error = Malformed;
    fn try_from(round: v1::Round) -> Result<Self, Malformed> {
        Ok(Self { tag: parse("tag", &round.tag)?, transfer: required("transfer", round.transfer)? })
    }
}

impl From<Transfer> for v1::Transfer {
    fn from(transfer: Transfer) -> Self {
        Self {
            bytes: transfer.bytes.0,
            resumed: transfer.resumed.0,
            took_ns: nanoseconds(transfer.took),
        }
    }
}

impl From<v1::Transfer> for Transfer {
    fn from(transfer: v1::Transfer) -> Self {
        Self {
            bytes: ByteSize(transfer.bytes),
            resumed: ByteSize(transfer.resumed),
            took: Duration::from_nanos(transfer.took_ns),
        }
    }
}
