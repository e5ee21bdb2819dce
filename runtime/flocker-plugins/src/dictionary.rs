//! Texts and the numbers that stand for them: the same for all plugins of a host, so that a column of texts is looked up
//! once and not once per plugin.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// Different texts that are kept. Names and labels of a large cluster are a tenth of it; nothing that plugins make up
/// gets in here.
const TEXTS_MAX: usize = 1_000_000;

/// Grows only; 0 stands for no text.
#[derive(Debug, Default)]
pub(crate) struct Dictionary(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    texts: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, u32>,
    /// It was said that there is no room for more.
    full: bool,
}

impl Dictionary {
    /// The numbers of a column's texts. Texts beyond the limit have none, and are as if they were missing.
    pub(crate) fn intern<'a>(&self, texts: impl Iterator<Item = Option<&'a str>>) -> Vec<u32> {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        texts.map(|text| text.map_or(0, |text| inner.intern(text, TEXTS_MAX))).collect()
    }

    /// The number of a text that some column has shown.
    pub(crate) fn id(&self, text: &str) -> Option<u32> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).ids.get(text).copied()
    }

    /// The text of a number.
    pub(crate) fn text(&self, id: u32) -> Option<Arc<str>> {
        let position = usize::try_from(id).ok()?.checked_sub(1)?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).texts.get(position).cloned()
    }
}

impl Inner {
    fn intern(&mut self, text: &str, texts_max: usize) -> u32 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        if self.texts.len() >= texts_max {
            // Once: the log is not the place to count.
            if !std::mem::replace(&mut self.full, true) {
                tracing::warn!(
                    texts_max,
                    "policies see no more new names and labels: this node has shown them too many since it started\nhint: restart its daemon; apps go on running meanwhile"
                );
            }
            return 0;
        }
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        let id = u32::try_from(self.texts.len()).unwrap_or(0);
        self.ids.insert(text, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_number_and_nothing_has_number_zero() {
        let dictionary = Dictionary::default();
        let ids = dictionary.intern([Some("a"), None, Some("b"), Some("a")].into_iter());
        assert_eq!(ids, [1, 0, 2, 1]);
        assert_eq!(dictionary.id("b"), Some(2));
        assert_eq!((dictionary.id("c"), dictionary.text(0)), (None, None));
        assert_eq!(dictionary.text(2).as_deref(), Some("b"));
    }

    #[test]
    fn beyond_the_limit_a_text_is_missing_and_those_before_it_stay() {
        let mut inner = Inner::default();
        assert_eq!(["a", "b", "c", "a"].map(|text| inner.intern(text, 2)), [1, 2, 0, 1]);
        assert!(inner.full);
    }
}
