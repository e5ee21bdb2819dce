//! What a plugin sees of the cluster: the present one, or one that was recorded. Every look is noted down, with what it
//! showed, so that the same plugin can be shown the same again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use flocker_planner::ClusterView;
use serde::{Deserialize, Serialize};
use wasmtime::component::Resource;

use crate::{
    bindings::flocker::plugin::cluster,
    columns::{self, Column},
    dictionary::Dictionary,
    names::Names,
    state::State,
};

/// The cluster as a resource that a plugin borrows for one call.
#[derive(Debug, Clone)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct View(pub(crate) Source);

/// Where a view's columns come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The present cluster.
    Live(Arc<Frozen>),
    /// A former one, as far as it was looked at.
    Recorded(Arc<Seen>),
}

impl Source {
    /// What the rows are called, where that is known.
    pub(crate) fn names(&self) -> Option<Arc<Names>> {
        match self {
            Self::Live(frozen) => Some(frozen.names()),
            Self::Recorded(_) => None,
        }
    }
}

/// The cluster at one generation. A column is made once, whoever asks for it and how often.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) cluster: Arc<ClusterView>,
    dictionary: Arc<Dictionary>,
    columns: Mutex<Made>,
    names: OnceLock<Arc<Names>>,
}

#[derive(Debug, Default)]
struct Made {
    columns: HashMap<(String, String), Option<Arc<Column>>>,
    interned: bool,
}

/// Columns that a plugin made up are not kept beyond this many: only those that do not exist count.
const MISSING_MAX: usize = 1000;

impl Frozen {
    pub(crate) fn new(cluster: &Arc<ClusterView>, dictionary: &Arc<Dictionary>) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            dictionary: Arc::clone(dictionary),
            columns: Mutex::default(),
            names: OnceLock::new(),
        }
    }

    /// What its rows are called.
    pub(crate) fn names(&self) -> Arc<Names> {
        Arc::clone(self.names.get_or_init(|| Arc::new(Names::of(&self.cluster))))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Made> {
        self.columns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn column(&self, table: &str, name: &str) -> Option<Arc<Column>> {
        let key = (table.to_owned(), name.to_owned());
        let mut made = self.lock();
        if let Some(column) = made.columns.get(&key) {
            return column.clone();
        }
        let column = columns::column(&self.cluster, table, name, &self.dictionary).map(Arc::new);
        if made.columns.len() < MISSING_MAX || column.is_some() {
            made.columns.insert(key, column.clone());
        }
        column
    }

    fn id_of(&self, text: &str) -> Option<u32> {
        // A text of a column that nobody has looked at yet has no number; only then is it worth looking at all of them.
        self.dictionary.id(text).or_else(|| {
            let mut made = self.lock();
            if !std::mem::replace(&mut made.interned, true) {
                columns::intern_all(&self.cluster, &self.dictionary);
            }
            self.dictionary.id(text)
        })
    }
}

/// What a plugin was shown in one call. What it asked for and did not get is in here too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) generation: u64,
    pub(crate) rows: BTreeMap<String, Option<u32>>,
    pub(crate) columns: BTreeMap<(String, String), Option<Arc<Column>>>,
    pub(crate) texts: BTreeMap<u32, Option<Arc<str>>>,
    pub(crate) ids: BTreeMap<String, Option<u32>>,
}

impl Seen {
    /// The columns that exist, as `table/column`, for people.
    pub(crate) fn names(&self) -> Vec<String> {
        let exist = self.columns.iter().filter(|(_, column)| column.is_some());
        exist.map(|((table, name), _)| format!("{table}/{name}")).collect()
    }
}

/// A plugin that is asked an old question looked at something that nobody had looked at then.
fn unseen(what: &str) -> wasmtime::Error {
    wasmtime::Error::new(Unseen(what.to_owned()))
}

/// What a record does not hold.
#[derive(Debug, thiserror::Error)]
#[error(
    "it looks at {0}, which was not recorded: a record holds what was looked at by whoever was asked then"
)]
pub(crate) struct Unseen(String);

impl Unseen {
    /// The class of the failure that it leads to.
    pub(crate) const CLASS: &'static str = "not-recorded";
}

impl State {
    fn source(&self, view: &Resource<View>) -> wasmtime::Result<Source> {
        Ok(self.table.get(view)?.0.clone())
    }

    /// Shows a column, and notes down that it was shown.
    fn column(
        &mut self,
        view: &Resource<View>,
        table: String,
        name: String,
    ) -> wasmtime::Result<Option<Arc<Column>>> {
        let source = self.source(view)?;
        let key = (table, name);
        if let Some(column) = self.seen.columns.get(&key) {
            return Ok(column.clone());
        }
        let column = match source {
            Source::Live(frozen) => frozen.column(&key.0, &key.1),
            Source::Recorded(seen) => match seen.columns.get(&key) {
                Some(column) => column.clone(),
                None => return Err(unseen(&format!("column `{}` of `{}`", key.1, key.0))),
            },
        };
        self.note(key.0.len() + key.1.len())?;
        self.seen.columns.insert(key, column.clone());
        Ok(column)
    }

    /// What is noted down must stay small: a plugin may ask for what does not exist as often as its fuel lasts.
    fn note(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.noted += bytes + 64;
        if self.noted > NOTED_MAX {
            return Err(wasmtime::Error::msg("it looks at too many different things in one call"));
        }
        Ok(())
    }

    fn look_up(&mut self, view: &Resource<View>, id: u32) -> wasmtime::Result<Option<Arc<str>>> {
        if let Some(text) = self.seen.texts.get(&id) {
            return Ok(text.clone());
        }
        let text = match self.source(view)? {
            Source::Live(frozen) => frozen.dictionary.text(id),
            Source::Recorded(seen) => match seen.texts.get(&id) {
                Some(text) => text.clone(),
                None => return Err(unseen(&format!("text {id}"))),
            },
        };
        self.note(text.as_ref().map_or(0, |t| t.len()))?;
        self.seen.texts.insert(id, text.clone());
        Ok(text)
    }
}

/// Names and texts that one call may look at; the names and two labels of each of 10,000 nodes fit in.
const NOTED_MAX: usize = 8 << 20;

impl cluster::Host for State {}

impl cluster::HostView for State {
    fn generation(&mut self, view: Resource<View>) -> wasmtime::Result<u64> {
        Ok(match self.source(&view)? {
            Source::Live(frozen) => frozen.cluster.generation.0,
            Source::Recorded(seen) => seen.generation,
        })
    }

    fn rows(&mut self, view: Resource<View>, table: String) -> wasmtime::Result<Option<u32>> {
        let rows = match self.source(&view)? {
            Source::Live(frozen) => columns::rows(&frozen.cluster, &table),
            Source::Recorded(seen) => match seen.rows.get(&table) {
                Some(rows) => *rows,
                None => return Err(unseen(&format!("the number of `{table}`"))),
            },
        };
        self.note(table.len())?;
        self.seen.rows.insert(table, rows);
        Ok(rows)
    }

    fn u64s(
        &mut self,
        view: Resource<View>,
        table: String,
        column: String,
    ) -> wasmtime::Result<Option<Vec<u64>>> {
        Ok(self.column(&view, table, column)?.and_then(|c| c.u64s()))
    }

    fn f64s(
        &mut self,
        view: Resource<View>,
        table: String,
        column: String,
    ) -> wasmtime::Result<Option<Vec<f64>>> {
        Ok(self.column(&view, table, column)?.and_then(|c| c.f64s()))
    }

    fn u32s(
        &mut self,
        view: Resource<View>,
        table: String,
        column: String,
    ) -> wasmtime::Result<Option<Vec<u32>>> {
        Ok(self.column(&view, table, column)?.and_then(|c| c.u32s()))
    }

    fn ids(
        &mut self,
        view: Resource<View>,
        table: String,
        column: String,
    ) -> wasmtime::Result<Option<Vec<u32>>> {
        Ok(self.column(&view, table, column)?.and_then(|c| c.ids()))
    }

    fn text(&mut self, view: Resource<View>, id: u32) -> wasmtime::Result<Option<String>> {
        Ok(self.look_up(&view, id)?.map(|text| text.to_string()))
    }

    fn texts(&mut self, view: Resource<View>, ids: Vec<u32>) -> wasmtime::Result<Vec<String>> {
        // The same text may be asked for as often as numbers fit into a call: what leaves the host is bounded as well.
        let mut bytes = 0;
        let text = |id: &u32| {
            let text = self.look_up(&view, *id)?.map_or_else(String::new, |t| t.to_string());
            bytes += text.len() + size_of::<String>();
            if bytes > NOTED_MAX {
                return Err(wasmtime::Error::msg("it asks for too much text in one call"));
            }
            Ok(text)
        };
        ids.iter().map(text).collect()
    }

    fn id_of(&mut self, view: Resource<View>, text: String) -> wasmtime::Result<Option<u32>> {
        let id = match self.source(&view)? {
            Source::Live(frozen) => frozen.id_of(&text),
            Source::Recorded(seen) => match seen.ids.get(&text) {
                Some(id) => *id,
                None => return Err(unseen("the number of a text")),
            },
        };
        self.note(text.len())?;
        self.seen.ids.insert(text, id);
        Ok(id)
    }

    fn changed(
        &mut self,
        view: Resource<View>,
        table: String,
        since: u64,
    ) -> wasmtime::Result<Option<Vec<u32>>> {
        match self.source(&view)? {
            Source::Live(frozen) => {
                let exists = columns::TABLES.contains(&table.as_str());
                // This host keeps no history, which the contract allows: anything older means "read all".
                let same = exists && frozen.cluster.generation.0 == since;
                if same && self.before.generation == since {
                    // The answer may rest on what the instance remembers.
                    let before = Seen::clone(&self.before);
                    self.seen.columns.extend(before.columns);
                    self.seen.rows.extend(before.rows);
                    self.seen.texts.extend(before.texts);
                    self.seen.ids.extend(before.ids);
                }
                Ok(same.then(Vec::new))
            }
            // It is asked by a fresh instance, which remembers nothing.
            Source::Recorded(_) => Ok(None),
        }
    }

    fn drop(&mut self, view: Resource<View>) -> wasmtime::Result<()> {
        self.take_back(view)
    }
}
