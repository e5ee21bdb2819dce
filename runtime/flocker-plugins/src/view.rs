//! What a plugin sees of the cluster: the present one, or one that was recorded. Every look is noted down, with what it
//! showed, so that the same plugin can be shown the same again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use flocker_planner::ClusterView;
use serde::{Deserialize, Serialize};
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};

use crate::{
    columns::{self, Column},
    dictionary::Dictionary,
    state::State,
};

/// The cluster as a resource that a plugin borrows for one call.
#[derive(Debug, Clone)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct View(pub(crate) Source);

/// Where a view's columns come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The present cluster, and what was made of it.
    Live(Arc<ClusterView>, Arc<Frozen>),
    /// A former one, as far as it was looked at.
    Recorded(Arc<Seen>),
}

/// What was made of a cluster, which whoever asks hands over. A column is made once, whoever asks for it and how often.
#[derive(Debug)]
pub(crate) struct Frozen {
    dictionary: Arc<Dictionary>,
    columns: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    columns: HashMap<(String, String), Option<Arc<Column>>>,
    interned: bool,
}

/// Columns that a plugin made up are not kept beyond this many: only those that do not exist count.
const MISSING_MAX: usize = 1000;

impl Frozen {
    pub(crate) fn new(dictionary: &Arc<Dictionary>) -> Self {
        Self { dictionary: Arc::clone(dictionary), columns: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Made> {
        self.columns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn column(&self, cluster: &ClusterView, table: &str, name: &str) -> Option<Arc<Column>> {
        let key = (table.to_owned(), name.to_owned());
        let mut made = self.lock();
        if let Some(column) = made.columns.get(&key) {
            return column.clone();
        }
        let column = columns::column(cluster, table, name, &self.dictionary).map(Arc::new);
        if made.columns.len() < MISSING_MAX || column.is_some() {
            made.columns.insert(key, column.clone());
        }
        column
    }

    fn id_of(&self, cluster: &ClusterView, text: &str) -> Option<u32> {
        // A text of a column that nobody has looked at yet has no number; only then is it worth looking at all of them.
        self.dictionary.id(text).or_else(|| {
            let mut made = self.lock();
            if !std::mem::replace(&mut made.interned, true) {
                columns::intern_all(cluster, &self.dictionary);
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
            Source::Live(cluster, frozen) => frozen.column(&cluster, &key.0, &key.1),
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
            Source::Live(_, frozen) => frozen.dictionary.text(id),
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

/// What a plugin may ask of a view. Written by hand, as the generated traits hand out lists as copies of their own.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut cluster = linker.instance("flocker:plugin/cluster@0.1.0")?;
    cluster.resource("view", ResourceType::host::<View>(), |mut store, rep| {
        store.data_mut().take_back(Resource::new_own(rep))
    })?;
    /// `view.NAME(ARGUMENTS)` is answered by an expression over the instance's state.
    macro_rules! method {
        ($name:literal, |$state:ident, $view:ident $(, $argument:ident: $type:ty)*| $answer:expr) => {
            cluster.func_wrap(
                concat!("[method]view.", $name),
                |mut store: StoreContextMut<'_, State>,
                 ($view, $($argument),*): (Resource<View>, $($type),*)| {
                    let ($state, $view) = (store.data_mut(), &$view);
                    Ok(($answer,))
                },
            )?;
        };
    }
    method!("generation", |state, view| state.generation(view)?);
    method!("rows", |state, view, table: String| state.rows(view, table)?);
    method!("u64s", |state, view, table: String, column: String| {
        state.column(view, table, column)?.and_then(|c| c.u64s())
    });
    method!("f64s", |state, view, table: String, column: String| {
        state.column(view, table, column)?.and_then(|c| c.f64s())
    });
    method!("u32s", |state, view, table: String, column: String| {
        state.column(view, table, column)?.and_then(|c| c.u32s())
    });
    method!("ids", |state, view, table: String, column: String| {
        state.column(view, table, column)?.and_then(|c| c.ids())
    });
    method!("text", |state, view, id: u32| state.look_up(view, id)?);
    method!("texts", |state, view, ids: Vec<u32>| state.texts(view, &ids)?);
    method!("id-of", |state, view, text: String| state.id_of(view, text)?);
    method!("changed", |state, view, table: String, since: u64| {
        state.changed(view, &table, since)?
    });
    Ok(())
}

impl State {
    fn generation(&mut self, view: &Resource<View>) -> wasmtime::Result<u64> {
        Ok(match self.source(view)? {
            Source::Live(cluster, _) => cluster.generation.0,
            Source::Recorded(seen) => seen.generation,
        })
    }

    fn rows(&mut self, view: &Resource<View>, table: String) -> wasmtime::Result<Option<u32>> {
        let rows = match self.source(view)? {
            Source::Live(cluster, _) => columns::rows(&cluster, &table),
            Source::Recorded(seen) => match seen.rows.get(&table) {
                Some(rows) => *rows,
                None => return Err(unseen(&format!("the number of `{table}`"))),
            },
        };
        self.note(table.len())?;
        self.seen.rows.insert(table, rows);
        Ok(rows)
    }

    fn texts(&mut self, view: &Resource<View>, ids: &[u32]) -> wasmtime::Result<Vec<Arc<str>>> {
        // The same text may be asked for as often as numbers fit into a call: what leaves the host is bounded as well.
        let mut bytes = 0;
        let text = |id: &u32| {
            let text = self.look_up(view, *id)?.unwrap_or_default();
            bytes += text.len() + size_of::<String>();
            if bytes > NOTED_MAX {
                return Err(wasmtime::Error::msg("it asks for too much text in one call"));
            }
            Ok(text)
        };
        ids.iter().map(text).collect()
    }

    fn id_of(&mut self, view: &Resource<View>, text: String) -> wasmtime::Result<Option<u32>> {
        let id = match self.source(view)? {
            Source::Live(cluster, frozen) => frozen.id_of(&cluster, &text),
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
        view: &Resource<View>,
        table: &str,
        since: u64,
    ) -> wasmtime::Result<Option<Vec<u32>>> {
        match self.source(view)? {
            Source::Live(cluster, _) => {
                let exists = columns::TABLES.contains(&table);
                // This host keeps no history, which the contract allows: anything older means "read all".
                let same = exists && cluster.generation.0 == since;
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
}
