//! What goes through a message comes back as it was.

use std::{net::SocketAddr, time::Duration};

use flocker_model::{
    AppName, AppRecord, AppState, ByteSize, Capacity, Compression, CpuMillis, Epoch, Guid,
    MoveReport, Node, NodeName, NodeStats, Operation, OperationId, OperationKind, OperationState,
    Phase, PhaseReport, Point, Purpose, RateWindow, Rates, RecordSize, Replica, Replication, Role,
    Round, SecretName, Snapshot, SnapshotTag, StreamKey, Timestamp, Transfer, Volume, VolumeId,
    VolumeName, VolumeOptions, VolumeState,
};
use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    sample::select,
};
use prost::Message;

use super::{Malformed, each, required};
use crate::v1;

/// Through bytes, not only through the struct.
fn there_and_back<'a, T, M>(value: &'a T) -> T
where
    T: TryFrom<M>,
    T::Error: std::fmt::Debug,
    M: From<&'a T> + Message + Default,
{
    let bytes = M::from(value).encode_to_vec();
    M::decode(bytes.as_slice()).unwrap().try_into().unwrap()
}

fn name<T: std::str::FromStr<Err = flocker_model::InvalidName> + std::fmt::Debug>()
-> impl Strategy<Value = T> {
    "[a-z0-9][a-z0-9-]{0,20}".prop_map(|text| text.parse().unwrap())
}

fn address() -> impl Strategy<Value = SocketAddr> {
    any::<SocketAddr>()
        .prop_filter("a zone and a flow are of one machine and do not travel as text", |a| {
            a.to_string().parse() == Ok(*a)
        })
}

fn size() -> impl Strategy<Value = ByteSize> {
    any::<u64>().prop_map(ByteSize)
}

fn moment() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u64>().prop_map(Epoch)
}

fn guid() -> impl Strategy<Value = Guid> {
    ".{0,20}".prop_map(Guid)
}

fn span() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

fn capacity() -> impl Strategy<Value = Capacity> {
    (size(), size()).prop_map(|(total, free)| Capacity { total, free })
}

prop_compose! {
    fn node()(
        name in name::<NodeName>(), api in address(), mesh in address(), replication in address(),
        labels in btree_map(".{0,8}", ".{0,8}", 0..4), configured in btree_set(".{0,8}", 0..4), draining: bool,
        identity in ".{0,20}", stream_key in option::of(any::<[u8; 32]>().prop_map(StreamKey)),
    ) -> Node {
        Node { name, api, mesh, replication, labels, configured, draining, identity, stream_key }
    }
}

prop_compose! {
    fn stats()(
        memory in capacity(), cpu: u32, pool in capacity(), streams in ".{0,20}", load_millis: u32, at in moment(),
    ) -> NodeStats {
        NodeStats { memory, cpu: CpuMillis(cpu), pool, streams, load_millis, at }
    }
}

prop_compose! {
    fn app()(
        name in name::<AppName>(), manifest in ".{0,200}", owner in option::of(name::<NodeName>()), epoch in epoch(),
        state in select(vec![AppState::Deployed, AppState::Removing]), operation in option::of(name::<OperationId>()),
        placed in moment(),
    ) -> AppRecord {
        AppRecord { name, manifest, owner, epoch, state, operation, placed }
    }
}

prop_compose! {
    fn replica()(
        node in name::<NodeName>(), tag in name::<SnapshotTag>(), guid in guid(), taken in option::of(moment()),
    ) -> Replica {
        Replica { node, tag, guid, taken }
    }
}

prop_compose! {
    fn volume()(
        id in name::<VolumeId>(), name in name::<VolumeName>(), app in option::of(name::<AppName>()),
        owner in option::of(name::<NodeName>()), epoch in epoch(), options in options(),
        ownership in option::of(any::<(u32, u32)>()), replicas in vec(replica(), 0..4),
        replication in option::of(replication()),
    ) -> Volume {
        Volume { id, name, app, owner, epoch, options, ownership, replicas, replication }
    }
}

prop_compose! {
    fn options()(
        size in size(), record_shift in option::of(12..=20_u32),
        compression in option::of(select(vec![Compression::Off, Compression::Lz4, Compression::Zstd])),
        reserved: bool, secret in option::of(name::<SecretName>()),
    ) -> VolumeOptions {
        let record_size = record_shift.map(|shift| RecordSize::new(ByteSize(1 << shift)).unwrap());
        VolumeOptions { size, record_size, compression, reserved, secret }
    }
}

prop_compose! {
    fn replication()(
        named in btree_set(name::<NodeName>(), 0..3), copies in any::<u32>(),
        chosen in btree_set(name::<NodeName>(), 0..3), every in any::<u32>(), otherwise in option::of(size()),
    ) -> Replication {
        let otherwise = otherwise.filter(|rate| rate.0 > 0);
        let window = RateWindow { from: 1320, until: 360, rate: otherwise };
        let rates = Rates { otherwise, windows: vec![window] };
        Replication { named, copies, chosen, every: Duration::from_millis(every.into()), rates }
    }
}

prop_compose! {
    fn snapshot()(tag in name::<SnapshotTag>(), guid in guid(), taken in moment(), referenced in size()) -> Snapshot {
        Snapshot { point: Point { tag, guid }, taken, referenced }
    }
}

prop_compose! {
    fn volume_state()(
        id in name::<VolumeId>(), role in select(vec![Role::Live, Role::Sealed, Role::Replica]), epoch in epoch(),
        size in size(), used in size(),
    ) -> VolumeState {
        VolumeState { id, role, epoch, size, used }
    }
}

fn kind() -> impl Strategy<Value = OperationKind> {
    prop_oneof![
        (name(), vec(name(), 0..3))
            .prop_map(|(target, tried)| OperationKind::Deploy { target, tried }),
        (name(), ".{0,100}").prop_map(|(node, manifest)| OperationKind::Update { node, manifest }),
        (name(), name(), epoch()).prop_map(|(source, target, epoch)| OperationKind::Move {
            source,
            target,
            epoch
        }),
        (option::of(name()), any::<bool>())
            .prop_map(|(node, volumes)| OperationKind::Remove { node, volumes }),
    ]
}

fn state() -> impl Strategy<Value = OperationState> {
    prop_oneof![
        Just(OperationState::Running),
        ".{0,40}".prop_map(|reason| OperationState::Waiting { reason }),
        Just(OperationState::Done),
        ".{0,40}".prop_map(|reason| OperationState::Aborted { reason }),
        ".{0,40}".prop_map(|reason| OperationState::Failed { reason }),
    ]
}

fn phase() -> impl Strategy<Value = Phase> {
    select(Phase::ALL.to_vec())
}

prop_compose! {
    fn round()(tag in name::<SnapshotTag>(), bytes in size(), resumed in size(), took in span()) -> Round {
        Round { tag, transfer: Transfer { bytes, resumed, took } }
    }
}

prop_compose! {
    fn report()(
        phases in vec((phase(), span(), any::<bool>(), option::of(".{0,40}")), 0..6), rounds in vec(round(), 0..4),
        blackout in option::of(span()),
    ) -> MoveReport {
        let phases = phases.into_iter();
        let phases = phases.map(|(phase, took, undo, trouble)| PhaseReport { phase, took, undo, trouble }).collect();
        MoveReport { phases, rounds, blackout }
    }
}

prop_compose! {
    fn operation()(
        id in name::<OperationId>(), app in name::<AppName>(), kind in kind(),
        purpose in select(vec![Purpose::Operator, Purpose::Create, Purpose::Drain, Purpose::Rebalance]),
        state in state(), phase in phase(), undoing in option::of(".{0,40}"), trouble in option::of(".{0,40}"), started in moment(),
        finished in option::of(moment()), parked in option::of(moment()), report in report(),
    ) -> Operation {
        Operation { id, app, kind, purpose, state, phase, undoing, trouble, started, finished, parked, report }
    }
}

proptest! {
    #[test]
    fn nodes_survive(node in node(), stats in stats()) {
        prop_assert_eq!(there_and_back::<Node, v1::Node>(&node), node);
        prop_assert_eq!(there_and_back::<NodeStats, v1::NodeStats>(&stats), stats);
    }

    #[test]
    fn apps_survive(app in app()) {
        prop_assert_eq!(there_and_back::<AppRecord, v1::AppRecord>(&app), app);
    }

    #[test]
    fn volumes_survive(volume in volume(), snapshot in snapshot(), state in volume_state()) {
        prop_assert_eq!(there_and_back::<Volume, v1::Volume>(&volume), volume);
        prop_assert_eq!(there_and_back::<Snapshot, v1::Snapshot>(&snapshot), snapshot);
        prop_assert_eq!(there_and_back::<VolumeState, v1::VolumeState>(&state), state);
    }

    #[test]
    fn operations_survive(operation in operation()) {
        prop_assert_eq!(there_and_back::<Operation, v1::Operation>(&operation), operation);
    }
}

#[test]
fn a_message_that_says_nothing_is_refused_by_field() {
    let refused =
        AppRecord::try_from(v1::AppRecord { name: "shop".to_owned(), ..Default::default() });
    assert_eq!(refused, Err(Malformed::missing("state")));

    let refused =
        Node::try_from(v1::Node { name: "../n".to_owned(), ..Default::default() }).unwrap_err();
    assert!(
        refused.to_string().starts_with("the field `name` of a message is not valid"),
        "{refused}"
    );

    assert_eq!(required::<v1::Point, Point>("to", None), Err(Malformed::missing("to")));
    assert!(each::<_, Point>(vec![v1::Point::default()]).is_err());
}
