//! How a receiver comes to hold a snapshot: from what both sides hold, by GUID. Names may lie.

use std::fmt;

use flocker_model::Point;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    /// Nothing: the receiver holds it, or something newer of ours.
    Here,
    /// What changed since this snapshot, the newest that the receiver holds.
    Increment(Point),
    /// All of it: the receiver holds nothing.
    Everything,
}

/// Why nothing may be sent: the receiver's newest snapshot is none of the sender's. Either copy may hold what the other
/// lacks, and sending on would destroy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conflict {
    /// The newest snapshot that the receiver holds.
    pub(super) there: Point,
    /// The newest that the sender holds.
    pub(super) here: Option<Point>,
    /// The newest that both hold.
    pub(super) common: Option<Point>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { there, here, common } = self;
        write!(
            f,
            "the replica has diverged: its newest snapshot `{}` ({}) is unknown here",
            there.tag, there.guid
        )?;
        if let Some(here) = here {
            write!(f, ", where the newest is `{}` ({})", here.tag, here.guid)?;
        }
        match common {
            Some(common) => write!(f, "; the newest that both hold is `{}`", common.tag),
            None => write!(f, "; they have none in common"),
        }
    }
}

/// The way from what the receiver holds to `to`. Both lists are oldest first; what the sender can send increments from
/// without holding it any more stands at the beginning of its list.
///
/// # Errors
/// [`Conflict`] when the receiver's newest snapshot is none of the sender's.
pub(super) fn path(here: &[Point], there: &[Point], to: &Point) -> Result<Path, Box<Conflict>> {
    let place = |point: &Point| here.iter().position(|held| held.guid == point.guid);
    let Some(newest) = there.last() else { return Ok(Path::Everything) };
    if there.iter().any(|held| held.guid == to.guid) {
        return Ok(Path::Here);
    }
    match place(newest) {
        Some(held) if place(to).is_some_and(|goal| goal < held) => Ok(Path::Here),
        Some(_) => Ok(Path::Increment(newest.clone())),
        None => Err(Box::new(Conflict {
            there: newest.clone(),
            here: here.last().cloned(),
            common: there.iter().rev().find(|point| place(point).is_some()).cloned(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use flocker_model::{Guid, SnapshotTag};
    use proptest::prelude::*;

    use super::*;

    fn point(number: u32) -> Point {
        Point {
            tag: SnapshotTag::new(format!("s{number}")).unwrap(),
            guid: Guid(format!("g{number}")),
        }
    }

    fn points(numbers: &[u32]) -> Vec<Point> {
        numbers.iter().copied().map(point).collect()
    }

    #[test]
    fn names_prove_nothing() {
        let mut there = points(&[1]);
        there[0].guid = Guid("other".to_owned());

        let conflict = path(&points(&[1, 2]), &there, &point(2)).unwrap_err();

        assert_eq!((conflict.there, conflict.common), (there[0].clone(), None));
    }

    #[test]
    fn a_receiver_that_is_ahead_is_sent_nothing() {
        assert_eq!(path(&points(&[1, 2, 3]), &points(&[1, 3]), &point(2)), Ok(Path::Here));
    }

    #[test]
    fn a_conflict_carries_its_evidence() {
        let conflict = path(&points(&[1, 2, 4]), &points(&[1, 3]), &point(4)).unwrap_err();

        let text = conflict.to_string();
        for part in ["`s3` (g3)", "`s4` (g4)", "both hold is `s1`"] {
            assert!(text.contains(part), "{text}");
        }
    }

    proptest! {
        /// Whatever is held where: an increment starts at what the receiver has at last, and the sender can send it.
        #[test]
        fn an_increment_fits_onto_what_is_there(
            here in proptest::sample::subsequence((0..12).collect::<Vec<u32>>(), 1..12),
            there in proptest::sample::subsequence((0..12).collect::<Vec<u32>>(), 0..12),
        ) {
            let (here, there) = (points(&here), points(&there));
            let to = here.last().unwrap();
            match path(&here, &there, to) {
                Ok(Path::Here) => prop_assert!(there.contains(to)),
                Ok(Path::Increment(base)) => {
                    prop_assert_eq!(Some(&base), there.last());
                    prop_assert!(here.contains(&base) && base != *to);
                }
                Ok(Path::Everything) => prop_assert!(there.is_empty()),
                Err(conflict) => {
                    prop_assert_eq!(Some(&conflict.there), there.last());
                    prop_assert!(!here.contains(&conflict.there));
                    prop_assert_eq!(
                        conflict.common.as_ref(),
                        there.iter().rev().find(|p| here.contains(p))
                    );
                }
            }
        }
    }
}
