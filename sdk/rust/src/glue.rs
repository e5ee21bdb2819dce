//! Between the component's exports and the author's type. Not for authors.

use std::{any::Any, borrow::Cow, cell::RefCell, marker::PhantomData, rc::Rc, time::Duration};

use crate::{
    App, Backups, Cluster, Copied, Failover, Incident, Node, Placement, Policy, Rebalance, Request,
    Scores, Timestamp, Volume,
    bindings::{
        backups::exports::flocker::plugin::backup_schedule,
        failover::exports::flocker::plugin::failover,
        placement::exports::flocker::plugin::placement,
        policy::{exports::flocker::plugin::lifecycle, flocker::plugin::cluster::View},
        rebalance::exports::flocker::plugin::rebalance,
    },
    failover::{Course, Verdict},
    table::{Row, Table, Tables},
    time::millis,
};

/// What [`crate::export!`] knows of the author's crate.
pub trait Author: 'static {
    /// The policy.
    type Policy: Policy;
    /// The crate's name.
    const NAME: &'static str;
    /// The crate's version.
    const VERSION: &'static str;
}

/// Implements the exports: the lifecycle of every policy, and the hooks that it has.
#[derive(Debug)]
pub struct Component<A>(PhantomData<A>);

thread_local! {
    /// What is configured. A component has one thread and one policy or driver; a generic type cannot have a static of its
    /// own.
    static CONFIGURED: RefCell<Option<Rc<dyn Any>>> = const { RefCell::new(None) };
}

/// Answers all questions from now on.
pub(crate) fn configure<T: 'static>(configured: T) {
    CONFIGURED.set(Some(Rc::new(configured)));
}

/// What was configured. The host configures before it asks; another one might not.
pub(crate) fn configured<T: Default + 'static>() -> Rc<T> {
    let configured = CONFIGURED.with_borrow(Clone::clone).map(Rc::downcast::<T>);
    configured.and_then(Result::ok).unwrap_or_default()
}

fn policy<A: Author>() -> Rc<A::Policy> {
    configured()
}

impl<'a> Cluster<'a> {
    fn of(tables: &'a Tables<'a>) -> Self {
        Self { tables }
    }

    fn row<T: From<Row<'a>>>(&self, table: Table, number: u32) -> T {
        self.tables.row(table, number).into()
    }
}

impl<A: Author> lifecycle::Guest for Component<A> {
    fn describe() -> lifecycle::Info {
        crate::log::install_panic_hook();
        lifecycle::Info {
            name: A::NAME.into(),
            version: A::VERSION.into(),
            settings_schema: A::Policy::SETTINGS_SCHEMA.into(),
            attrs: Vec::new(),
        }
    }

    fn configure(settings: String) -> Result<(), lifecycle::Failure> {
        crate::log::install_panic_hook();
        let mut policy = A::Policy::default();
        // 1 is "the settings are not understood" in wit/codes.md.
        let refuse = |message| lifecycle::Failure { code: 1, message, retry_after_ms: None };
        policy.configure(&settings).map_err(refuse)?;
        self::configure(policy);
        Ok(())
    }
}

impl<A: Author<Policy: Placement>> placement::Guest for Component<A> {
    fn evaluate(
        _: placement::Context,
        view: &View,
        request: placement::Request,
        candidates: Vec<u32>,
    ) -> Result<placement::Verdict, placement::Failure> {
        let tables = Tables::of_host(view);
        let cluster = Cluster::of(&tables);
        let nodes: Vec<Node> =
            candidates.iter().map(|row| cluster.row(Table::Nodes, *row)).collect();
        let Scores { points, reasons } =
            policy::<A>().score_all(&nodes, &Request::of_host(request));
        let reason = |(position, code, text): (usize, u32, Cow<str>)| {
            let candidate = *candidates.get(position)?;
            Some(placement::Reason { candidate, code, text: text.into_owned() })
        };
        Ok(placement::Verdict {
            scores: points,
            reasons: reasons.into_iter().filter_map(reason).collect(),
            ask_again_ms: None,
            attrs: Vec::new(),
        })
    }
}

impl<A: Author<Policy: Rebalance>> rebalance::Guest for Component<A> {
    fn plan(
        _: rebalance::Context,
        view: &View,
        movable: Vec<u32>,
        max_moves: u32,
    ) -> Result<Vec<rebalance::Move>, rebalance::Failure> {
        let tables = Tables::of_host(view);
        let cluster = Cluster::of(&tables);
        let movable: Vec<App> = movable.iter().map(|row| cluster.row(Table::Apps, *row)).collect();
        let moves = policy::<A>().plan(&cluster, &movable, max_moves as usize);
        let proposed = |m: crate::Move| rebalance::Move {
            app: m.app,
            target: m.target,
            gain: m.gain,
            reason: m.reason,
            attrs: Vec::new(),
        };
        Ok(moves.into_iter().map(proposed).collect())
    }
}

impl<A: Author<Policy: Failover>> failover::Guest for Component<A> {
    fn decide(
        context: failover::Context,
        view: &View,
        what: failover::Incident,
        volumes: Vec<u32>,
    ) -> Result<Vec<failover::Decision>, failover::Failure> {
        let tables = Tables::of_host(view);
        let cluster = Cluster::of(&tables);
        let incident = Incident {
            node: cluster.row(Table::Nodes, what.node),
            now: Timestamp(context.now_ms),
            silent: Duration::from_millis(what.silent_ms),
            fenced: what.fenced,
            votes: what.votes,
            quorum: what.quorum,
        };
        let policy = policy::<A>();
        let decide = |row: u32| {
            decision(policy.decide(&cluster, &incident, &cluster.row(Table::Volumes, row)))
        };
        Ok(volumes.into_iter().map(decide).collect())
    }
}

/// The codes are those of wit/codes.md.
fn decision(Verdict { course, reason }: Verdict) -> failover::Decision {
    let (code, replica, wait_ms) = match course {
        Course::Wait(again) => (0, None, u32::try_from(millis(again)).unwrap_or(u32::MAX)),
        Course::Promote(replica) => (1, Some(replica), 0),
        Course::Freeze => (2, None, 0),
    };
    failover::Decision { code, replica, wait_ms, reason, attrs: Vec::new() }
}

impl<A: Author<Policy: Backups>> backup_schedule::Guest for Component<A> {
    fn next(
        context: backup_schedule::Context,
        view: &View,
        volumes: Vec<u32>,
        horizon_ms: u64,
    ) -> Result<backup_schedule::Schedule, backup_schedule::Failure> {
        let (policy, tables) = (policy::<A>(), Tables::of_host(view));
        let cluster = Cluster::of(&tables);
        let (now, horizon) = (Timestamp(context.now_ms), Duration::from_millis(horizon_ms));
        let mut due = Vec::new();
        for row in volumes {
            let volume: Volume = cluster.row(Table::Volumes, row);
            for next in policy.due(&cluster, &volume, now, horizon) {
                due.push(backup_schedule::Due {
                    volume: row,
                    at_ms: next.at.0,
                    lane: next.lane,
                    label: next.label,
                    attrs: Vec::new(),
                });
            }
        }
        Ok(backup_schedule::Schedule { due, ask_again_ms: millis(policy.ask_again(horizon)) })
    }

    fn prune(
        context: backup_schedule::Context,
        view: &View,
        volume: u32,
        lane: String,
        copies: Vec<backup_schedule::BackupCopy>,
    ) -> Result<Vec<backup_schedule::Droppable>, backup_schedule::Failure> {
        let tables = Tables::of_host(view);
        let volume: Volume = Cluster::of(&tables).row(Table::Volumes, volume);
        let copied = |copy: backup_schedule::BackupCopy| Copied {
            tag: copy.tag,
            taken: Timestamp(copy.taken_ms),
            label: copy.label,
            bytes: copy.bytes,
        };
        let copies: Vec<_> = copies.into_iter().map(copied).collect();
        let may_go = policy::<A>().prune(&volume, &lane, &copies, Timestamp(context.now_ms));
        let droppable = |d: crate::Droppable| backup_schedule::Droppable {
            // A position that is too large for the contract is no copy's, and refused as such.
            copy: u32::try_from(d.copy).unwrap_or(u32::MAX),
            reason: d.reason,
        };
        Ok(may_go.into_iter().map(droppable).collect())
    }
}
