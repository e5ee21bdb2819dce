//! The keeper in a pretend world of two receivers, with every fault that a network and two processes have: answers that
//! are lost, streams that are cut, parties that are killed, snapshots that are removed by hand. Ten thousand of them, each
//! drawn from its number: `FLOCKER_SEED=…` runs one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use flocker_model::{
    AppName, ByteSize, Epoch, Guid, NodeName, Point, Rates, Replication, Timestamp, Volume,
    VolumeId, VolumeName,
};

use super::{Command, Event, Failure, GroupId, Keeper, News, PREFIX, What, duties};

/// Bytes that arrive together or not at all.
const CHUNK: u64 = 10;

/// Interleavings that are tried, in so many tests beside each other.
const INTERLEAVINGS: u64 = 10_000;
const TESTS: u64 = 4;

/// What happens in each.
const EVENTS: usize = 120;

/// A small generator: `SplitMix64`, <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// A snapshot, and how many bytes had been written when it was taken: deltas are differences of these.
#[derive(Debug, Clone)]
struct Taken {
    point: Point,
    written: u64,
}

/// One copy of one volume.
#[derive(Debug, Clone, Default)]
struct Replica {
    snapshots: Vec<Taken>,
    /// What arrived of a stream that was cut.
    partial: Option<(Guid, u64)>,
    /// It held something once: nothing may be sent from the beginning again.
    seeded: bool,
    /// What crossed the network, and what had to.
    sent: u64,
    needed: u64,
    /// What cuts, and streams that a dead sender began, may cost.
    allowed: u64,
}

struct World {
    random: Random,
    now: Timestamp,
    volumes: Vec<Volume>,
    written: BTreeMap<VolumeId, u64>,
    here: BTreeMap<VolumeId, Vec<Taken>>,
    there: BTreeMap<(NodeName, VolumeId), Replica>,
    away: BTreeSet<NodeName>,
    keeper: Keeper,
    pending: Vec<Command>,
    guids: u64,
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn volume(name: &str, app: Option<&str>) -> Volume {
    let replication = Replication {
        named: BTreeSet::from([node("n2"), node("n3")]),
        copies: 0,
        chosen: BTreeSet::new(),
        every: Duration::from_secs(10),
        rates: Rates::default(),
    };
    Volume {
        id: VolumeId::new(name).unwrap(),
        name: VolumeName::new(name).unwrap(),
        app: app.map(|app| AppName::new(app).unwrap()),
        owner: Some(node("n1")),
        epoch: Epoch(1),
        options: ByteSize(1000).into(),
        ownership: None,
        replicas: vec![],
        replication: Some(replication),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let volumes = vec![volume("a", Some("app")), volume("b", Some("app")), volume("c", None)];
        let mut world = Self {
            random: Random(seed),
            now: Timestamp(1_000_000),
            written: volumes.iter().map(|v| (v.id.clone(), 100)).collect(),
            here: volumes.iter().map(|v| (v.id.clone(), vec![])).collect(),
            there: BTreeMap::new(),
            away: BTreeSet::new(),
            keeper: Keeper::default(),
            pending: vec![],
            guids: 0,
            volumes,
        };
        world.restart();
        world
    }

    /// The sender dies with all that it knew.
    fn restart(&mut self) {
        self.keeper = Keeper::default();
        self.keeper.set_duties(duties(&node("n1"), &self.volumes, |_| false));
        for command in std::mem::take(&mut self.pending) {
            // What was on its way may have its effect nevertheless.
            if self.random.one_in(2) {
                self.effect(&command.what);
            }
        }
        for replica in self.there.values_mut() {
            // Its successor may send a newer snapshot instead of the rest of this one.
            replica.allowed += replica.partial.as_ref().map_or(0, |(_, bytes)| *bytes);
        }
    }

    fn replica(&mut self, receiver: &NodeName, volume: &VolumeId) -> &mut Replica {
        self.there.entry((receiver.clone(), volume.clone())).or_default()
    }

    /// Does what a command says, and says what came of it.
    fn effect(&mut self, what: &What) -> News {
        match what {
            What::List { volume } => {
                let points = self.here[&volume.id].iter().map(|t| t.point.clone()).collect();
                News::Listed { volume: volume.id.clone(), points: Ok(points) }
            }
            What::Take { volumes, tag, unless_idle_since } => {
                let changed = |v: &Volume| {
                    self.here[&v.id].last().is_none_or(|t| t.written != self.written[&v.id])
                };
                if unless_idle_since.is_some() && !volumes.iter().any(|v| changed(v)) {
                    return News::Taken { points: Ok(None) };
                }
                let mut points = vec![];
                for volume in volumes {
                    self.guids += 1;
                    let guid = Guid(format!("g{}", self.guids));
                    let point = Point { tag: tag.clone(), guid };
                    let written = self.written[&volume.id];
                    let here = self.here.get_mut(&volume.id).unwrap();
                    // One by this name is answered again.
                    let known = here.iter().find(|t| t.point.tag == *tag).cloned();
                    let taken = known.unwrap_or_else(|| {
                        here.push(Taken { point: point.clone(), written });
                        Taken { point, written }
                    });
                    points.push((volume.id.clone(), taken.point));
                }
                News::Taken { points: Ok(Some(points)) }
            }
            What::Ask { volume, receiver } => {
                let replica = self.replica(receiver, &volume.id);
                let points = replica.snapshots.iter().map(|t| t.point.clone()).collect();
                let (volume, receiver) = (volume.id.clone(), receiver.clone());
                News::Held { volume, receiver, points: Ok(points) }
            }
            What::Send { volume, receiver, base, to } => {
                let result = self.send(&volume.id, receiver, base.as_ref(), to);
                let (volume, receiver) = (volume.id.clone(), receiver.clone());
                News::Sent { volume, receiver, to: to.clone(), result }
            }
            What::Remove { volume, on, which } => {
                let gone = |t: &Taken| which.iter().any(|p| p.guid == t.point.guid);
                match on {
                    None => self.here.get_mut(&volume.id).unwrap().retain(|t| !gone(t)),
                    Some(node) => self.replica(node, &volume.id).snapshots.retain(|t| !gone(t)),
                }
                let (volume, on) = (volume.id.clone(), on.clone());
                News::Removed { volume, on, which: which.clone(), result: Ok(()) }
            }
        }
    }

    /// A stream, as a strict storage takes it: onto the newest snapshot that is there, or onto nothing.
    fn send(
        &mut self,
        volume: &VolumeId,
        receiver: &NodeName,
        base: Option<&Point>,
        to: &Point,
    ) -> Result<(), Failure> {
        let find =
            |point: &Point| self.here[volume].iter().find(|t| t.point.guid == point.guid).cloned();
        let gone = || Failure::Here("it is gone".to_owned());
        let goal = find(to).ok_or_else(gone)?;
        let from = base.map(|base| find(base).ok_or_else(gone)).transpose()?;
        let cut = self.random.one_in(4);
        let part = self.random.next();
        let replica = self.replica(receiver, volume);
        if replica.snapshots.iter().any(|t| t.point.guid == to.guid) {
            return Ok(());
        }
        assert!(
            base.is_some() || !replica.seeded,
            "{volume} is sent to {receiver} from the beginning again"
        );
        let newest = replica.snapshots.last().map(|t| &t.point.guid);
        assert_eq!(newest, base.map(|b| &b.guid), "it does not fit onto what {receiver} holds");
        let delta = goal.written - from.map_or(0, |t| t.written);
        let kept = replica.partial.take().filter(|(guid, _)| *guid == to.guid);
        let held = kept.map_or(0, |(_, bytes)| bytes);
        if cut {
            let arrived = part % (delta - held + 1);
            // What did not fill a chunk is lost.
            let whole = (held + arrived) / CHUNK * CHUNK;
            replica.sent += arrived;
            replica.allowed += CHUNK;
            replica.partial = Some((to.guid.clone(), whole.max(held)));
            return Err(Failure::Away("the stream was cut".to_owned()));
        }
        replica.sent += delta - held;
        replica.needed += delta;
        replica.seeded = true;
        replica.snapshots.push(goal);
        Ok(())
    }

    /// One thing happens.
    fn step(&mut self, faults: bool) {
        self.now = self.now + Duration::from_millis(1 + self.random.next() % 6000);
        for volume in &self.volumes {
            if self.random.one_in(3) {
                *self.written.get_mut(&volume.id).unwrap() += self.random.next() % 50;
            }
        }
        if faults {
            self.fault();
        }
        let commands = self.keeper.next(self.now);
        self.pending.extend(commands);
        // In any order, some later than others.
        for _ in 0..self.random.below(self.pending.len() + 1) {
            let command = self.pending.swap_remove(self.random.below(self.pending.len()));
            self.carry_out(command, faults);
        }
    }

    fn carry_out(&mut self, command: Command, faults: bool) {
        let Command { group, what } = command;
        let receiver = receiver_of(&what);
        let unreachable = receiver.is_some_and(|node| self.away.contains(node));
        let news = if unreachable || (faults && self.random.one_in(10)) {
            what.unanswered("no answer came")
        } else {
            let news = self.effect(&what);
            // The answer may be lost.
            if faults && self.random.one_in(10) { what.unanswered("no answer came") } else { news }
        };
        self.keeper.handle(self.now, Event { group, news });
    }

    fn fault(&mut self) {
        let somebody = node(if self.random.one_in(2) { "n2" } else { "n3" });
        match self.random.below(40) {
            0 => self.restart(),
            1 | 2 => drop(self.away.insert(somebody)),
            3..=5 => drop(self.away.remove(&somebody)),
            // An operator's own snapshots come and go.
            6 => self.foreign(),
            _ => {}
        }
    }

    fn foreign(&mut self) {
        self.guids += 1;
        let id = self.volumes[self.random.below(self.volumes.len())].id.clone();
        let tag = flocker_model::SnapshotTag::new(format!("manual-{}", self.guids)).unwrap();
        let point = Point { tag, guid: Guid(format!("g{}", self.guids)) };
        let written = self.written[&id];
        let here = self.here.get_mut(&id).unwrap();
        here.push(Taken { point, written });
        if self.random.one_in(2) {
            here.retain(|t| t.point.tag.as_str().starts_with(PREFIX));
        }
    }

    /// Everything calms down; then every replica is up to date, and little is kept.
    fn settle(&mut self, seed: u64) {
        self.away.clear();
        for _ in 0..30 {
            self.step(false);
            while let Some(command) = self.pending.pop() {
                self.carry_out(command, false);
            }
        }
        let last: Vec<_> = self.written.clone().into_iter().collect();
        for _ in 0..30 {
            self.now = self.now + Duration::from_secs(10);
            let commands = self.keeper.next(self.now);
            self.pending.extend(commands);
            while let Some(command) = self.pending.pop() {
                self.carry_out(command, false);
            }
        }
        for (id, written) in last {
            for receiver in [node("n2"), node("n3")] {
                let replica = self.replica(&receiver, &id);
                let held = replica.snapshots.last().map(|t| t.written);
                assert_eq!(
                    held,
                    Some(written),
                    "seed {seed}: {id} on {receiver}: {:#?}",
                    self.keeper
                );
                let most = replica.needed + replica.allowed;
                assert!(replica.sent <= most, "seed {seed}: {replica:?}");
                assert!(replica.snapshots.len() <= 5, "seed {seed}: {replica:?}");
            }
            let ours = |t: &&Taken| t.point.tag.as_str().starts_with(PREFIX);
            let kept = self.here[&id].iter().filter(ours).count();
            // Besides the newest, what the receivers did not give up yet for a lack of removals.
            assert!(kept <= 8, "seed {seed}: {kept} snapshots of {id}: {:#?}", self.keeper);
        }
        let troubles: Vec<_> =
            self.keeper.standings().into_iter().filter_map(|s| s.trouble).collect();
        assert_eq!(troubles, Vec::<String>::new(), "seed {seed}");
    }
}

fn receiver_of(what: &What) -> Option<&NodeName> {
    match what {
        What::Ask { receiver, .. } | What::Send { receiver, .. } => Some(receiver),
        What::Remove { on, .. } => on.as_ref(),
        What::List { .. } | What::Take { .. } => None,
    }
}

fn interleave(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..EVENTS {
        world.step(true);
    }
    world.settle(seed);
}

/// One part of them all.
fn interleave_part(part: u64) {
    if let Ok(seed) = std::env::var("FLOCKER_SEED") {
        return interleave(seed.parse().unwrap());
    }
    (0..INTERLEAVINGS).filter(|seed| seed % TESTS == part).for_each(interleave);
}

#[test]
fn the_common_base_survives_and_nothing_is_sent_twice_1() {
    interleave_part(0);
}

#[test]
fn the_common_base_survives_and_nothing_is_sent_twice_2() {
    interleave_part(1);
}

#[test]
fn the_common_base_survives_and_nothing_is_sent_twice_3() {
    interleave_part(2);
}

#[test]
fn the_common_base_survives_and_nothing_is_sent_twice_4() {
    interleave_part(3);
}

#[test]
fn a_clock_that_is_set_back_holds_nothing_up() {
    let mut world = World::new(7);
    for _ in 0..EVENTS {
        world.step(true);
    }
    world.now = Timestamp(world.now.0 - 900_000);
    world.settle(7);
}

#[test]
fn a_snapshot_of_the_future_says_nothing_about_what_was_written() {
    let (mut keeper, now) = (Keeper::default(), Timestamp(5_000));
    let lone = volume("c", None);
    keeper.set_duties(duties(&node("n1"), [&lone], |_| false));
    let guid = Guid("g1".to_owned());
    let future = Point { tag: format!("{PREFIX}9000").parse().unwrap(), guid };
    for Command { group, what } in keeper.next(now) {
        let volume = lone.id.clone();
        let points = vec![future.clone()];
        let news = match what {
            What::Ask { receiver, .. } => News::Held { volume, receiver, points: Ok(points) },
            What::List { .. } | What::Take { .. } | What::Send { .. } | What::Remove { .. } => {
                News::Listed { volume, points: Ok(points) }
            }
        };
        keeper.handle(now, Event { group, news });
    }

    let next = keeper.next(now);

    let Some(What::Take { unless_idle_since, .. }) = next.first().map(|c| &c.what) else {
        panic!("{next:?}")
    };
    assert_eq!(*unless_idle_since, None);
}

#[test]
fn a_group_that_changed_begins_anew_and_hears_nothing_of_before() {
    let mut keeper = Keeper::default();
    let first = volume("a", None);
    keeper.set_duties(duties(&node("n1"), [&first], |_| false));
    let before: GroupId = keeper.next(Timestamp(1)).remove(0).group;
    assert!(keeper.knows(&before));

    let moved = Volume { epoch: Epoch(2), ..first };
    keeper.set_duties(duties(&node("n1"), [&moved], |_| false));

    assert!(!keeper.knows(&before));
    let late = News::Listed { volume: moved.id.clone(), points: Ok(vec![]) };
    keeper.handle(Timestamp(2), Event { group: before, news: late });
    let asked = keeper.next(Timestamp(2));
    assert!(asked.iter().any(|c| matches!(c.what, What::List { .. })), "{asked:?}");
}

#[test]
fn an_app_that_an_operation_works_with_is_left_alone() {
    let all = [volume("a", Some("app")), volume("c", None)];

    let left = duties(&node("n1"), &all, |app| app.as_str() == "app");

    assert_eq!(left.len(), 1);
    assert_eq!(left[0].volumes[0].name.as_str(), "c");
    assert_eq!(duties(&node("n2"), &all, |_| false), []);
}
