//! Tells what is decided anew from what is decided over and over: an app that fits nowhere is the same question every
//! second.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    time::Duration,
};

use flocker_model::Timestamp;

/// What is said again after so long is worth noting down again: the cluster is another one by then, and a build that
/// answers otherwise in it should be found out.
const STALE: Duration = Duration::from_mins(1);

/// Subjects that are remembered. A cluster asks about fewer; beyond it, some are taken for new.
const SUBJECTS_MAX: usize = 10_000;

/// What was said last about each subject, and when that was noted down. Digests are enough: they never leave this process.
#[derive(Debug, Default)]
pub(crate) struct Repeats(HashMap<u64, (u64, Timestamp)>);

impl Repeats {
    /// Whether this is something else than was said last about the same, or the same after a long time.
    pub(crate) fn is_news(
        &mut self,
        subject: &impl Hash,
        said: &impl Hash,
        now: Timestamp,
    ) -> bool {
        let (subject, said) = (digest(subject), digest(said));
        let repeated = |(last, at): &(u64, Timestamp)| *last == said && now.since(*at) < STALE;
        if self.0.get(&subject).is_some_and(repeated) {
            return false;
        }
        if self.0.len() >= SUBJECTS_MAX {
            self.0.clear();
        }
        self.0.insert(subject, (said, now));
        true
    }
}

fn digest(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_about_the_same_is_no_news_until_it_is_long_ago() {
        let mut repeats = Repeats::default();
        let mut is_news = |subject, said, at| repeats.is_news(&subject, &said, Timestamp(at));
        assert!(is_news("shop", "b", 0));
        assert!(is_news("wiki", "b", 0));
        assert!(!is_news("shop", "b", 1000));
        assert!(is_news("shop", "c", 2000));
        assert!(is_news("shop", "b", 3000));
        assert!(!is_news("shop", "b", 62_999));
        assert!(is_news("shop", "b", 63_000));
    }
}
