//! What a dataset says about itself, read from the pool's answer. Pure.

use flocker_model::{
    ByteSize, Compression, Epoch, Guid, Point, RecordSize, Role, SecretName, Snapshot, SnapshotTag,
    Timestamp, VolumeOptions,
};
use flocker_zfs_wire::{Map, Value};

/// Our snapshots' names begin with it; others are other people's.
pub(crate) const MARK: &str = "flocker-";
/// What begins the names of snapshots of ours that were removed, and that clones stand on: nobody's but theirs.
pub(crate) const HIDDEN: &str = "flocker.";

/// What a dataset should be, as its property says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// It is being made; nobody was told of it.
    Making,
    /// It has this role.
    Role(Role),
    /// It is being removed.
    Gone,
}

impl Want {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Making => "making",
            Self::Role(Role::Live) => "live",
            Self::Role(Role::Sealed) => "sealed",
            Self::Role(Role::Replica) => "replica",
            Self::Gone => "gone",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [
            Self::Making,
            Self::Role(Role::Live),
            Self::Role(Role::Sealed),
            Self::Role(Role::Replica),
            Self::Gone,
        ]
        .into_iter()
        .find(|want| want.as_str() == text)
    }
}

/// The three properties that say what a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) want: Want,
    pub(crate) epoch: Epoch,
    pub(crate) size: ByteSize,
}

impl Label {
    /// As properties, without the prefix.
    pub(crate) fn properties(&self) -> [(&'static str, String); 3] {
        [
            ("role", self.want.as_str().to_owned()),
            ("epoch", self.epoch.to_string()),
            ("size", self.size.0.to_string()),
        ]
    }

    /// From the properties' texts. `Ok(None)` where there is none of them: the dataset is not ours.
    pub(crate) fn parse(
        role: Option<&str>,
        epoch: Option<&str>,
        size: Option<&str>,
    ) -> Result<Option<Self>, String> {
        let Some(role) = role else {
            return match (epoch, size) {
                (None, None) => Ok(None),
                (Some(_), _) | (_, Some(_)) => Err("it has an epoch or a size, but no role".into()),
            };
        };
        let number = |name: &str, text: Option<&str>| {
            let text = text.ok_or_else(|| format!("it has no `io.flocker:{name}`"))?;
            text.parse::<u64>().map_err(|_| format!("its `io.flocker:{name}` is `{text}`"))
        };
        let want = Want::parse(role).ok_or_else(|| format!("its `io.flocker:role` is `{role}`"))?;
        let (epoch, size) = (Epoch(number("epoch", epoch)?), ByteSize(number("size", size)?));
        Ok(Some(Self { want, epoch, size }))
    }
}

/// All that is known of one volume's dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) label: Label,
    pub(crate) read_only: bool,
    /// Zero is none.
    pub(crate) quota: ByteSize,
    pub(crate) referenced: ByteSize,
    /// Zero is none.
    pub(crate) reservation: ByteSize,
    pub(crate) encrypted: bool,
    /// Whether the kernel knows the key that it is encrypted with.
    pub(crate) unlocked: bool,
    /// Whether it was made to have room of its own.
    pub(crate) reserved: bool,
    /// The secret that it was encrypted with by us.
    pub(crate) secret: Option<SecretName>,
    /// A way back to a snapshot on which it is, or of which it is what was left.
    pub(crate) rollback: Option<String>,
    /// In blocks of which size files are kept, where that was chosen.
    pub(crate) record_size: Option<RecordSize>,
    /// How files are compressed, where that was chosen.
    pub(crate) compression: Option<Compression>,
    pub(crate) unfinished: Option<Unfinished>,
    /// Ours, oldest first.
    pub(crate) snapshots: Vec<Snapshot>,
    /// Those of ours that clones stand on, or did when they were removed; oldest first.
    pub(crate) origins: Vec<Origin>,
    /// Full names of other people's.
    pub(crate) others: Vec<String>,
}

/// A snapshot that clones stand on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Its full name.
    pub(crate) name: String,
    pub(crate) guid: Guid,
    /// It was removed, as far as anybody but its clones can tell.
    pub(crate) hidden: bool,
    /// The datasets that stand on it, and whether each is a volume.
    pub(crate) clones: Vec<(String, bool)>,
}

/// What an unfinished receive left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// Beside the content of the dataset; else it is all that the dataset holds.
    pub(crate) beside: bool,
    /// How it may go on, where it may.
    pub(crate) token: Option<String>,
}

/// What is there under a volume's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Absent,
    /// A dataset that was not made by us; with a token, where it is a receive that has not ended.
    Foreign { token: Option<String> },
    /// A volume.
    Ours(Box<State>),
}

impl Origin {
    /// A volume that stands on it, where nothing else does.
    pub(crate) fn heir(&self) -> Option<&str> {
        let volumes_only = self.clones.iter().all(|(_, is_volume)| *is_volume);
        self.clones.first().filter(|_| volumes_only).map(|(name, _)| &**name)
    }
}

impl State {
    /// What another volume has to be made with to be like this one.
    pub(crate) fn options(&self) -> VolumeOptions {
        VolumeOptions {
            size: self.label.size,
            record_size: self.record_size,
            compression: self.compression,
            reserved: self.reserved,
            secret: self.secret.clone(),
        }
    }

    pub(crate) fn points(&self) -> impl DoubleEndedIterator<Item = &Point> {
        self.snapshots.iter().map(|snapshot| &snapshot.point)
    }

    /// The snapshot of this identity, whatever its name.
    pub(crate) fn by_guid(&self, guid: &Guid) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| &snapshot.point.guid == guid)
    }

    pub(crate) fn by_tag(&self, tag: &SnapshotTag) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| &snapshot.point.tag == tag)
    }
}

/// Reads the answer of `state.lua`.
pub(crate) fn read(answer: &Map) -> Result<Found, String> {
    if !answer.get("parent").is_some_and(Value::is_true) {
        return Err("the parent of all volumes is missing".to_owned());
    }
    if !answer.get("exists").is_some_and(Value::is_true) {
        return Ok(Found::Absent);
    }
    let text = |name: &str| answer.get(name).and_then(Value::text);
    let number = |name: &str| answer.get(name).and_then(Value::number);
    let size = |name: &str| ByteSize(number(name).unwrap_or_default());
    let token = text("token").map(str::to_owned);
    let Some(label) = Label::parse(text("role"), text("epoch"), text("size"))? else {
        return Ok(Found::Foreign { token });
    };
    let secret = text("secret").map(SecretName::new).transpose();
    let secret = secret.map_err(|error| format!("its `io.flocker:secret`: {error}"))?;
    let beside = answer.contains_key("incoming");
    let unfinished = (beside || token.is_some()).then_some(Unfinished { beside, token });
    let others = answer.get("others").and_then(Value::list);
    Ok(Found::Ours(Box::new(State {
        label,
        read_only: text("readonly") == Some("on"),
        quota: size("refquota"),
        referenced: size("referenced"),
        reservation: size("refreservation"),
        encrypted: text("encryption").is_some_and(|how| how != "off"),
        unlocked: text("keystatus") == Some("available"),
        reserved: text("reserved").is_some(),
        secret,
        rollback: text("way").map(str::to_owned),
        record_size: number("recordsize").and_then(|size| RecordSize::new(ByteSize(size)).ok()),
        compression: text("compression").and_then(|how| how.parse().ok()),
        unfinished,
        snapshots: answer.get("snapshots").and_then(Value::list).map(snapshots).unwrap_or_default(),
        origins: answer.get("origins").and_then(Value::list).map(origins).unwrap_or_default(),
        others: others.map(|others| others.keys().cloned().collect()).unwrap_or_default(),
    })))
}

/// Ours, oldest first: transaction groups grow, so neither clocks nor names matter.
fn snapshots(listed: &Map) -> Vec<Snapshot> {
    let mut found: Vec<(u64, Snapshot)> = listed
        .iter()
        .filter_map(|(tag, values)| {
            snapshot_of_values(&SnapshotTag::new(tag).ok()?, values.list()?)
        })
        .collect();
    found.sort_by_key(|(created, _)| *created);
    found.into_iter().map(|(_, snapshot)| snapshot).collect()
}

fn origins(listed: &Map) -> Vec<Origin> {
    let mut found: Vec<(u64, Origin)> = listed
        .iter()
        .filter_map(|(name, values)| {
            let values = values.list()?;
            let number = |name: &str| values.get(name).and_then(Value::number);
            let clones = values.get("clones").and_then(Value::list);
            let clones = clones.into_iter().flatten();
            let origin = Origin {
                name: name.clone(),
                guid: Guid(number("guid")?.to_string()),
                hidden: values.get("hidden").is_some_and(Value::is_true),
                clones: clones.map(|(name, ours)| (name.clone(), ours.is_true())).collect(),
            };
            Some((number("createtxg")?, origin))
        })
        .collect();
    found.sort_by_key(|(created, _)| *created);
    found.into_iter().map(|(_, origin)| origin).collect()
}

/// A snapshot as a program lists it, behind the transaction group in which it was made.
pub(crate) fn snapshot_of_values(tag: &SnapshotTag, values: &Map) -> Option<(u64, Snapshot)> {
    let number = |name: &str| values.get(name).and_then(Value::number);
    let point = Point { tag: tag.clone(), guid: Guid(number("guid")?.to_string()) };
    let taken = Timestamp(number("creation").unwrap_or_default().saturating_mul(1000));
    let referenced = ByteSize(number("referenced").unwrap_or_default());
    Some((number("createtxg")?, Snapshot { point, taken, referenced }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, Value)]) -> Map {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn snapshot(guid: i64, created: i64) -> Value {
        let pairs = [("guid", guid), ("createtxg", created), ("creation", 5), ("referenced", 7)];
        map(&pairs.map(|(name, number)| (name, Value::Signed(number)))).into()
    }

    fn volume() -> Map {
        map(&[
            ("parent", Value::Bool(true)),
            ("exists", Value::Bool(true)),
            ("role", "replica".into()),
            ("epoch", "3".into()),
            ("size", "1024".into()),
        ])
    }

    #[test]
    fn a_missing_parent_is_unknown_and_not_absent() {
        let answer = map(&[("parent", Value::Bool(false)), ("exists", Value::Bool(false))]);

        assert!(read(&answer).is_err());
    }

    #[test]
    fn a_dataset_without_our_properties_is_foreign() {
        let mut answer = volume();
        for name in ["role", "epoch", "size"] {
            answer.remove(name);
        }

        assert_eq!(read(&answer), Ok(Found::Foreign { token: None }));
    }

    #[test]
    fn a_damaged_property_is_an_error() {
        for (name, value) in [("role", "king"), ("epoch", "-1"), ("size", "")] {
            let mut answer = volume();
            answer.insert(name.to_owned(), value.into());
            assert!(read(&answer).unwrap_err().contains(name));
            answer.remove(name);
            assert!(read(&answer).is_err(), "{name} is missing");
        }
    }

    #[test]
    fn snapshots_come_as_they_were_made_and_large_identities_whole() {
        let mut answer = volume();
        let listed =
            map(&[("a", snapshot(-1, 20)), ("b", snapshot(5, 10)), ("No", snapshot(6, 1))]);
        answer.insert("snapshots".to_owned(), listed.into());

        let Ok(Found::Ours(state)) = read(&answer) else { panic!() };

        let names: Vec<_> =
            state.points().map(|point| (point.tag.as_str(), &*point.guid.0)).collect();
        assert_eq!(names, [("b", "5"), ("a", "18446744073709551615")]);
    }

    #[test]
    fn what_a_receive_left_is_beside_the_content_or_all_of_it() {
        let mut answer = volume();
        answer.insert("token".to_owned(), "1-a-b-c".into());
        let Ok(Found::Ours(state)) = read(&answer) else { panic!() };
        assert!(state.unfinished.is_some_and(|left| !left.beside));

        answer.insert("incoming".to_owned(), Value::Bool(true));
        answer.remove("token");
        let Ok(Found::Ours(state)) = read(&answer) else { panic!() };
        assert_eq!(state.unfinished, Some(Unfinished { beside: true, token: None }));
    }
}
