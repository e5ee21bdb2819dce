//! What the owner of volumes does so that their replicas stay up to date: which snapshot is taken, asked for, sent and
//! removed next. Knows nothing of time but what it is told, and sends nothing itself: the agent carries out
//! [`Command`]s and tells with [`Event`]s what came of them.
//!
//! Volumes of one app form a group: one snapshot is taken of all of them, and a receiver gets the next one only when it
//! has this one of every volume, so that there is always one that all of its copies hold.
//!
//! A snapshot that a receiver holds, or may hold because its last answer was lost, stays here until the receiver said
//! that it holds a newer one. So nothing is ever sent from the beginning again, however long a receiver is away.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use flocker_model::{Guid, NodeName, Point, SnapshotTag, Timestamp, VolumeId, VolumeName};

use super::{
    commands::{Command, Event, Failure, GroupId, Last, News, Standing, What},
    duties::Duty,
    path::{Conflict, Path, path},
};

/// What begins the names of snapshots for replicas; the owner's time in milliseconds follows.
pub const PREFIX: &str = "repl-";

/// The pause after a failure, doubled with each further one, and the longest. A receiver that is away for weeks is asked
/// once a minute.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A stream that a receiver refused so often is not sent again; the next snapshot is another stream.
const REFUSALS_MAX: u32 = 2;

/// Snapshots that a receiver does not need any more are removed a few at a time: each removal is a round trip.
const PRUNED_AT: usize = 2;

/// What nobody needs any more is removed at these moments, of all groups: storage removes many snapshots at the price of
/// one.
const PRUNED_EVERY: Duration = Duration::from_secs(5);

/// Keeps the replicas of one node's volumes up to date.
#[derive(Debug, Default)]
pub struct Keeper {
    groups: BTreeMap<VolumeName, Group>,
    generations: u64,
    /// In which beat snapshots were removed last.
    pruned: Option<u64>,
}

#[derive(Debug)]
struct Group {
    generation: u64,
    duty: Duty,
    here: BTreeMap<VolumeId, Here>,
    receivers: BTreeMap<NodeName, Receiver>,
    /// Since when a snapshot is being taken.
    taking: Option<Timestamp>,
    /// Up to when all that was written is in the newest snapshot: when it was taken, or found not to be needed.
    looked: Option<Timestamp>,
    pause: Pause,
}

/// A volume's snapshots on this node.
#[derive(Debug, Default)]
struct Here {
    /// Oldest first; `None`: to be listed.
    points: Option<Vec<Point>>,
    busy: bool,
}

#[derive(Debug, Default)]
struct Receiver {
    copies: BTreeMap<VolumeId, There>,
    /// What it is being sent of every volume.
    round: Option<SnapshotTag>,
    pause: Pause,
}

/// A volume's snapshots on a receiver.
#[derive(Debug, Default)]
struct There {
    /// Oldest first; `None`: to be asked.
    points: Option<Vec<Point>>,
    /// While that is not known: what it held when it was known last, and what was sent since. `None`: it may hold
    /// anything.
    perhaps: Option<BTreeSet<Guid>>,
    busy: bool,
    /// What is on its way there.
    sending: Option<Guid>,
    conflict: Option<Box<Conflict>>,
    /// What it refused, and how often.
    refused: Option<(Guid, u32)>,
    pause: Pause,
}

/// When something may be tried again.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
    until: Timestamp,
    trouble: Option<String>,
}

impl Pause {
    /// Whether nothing is to be tried yet. A clock that was set back ends a pause: none is longer than the longest.
    fn lasts(&self, now: Timestamp) -> bool {
        now < self.until && self.until <= now + PAUSE.1
    }

    fn fail(&mut self, now: Timestamp, trouble: String) {
        let pause = PAUSE.0.saturating_mul(1_u32 << self.failures.min(16)).min(PAUSE.1);
        self.failures = self.failures.saturating_add(1);
        self.until = now + pause;
        self.trouble = Some(trouble);
    }
}

impl Keeper {
    /// Takes in what the records say. What is no duty any more is forgotten; what changed its volumes or epochs begins
    /// anew, and whatever is still under way for it should be ended: [`Keeper::knows`].
    pub fn set_duties(&mut self, duties: Vec<Duty>) {
        let mut before = std::mem::take(&mut self.groups);
        for duty in duties {
            let Some(name) = duty.volumes.first().map(|volume| volume.name.clone()) else {
                continue;
            };
            let same = before.remove(&name).filter(|group| group.duty.is_of_same_volumes(&duty));
            let mut group = same.unwrap_or_else(|| {
                self.generations += 1;
                Group::new(self.generations, duty.clone())
            });
            group.receivers.retain(|node, _| duty.receivers.contains(node));
            for node in &duty.receivers {
                group.receivers.entry(node.clone()).or_insert_with(|| Receiver::of(&duty));
            }
            group.duty = duty;
            self.groups.insert(name, group);
        }
    }

    /// Whether a group is still one of this node's duties.
    #[must_use]
    pub fn knows(&self, id: &GroupId) -> bool {
        self.groups.get(&id.name).is_some_and(|group| group.generation == id.generation)
    }

    /// Takes in what came of a command.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        let Event { group: id, news } = event;
        let group = self.groups.get_mut(&id.name).filter(|g| g.generation == id.generation);
        if let Some(group) = group {
            group.handle(now, news);
        }
    }

    /// What is to be done now. Each command is given once, until it is known what came of it.
    pub fn next(&mut self, now: Timestamp) -> Vec<Command> {
        let mut commands = vec![];
        let this = beat(now, PRUNED_EVERY);
        let pruning = self.pruned != Some(this);
        self.pruned = Some(this);
        for (name, group) in &mut self.groups {
            let id = GroupId { name: name.clone(), generation: group.generation };
            let todo = group.next(now, pruning).into_iter();
            commands.extend(todo.map(|what| Command { group: id.clone(), what }));
        }
        commands
    }

    /// How all copies stand.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        self.groups.values().flat_map(Group::standings).collect()
    }
}

impl Receiver {
    fn of(duty: &Duty) -> Self {
        let copies = duty.volumes.iter().map(|v| (v.id.clone(), There::default())).collect();
        Self { copies, ..Self::default() }
    }

    /// Whether it is known what it holds of everything, and nothing is under way. Copies that are in trouble hold up no
    /// others.
    fn is_idle(&self, now: Timestamp) -> bool {
        let mut copies = self.copies.values().filter(|copy| !copy.is_out(now)).peekable();
        copies.peek().is_some() && copies.all(|copy| copy.points.is_some() && !copy.busy)
    }

    /// The newest snapshot for replicas that all of its copies hold.
    fn complete(&self) -> Option<&SnapshotTag> {
        let copies = self.copies.values().filter(|copy| copy.conflict.is_none());
        newest_of_all(copies.map(|copy| copy.points.as_deref()))
    }
}

impl There {
    /// It is not known any more what it holds; at most `sent` besides what it held.
    fn forget(&mut self, sent: Option<&Point>) {
        if let Some(points) = self.points.take() {
            self.perhaps = Some(points.into_iter().map(|p| p.guid).collect());
        }
        if let Some(perhaps) = &mut self.perhaps {
            perhaps.extend(sent.map(|p| p.guid.clone()));
        }
    }

    /// Whether nothing is tried with it at the moment.
    fn is_out(&self, now: Timestamp) -> bool {
        self.pause.lasts(now)
    }

    fn may_hold(&self, point: &Point) -> bool {
        if self.sending.as_ref() == Some(&point.guid) {
            return true;
        }
        match (&self.points, &self.perhaps) {
            (Some(points), _) => points.iter().any(|held| held.guid == point.guid),
            (None, Some(perhaps)) => perhaps.contains(&point.guid),
            (None, None) => true,
        }
    }

    fn is_quarantined(&self, to: &Point) -> bool {
        self.refused
            .as_ref()
            .is_some_and(|(guid, times)| *guid == to.guid && *times >= REFUSALS_MAX)
    }
}

impl Group {
    fn new(generation: u64, duty: Duty) -> Self {
        let here = duty.volumes.iter().map(|v| (v.id.clone(), Here::default())).collect();
        let (receivers, looked, pause) = (BTreeMap::new(), None, Pause::default());
        Self { generation, duty, here, receivers, taking: None, looked, pause }
    }

    fn handle(&mut self, now: Timestamp, news: News) {
        match news {
            News::Listed { volume, points } => {
                let Some(here) = self.here.get_mut(&volume) else { return };
                here.busy = false;
                match points {
                    Ok(points) => here.points = Some(points),
                    Err(reason) => self.pause.fail(now, reason),
                }
            }
            News::Taken { points } => self.taken(now, points),
            News::Held { volume, receiver, points } => self.held(now, &volume, &receiver, points),
            News::Sent { volume, receiver, to, result } => {
                self.sent(now, &volume, &receiver, to, result);
            }
            News::Removed { volume, on, which, result } => {
                self.removed(now, &volume, on.as_ref(), &which, result);
            }
        }
    }

    fn taken(&mut self, now: Timestamp, points: Result<Option<Vec<(VolumeId, Point)>>, String>) {
        let began = self.taking.take();
        match points {
            Ok(points) => {
                self.looked = began;
                self.pause = Pause::default();
                for (volume, point) in points.into_iter().flatten() {
                    let known = self.here.get_mut(&volume).and_then(|here| here.points.as_mut());
                    known.into_iter().for_each(|points| points.push(point.clone()));
                }
            }
            Err(reason) => {
                self.pause.fail(now, reason);
                // It may have been taken and not been answered.
                self.here.values_mut().for_each(|here| here.points = None);
            }
        }
    }

    fn held(
        &mut self,
        now: Timestamp,
        volume: &VolumeId,
        receiver: &NodeName,
        points: Result<Vec<Point>, Failure>,
    ) {
        let Some(receiver) = self.receivers.get_mut(receiver) else { return };
        let Some(copy) = receiver.copies.get_mut(volume) else { return };
        copy.busy = false;
        match points {
            Ok(points) => {
                (copy.points, copy.conflict) = (Some(points), None);
                // It is back. What it refused has a pause of its own.
                receiver.pause = Pause::default();
            }
            Err(Failure::Away(reason)) => receiver.pause.fail(now, reason),
            Err(Failure::Refused(reason) | Failure::Here(reason)) => copy.pause.fail(now, reason),
        }
    }

    fn sent(
        &mut self,
        now: Timestamp,
        volume: &VolumeId,
        receiver: &NodeName,
        to: Point,
        result: Result<(), Failure>,
    ) {
        let Some(receiver) = self.receivers.get_mut(receiver) else { return };
        let Some(copy) = receiver.copies.get_mut(volume) else { return };
        (copy.busy, copy.sending) = (false, None);
        match result {
            Ok(()) => {
                (copy.refused, copy.pause) = (None, Pause::default());
                receiver.pause = Pause::default();
                match &mut copy.points {
                    Some(points) => points.push(to),
                    None => copy.forget(Some(&to)),
                }
                return;
            }
            Err(Failure::Away(reason)) => receiver.pause.fail(now, reason),
            Err(Failure::Refused(reason)) => {
                let before = copy.refused.take().filter(|(guid, _)| *guid == to.guid);
                let times = before.map_or(1, |(_, times)| times + 1);
                copy.refused = Some((to.guid.clone(), times));
                copy.pause.fail(now, reason);
            }
            Err(Failure::Here(reason)) => {
                // Somebody removed it, or what it was to be sent from.
                self.here.get_mut(volume).into_iter().for_each(|here| here.points = None);
                copy.pause.fail(now, reason);
            }
        }
        copy.forget(Some(&to));
    }

    fn removed(
        &mut self,
        now: Timestamp,
        volume: &VolumeId,
        on: Option<&NodeName>,
        which: &[Point],
        result: Result<(), Failure>,
    ) {
        let reason = result.err().map(|failure| match failure {
            Failure::Away(reason) | Failure::Refused(reason) | Failure::Here(reason) => reason,
        });
        let left = |points: &mut Option<Vec<Point>>| {
            let gone = |p: &Point| which.iter().any(|w| w.guid == p.guid);
            points.iter_mut().for_each(|points| points.retain(|p| !gone(p)));
        };
        match on {
            None => {
                let Some(here) = self.here.get_mut(volume) else { return };
                here.busy = false;
                left(&mut here.points);
                if let Some(reason) = reason {
                    here.points = None;
                    self.pause.fail(now, reason);
                }
            }
            Some(node) => {
                let Some(receiver) = self.receivers.get_mut(node) else { return };
                let Some(copy) = receiver.copies.get_mut(volume) else { return };
                copy.busy = false;
                match reason {
                    None => left(&mut copy.points),
                    Some(reason) => {
                        copy.forget(None);
                        copy.pause.fail(now, reason);
                    }
                }
            }
        }
    }

    fn next(&mut self, now: Timestamp, pruning: bool) -> Vec<What> {
        let mut todo = vec![];
        let may_work = !self.pause.lasts(now);
        for volume in &self.duty.volumes {
            let Some(here) = self.here.get_mut(&volume.id) else { continue };
            if here.points.is_none() && !here.busy && may_work {
                here.busy = true;
                todo.push(What::List { volume: volume.clone() });
            }
        }
        for (node, receiver) in &mut self.receivers {
            if receiver.pause.lasts(now) {
                continue;
            }
            for volume in &self.duty.volumes {
                let Some(copy) = receiver.copies.get_mut(&volume.id) else { continue };
                if copy.points.is_none() && !copy.busy && !copy.is_out(now) {
                    copy.busy = true;
                    todo.push(What::Ask { volume: volume.clone(), receiver: node.clone() });
                }
            }
        }
        if self.here.values().any(|here| here.points.is_none()) {
            return todo;
        }
        if may_work {
            todo.extend(self.take(now));
        }
        let newest = self.newest().cloned();
        for (node, receiver) in &mut self.receivers {
            if !receiver.pause.lasts(now) {
                todo.extend(send(&self.duty, &self.here, node, receiver, newest.as_ref(), now));
            }
        }
        if pruning && may_work {
            todo.extend(self.remove_here());
        }
        if pruning {
            todo.extend(self.remove_there(now));
        }
        todo
    }

    /// A snapshot, if it is time and somebody is there to receive it: a receiver that is away costs nothing but the
    /// snapshot that it holds. Groups of one interval have their time together, so that it is taken of all at once.
    fn take(&mut self, now: Timestamp) -> Option<What> {
        let every = self.duty.every;
        let due = self.looked.is_none_or(|looked| beat(looked, every) != beat(now, every));
        let ready = |r: &Receiver| r.is_idle(now) && !r.pause.lasts(now);
        if self.taking.is_some() || !due || !self.receivers.values().any(ready) {
            return None;
        }
        // One that claims to be of the future, as the clock was set back since, says nothing about what was written.
        let last = |tag: &SnapshotTag| Some(Last { tag: tag.clone(), at: taken_at(tag)? });
        let unless_idle_since = self.newest().and_then(last).filter(|last| last.at <= now);
        #[expect(clippy::expect_used, reason = "it begins with a letter and has digits besides")]
        let tag = SnapshotTag::new(format!("{PREFIX}{}", now.0)).expect("it is a valid tag");
        self.taking = Some(now);
        Some(What::Take { volumes: self.duty.volumes.clone(), tag, unless_idle_since })
    }

    /// The newest snapshot for replicas that all volumes here have.
    fn newest(&self) -> Option<&SnapshotTag> {
        newest_of_all(self.here.values().map(|here| here.points.as_deref()))
    }

    /// What nobody needs any more here. What a receiver holds, or may hold, is what the next increment begins at.
    fn remove_here(&mut self) -> Vec<What> {
        let newest = self.newest().cloned();
        let mut todo = vec![];
        for volume in &self.duty.volumes {
            let Some(here) = self.here.get_mut(&volume.id) else { continue };
            let receivers = &self.receivers;
            let needed = |point: &Point| {
                Some(&point.tag) == newest.as_ref()
                    || receivers.values().any(|r| {
                        r.round.as_ref() == Some(&point.tag)
                            || r.copies.get(&volume.id).is_none_or(|copy| copy.may_hold(point))
                    })
            };
            let ours = here.points.iter().flatten().filter(|p| is_ours(&p.tag));
            let which: Vec<_> = ours.filter(|p| !needed(p)).cloned().collect();
            if !which.is_empty() && !here.busy {
                here.busy = true;
                todo.push(What::Remove { volume: volume.clone(), on: None, which });
            }
        }
        todo
    }

    /// What the receivers do not need any more: all but the snapshot that all copies hold, and what came after it.
    fn remove_there(&mut self, now: Timestamp) -> Vec<What> {
        let mut todo = vec![];
        for (node, receiver) in &mut self.receivers {
            let Some(complete) = receiver.complete().cloned() else { continue };
            if receiver.pause.lasts(now) {
                continue;
            }
            for volume in &self.duty.volumes {
                let Some(copy) = receiver.copies.get_mut(&volume.id) else { continue };
                let settled = !copy.busy && !copy.is_out(now);
                let Some(points) = copy.points.as_ref().filter(|_| settled) else { continue };
                let older = points.iter().take_while(|p| p.tag != complete);
                let which: Vec<_> = older.filter(|p| is_ours(&p.tag)).cloned().collect();
                if which.len() >= PRUNED_AT {
                    copy.busy = true;
                    let on = Some(node.clone());
                    todo.push(What::Remove { volume: volume.clone(), on, which });
                }
            }
        }
        todo
    }

    fn standings(&self) -> impl Iterator<Item = Standing> {
        let newest = self.newest();
        self.receivers.iter().flat_map(move |(node, receiver)| {
            let complete = receiver.complete().cloned();
            let until = match &complete {
                Some(tag) if Some(tag) == newest => self.looked.or(taken_at(tag)),
                Some(tag) => taken_at(tag),
                None => None,
            };
            receiver.copies.iter().map(move |(volume, copy)| {
                let conflict = copy.conflict.as_ref().map(ToString::to_string);
                let trouble = conflict.or_else(|| copy.pause.trouble.clone());
                let trouble = trouble.or_else(|| receiver.pause.trouble.clone());
                Standing {
                    volume: volume.clone(),
                    receiver: node.clone(),
                    at: copy.points.as_ref().and_then(|points| points.last().cloned()),
                    until,
                    trouble: trouble.or_else(|| self.pause.trouble.clone()),
                }
            })
        })
    }
}

/// What a receiver is to be sent next. One round at a time: the next snapshot only when it has this one of all volumes.
fn send(
    duty: &Duty,
    here: &BTreeMap<VolumeId, Here>,
    node: &NodeName,
    receiver: &mut Receiver,
    newest: Option<&SnapshotTag>,
    now: Timestamp,
) -> Vec<What> {
    if receiver.round.is_none() && receiver.is_idle(now) {
        receiver.round = newest.filter(|newest| receiver.complete() != Some(*newest)).cloned();
    }
    let Some(tag) = receiver.round.clone() else { return vec![] };
    let (mut todo, mut open, mut stuck) = (vec![], 0, false);
    for volume in &duty.volumes {
        let copy = receiver.copies.get_mut(&volume.id).filter(|copy| !copy.is_out(now));
        let Some(copy) = copy else { continue };
        let all = here.get(&volume.id).and_then(|here| here.points.as_deref()).unwrap_or_default();
        let Some(to) = all.iter().find(|p| p.tag == tag) else {
            stuck = true;
            continue;
        };
        let Some(there) = copy.points.as_deref().filter(|_| !copy.busy) else {
            open += 1;
            continue;
        };
        let base = match path(all, there, to) {
            Ok(Path::Here) => continue,
            Ok(_) if copy.is_quarantined(to) => {
                stuck = true;
                continue;
            }
            Ok(Path::Increment(base)) => Some(base),
            Ok(Path::Everything) => None,
            Err(conflict) => {
                // Nothing is sent, but an operator may set it right.
                copy.pause = Pause { until: now + PAUSE.1, ..Pause::default() };
                copy.conflict = Some(conflict);
                copy.forget(None);
                continue;
            }
        };
        open += 1;
        (copy.busy, copy.sending) = (true, Some(to.guid.clone()));
        let (receiver, to) = (node.clone(), to.clone());
        todo.push(What::Send { volume: volume.clone(), receiver, base, to });
    }
    if open == 0 || stuck {
        // It has all of it, or what is missing cannot be sent: the next snapshot is looked at then.
        receiver.round = None;
    }
    todo
}

/// Which of the intervals of this length it is, counted since 1970.
fn beat(now: Timestamp, every: Duration) -> u64 {
    now.0 / u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The newest snapshot for replicas that is in every list; none where one is not known.
fn newest_of_all<'a>(lists: impl Iterator<Item = Option<&'a [Point]>>) -> Option<&'a SnapshotTag> {
    let lists: Vec<&[Point]> = lists.collect::<Option<_>>()?;
    let (first, rest) = lists.split_first()?;
    let everywhere = |tag: &SnapshotTag| rest.iter().all(|l| l.iter().any(|p| p.tag == *tag));
    first.iter().rev().map(|p| &p.tag).find(|tag| is_ours(tag) && everywhere(tag))
}

fn is_ours(tag: &SnapshotTag) -> bool {
    tag.as_str().starts_with(PREFIX)
}

/// When a snapshot for replicas was taken, by the clock of the node that took it.
fn taken_at(tag: &SnapshotTag) -> Option<Timestamp> {
    tag.as_str().strip_prefix(PREFIX)?.parse().ok().map(Timestamp)
}
