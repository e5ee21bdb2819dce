//! A node as a policy sees it. Columns are fetched from the host when they are first asked for, once per decision.

use std::{cell::RefCell, collections::BTreeMap, fmt, rc::Rc};

use crate::bindings::flocker::plugin::cluster::View;

const TABLE: &str = "nodes";

/// A node. In tests, make one with [`Node::sample`].
#[derive(Clone)]
pub struct Node<'a> {
    table: Rc<Table<'a>>,
    row: u32,
}

/// The host's table of nodes, or a made-up one of a single row.
pub(crate) struct Table<'a> {
    source: Source<'a>,
    numbers: RefCell<BTreeMap<String, Column<u64>>>,
    texts: RefCell<BTreeMap<String, Column<String>>>,
}

/// A column that was fetched; `None` when there is no such column.
type Column<T> = Option<Rc<[T]>>;

enum Source<'a> {
    Host(&'a View),
    Sample(Sample),
}

#[derive(Clone, Default)]
struct Sample {
    numbers: BTreeMap<String, u64>,
    texts: BTreeMap<String, String>,
}

impl<'a> Table<'a> {
    pub(crate) fn of_host(view: &'a View) -> Self {
        Self::of(Source::Host(view))
    }

    fn of(source: Source<'a>) -> Self {
        Self { source, numbers: RefCell::default(), texts: RefCell::default() }
    }

    /// A cell of a number column; the largest number stands for a missing one.
    fn number(&self, column: &str, row: u32) -> Option<u64> {
        let view = match &self.source {
            Source::Host(view) => view,
            Source::Sample(sample) => return sample.numbers.get(column).copied(),
        };
        let fetch = || view.u64s(TABLE, column).map(Rc::from);
        let cells = cached(&self.numbers, column, fetch)?;
        cells.get(usize::try_from(row).ok()?).copied().filter(|n| *n != u64::MAX)
    }

    /// A cell of a text column; empty where there is none.
    fn text(&self, column: &str, row: u32) -> Option<String> {
        let view = match &self.source {
            Source::Host(view) => view,
            Source::Sample(sample) => return sample.texts.get(column).cloned(),
        };
        let fetch = || {
            let ids = view.ids(TABLE, column)?;
            // Text number 0 stands for none; a label that is set to nothing is something else.
            let mut texts = view.texts(&ids).into_iter().zip(&ids);
            Some(
                texts
                    .by_ref()
                    .map(|(text, id)| if *id == 0 { ABSENT.to_owned() } else { text })
                    .collect(),
            )
        };
        let cells: Rc<[String]> = cached(&self.texts, column, fetch)?;
        cells.get(usize::try_from(row).ok()?).filter(|text| *text != ABSENT).cloned()
    }
}

/// No text of the host's holds this character.
const ABSENT: &str = "\0";

fn cached<T>(
    columns: &RefCell<BTreeMap<String, Column<T>>>,
    name: &str,
    fetch: impl FnOnce() -> Column<T>,
) -> Column<T> {
    if let Some(column) = columns.borrow().get(name) {
        return column.clone();
    }
    let column = fetch();
    columns.borrow_mut().insert(name.to_owned(), column.clone());
    column
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("row", &self.row).finish_non_exhaustive()
    }
}

impl<'a> Node<'a> {
    pub(crate) fn new(table: Rc<Table<'a>>, row: u32) -> Self {
        Self { table, row }
    }

    pub(crate) fn row(&self) -> u32 {
        self.row
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.text("name").unwrap_or_default()
    }

    /// Memory of the machine, in bytes; 0 while it has not said.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.number_or_zero("memory-bytes")
    }

    /// Memory that no app was promised, in bytes.
    #[must_use]
    pub fn memory_free(&self) -> u64 {
        self.number_or_zero("memory-free-bytes")
    }

    /// Memory that apps were promised, in bytes.
    #[must_use]
    pub fn memory_promised(&self) -> u64 {
        self.number_or_zero("memory-promised-bytes")
    }

    /// CPUs of the machine, in thousandths.
    #[must_use]
    pub fn cpu_millis(&self) -> u64 {
        self.number_or_zero("cpu-millis")
    }

    /// CPU that apps were promised, in thousandths.
    #[must_use]
    pub fn cpu_promised_millis(&self) -> u64 {
        self.number_or_zero("cpu-promised-millis")
    }

    /// Size of its storage pool, in bytes.
    #[must_use]
    pub fn pool(&self) -> u64 {
        self.number_or_zero("pool-bytes")
    }

    /// What is free in its storage pool, in bytes.
    #[must_use]
    pub fn pool_free(&self) -> u64 {
        self.number_or_zero("pool-free-bytes")
    }

    /// One-minute load average, in thousandths.
    #[must_use]
    pub fn load_millis(&self) -> u64 {
        self.number_or_zero("load-millis")
    }

    /// How many apps it holds, arriving ones included.
    #[must_use]
    pub fn apps(&self) -> u64 {
        self.number_or_zero("apps")
    }

    /// How many volumes it owns.
    #[must_use]
    pub fn volumes(&self) -> u64 {
        self.number_or_zero("volumes")
    }

    /// A label, from its configuration or from an operator.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<String> {
        self.text(&format!("label:{key}"))
    }

    /// Any number column of the table `nodes`, as wit/columns.md lists them.
    #[must_use]
    pub fn number(&self, column: &str) -> Option<u64> {
        self.table.number(column, self.row)
    }

    /// Any text column of the table `nodes`.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<String> {
        self.table.text(column, self.row)
    }

    fn number_or_zero(&self, column: &str) -> u64 {
        self.number(column).unwrap_or(0)
    }
}

/// For tests: nodes that exist nowhere.
impl Node<'static> {
    /// A node of this name and nothing else.
    #[must_use]
    pub fn sample(name: &str) -> Self {
        let mut sample = Sample::default();
        sample.texts.insert("name".into(), name.into());
        // Rows of samples need only differ, so that a request can be at one of them.
        let row =
            name.bytes().fold(17u32, |row, byte| row.wrapping_mul(31).wrapping_add(byte.into()));
        Self { table: Rc::new(Table::of(Source::Sample(sample))), row }
    }

    /// It has so many bytes of memory, and has promised so many of them to apps.
    #[must_use]
    pub fn with_memory(self, bytes: u64, promised: u64) -> Self {
        self.with("memory-bytes", bytes)
            .with("memory-promised-bytes", promised)
            .with("memory-free-bytes", bytes.saturating_sub(promised))
    }

    /// It has so many thousandths of a CPU, and has promised so many of them to apps.
    #[must_use]
    pub fn with_cpu(self, millis: u64, promised: u64) -> Self {
        self.with("cpu-millis", millis).with("cpu-promised-millis", promised)
    }

    /// Its pool has so many bytes, and so many of them are free.
    #[must_use]
    pub fn with_pool(self, bytes: u64, free: u64) -> Self {
        self.with("pool-bytes", bytes).with("pool-free-bytes", free)
    }

    /// It holds so many apps.
    #[must_use]
    pub fn with_apps(self, apps: u64) -> Self {
        self.with("apps", apps)
    }

    /// It has this label.
    #[must_use]
    pub fn with_label(self, key: &str, value: &str) -> Self {
        self.changed(|sample| {
            sample.texts.insert(format!("label:{key}"), value.into());
        })
    }

    /// A number column has this value.
    #[must_use]
    pub fn with(self, column: &str, value: u64) -> Self {
        self.changed(|sample| {
            sample.numbers.insert(column.into(), value);
        })
    }

    fn changed(self, change: impl FnOnce(&mut Sample)) -> Self {
        let mut sample = match &self.table.source {
            Source::Sample(sample) => sample.clone(),
            // Only this block makes nodes that borrow from nothing.
            Source::Host(_) => Sample::default(),
        };
        change(&mut sample);
        Self { table: Rc::new(Table::of(Source::Sample(sample))), row: self.row }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_answers_with_what_it_was_given() {
        let node = Node::sample("a").with_memory(100, 30).with_label("zone", "");
        assert_eq!((node.name().as_str(), node.memory_free(), node.cpu_millis()), ("a", 70, 0));
        assert_eq!(node.label("zone").as_deref(), Some(""));
        assert_eq!(node.label("rack"), None);
        assert_eq!(node.number("no-such-column"), None);
    }
}
