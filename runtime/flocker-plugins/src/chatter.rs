//! What plugins say: to the log, with their name, a limited number of lines per call and characters per line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Level;

/// The longest line that is kept.
const LINE_CHARS_MAX: usize = 400;

/// One plugin's way to the log. Clones write to the same budget.
#[derive(Debug, Clone)]
pub(crate) struct Chatter(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    plugin: String,
    lines_per_call: u32,
    lines_left: u32,
    suppressed: u64,
    last_words: Option<String>,
}

impl Chatter {
    pub(crate) fn new(plugin: &str, lines_per_call: u32) -> Self {
        let plugin = plugin.to_owned();
        Self(Arc::new(Mutex::new(Inner {
            plugin,
            lines_per_call,
            lines_left: lines_per_call,
            suppressed: 0,
            last_words: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new call: the budget is full again.
    pub(crate) fn call_starts(&self) {
        let mut inner = self.lock();
        inner.lines_left = inner.lines_per_call;
        inner.last_words = None;
    }

    /// The call is over: says how much was left out.
    pub(crate) fn call_ends(&self) {
        let mut inner = self.lock();
        if inner.suppressed > 0 {
            tracing::warn!(target: "plugin", plugin = %inner.plugin, lines = inner.suppressed, "lines of a plugin left out: it says too much");
            inner.suppressed = 0;
        }
    }

    /// The last error that it reported in this call: what a panic said, mostly.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.lock().last_words.clone()
    }

    /// Writes a message, line by line.
    pub(crate) fn say(&self, level: Level, message: &str) {
        let mut inner = self.lock();
        if level == Level::ERROR && inner.last_words.is_none() {
            // A panic says where it was on one line, and why on the next.
            let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
            inner.last_words = Some(tame(&words, LINE_CHARS_MAX)).filter(|words| !words.is_empty());
        }
        for line in message.lines().filter(|l| !l.trim().is_empty()) {
            let line = tame(line, LINE_CHARS_MAX);
            if inner.lines_left == 0 {
                inner.suppressed += 1;
                continue;
            }
            inner.lines_left -= 1;
            let plugin = &inner.plugin;
            match level {
                Level::ERROR => tracing::error!(target: "plugin", plugin, "{line}"),
                Level::WARN => tracing::warn!(target: "plugin", plugin, "{line}"),
                Level::INFO => tracing::info!(target: "plugin", plugin, "{line}"),
                Level::DEBUG => tracing::debug!(target: "plugin", plugin, "{line}"),
                Level::TRACE => tracing::trace!(target: "plugin", plugin, "{line}"),
            }
        }
    }
}

/// Text of a plugin's that is safe to show: nothing that [`acts`], and not too long.
#[must_use]
pub fn tame(text: &str, chars_max: usize) -> String {
    let mut tamed: String =
        text.chars().take(chars_max).map(|c| if acts(c) { ' ' } else { c }).collect();
    if text.chars().nth(chars_max).is_some() {
        tamed.push('…');
    }
    tamed
}

/// Whether a character does more than to be seen: a terminal obeys it, it ends a line, is invisible, or turns what
/// follows round, so that another text is read than the one that is there.
#[must_use]
pub fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(tame("a\x1b[2Jb\rc", 100), "a [2Jb c");
        assert_eq!(tame("äöü", 2), "äö…");
        assert_eq!(tame("a\u{202e}b\u{2028}c\u{200b}d", 100), "a b c d");
    }

    #[test]
    fn a_flood_costs_no_more_than_the_budget() {
        let chatter = Chatter::new("p", 2);
        chatter.call_starts();
        chatter.say(Level::INFO, &"x\n".repeat(10));
        assert_eq!(chatter.lock().suppressed, 8);
    }
}
