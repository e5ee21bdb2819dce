//! The cluster's tables, row by row. A column is fetched from the host when it is first asked for, once per decision, and
//! others never: that is what keeps a question about thousands of rows cheap.

use std::{
    array,
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    rc::Rc,
};

use crate::bindings::policy::flocker::plugin::cluster::View;

/// A table of wit/columns.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    Nodes,
    Apps,
    Volumes,
    Replicas,
}

impl Table {
    const COUNT: usize = 4;

    fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Apps => "apps",
            Self::Volumes => "volumes",
            Self::Replicas => "replicas",
        }
    }
}

/// The number columns that kinds of rows have methods for: found by their place and not by their name, as a policy reads
/// them once per row.
macro_rules! known {
    ($($known:ident = $table:ident $name:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Known {
            $($known,)*
        }

        impl Known {
            const COUNT: usize = [$($name),*].len();

            fn column(self) -> (Table, &'static str) {
                match self {
                    $(Self::$known => (Table::$table, $name),)*
                }
            }
        }
    };
}

known! {
    NodeAlive = Nodes "alive",
    NodeDraining = Nodes "draining",
    NodeMemory = Nodes "memory-bytes",
    NodeMemoryFree = Nodes "memory-free-bytes",
    NodeMemoryPromised = Nodes "memory-promised-bytes",
    NodeCpu = Nodes "cpu-millis",
    NodeCpuPromised = Nodes "cpu-promised-millis",
    NodePool = Nodes "pool-bytes",
    NodePoolFree = Nodes "pool-free-bytes",
    NodeLoad = Nodes "load-millis",
    NodeApps = Nodes "apps",
    NodeVolumes = Nodes "volumes",
    AppNode = Apps "node",
    AppMemory = Apps "memory-bytes",
    AppCpu = Apps "cpu-millis",
    AppSize = Apps "size-bytes",
    AppPlaced = Apps "placed-ms",
    VolumeApp = Volumes "app",
    VolumeNode = Volumes "node",
    VolumeSize = Volumes "size-bytes",
    VolumeUsed = Volumes "used-bytes",
    VolumeWritten = Volumes "written-ms",
    VolumeSnapshot = Volumes "snapshot-ms",
    ReplicaVolume = Replicas "volume",
    ReplicaNode = Replicas "node",
    ReplicaTaken = Replicas "taken-ms",
}

/// All tables: the host's, or made-up ones.
pub(crate) struct Tables<'a> {
    source: Source<'a>,
    /// By [`Known`]; empty where there is no such column.
    known: [OnceCell<Box<[u64]>>; Known::COUNT],
    numbers: RefCell<Columns<u64>>,
    texts: RefCell<Columns<Rc<str>>>,
    labels: RefCell<Columns<Rc<str>>>,
    /// By the column that refers: which rows refer to which row.
    referring: [OnceCell<Referring>; Known::COUNT],
}

/// The columns that were fetched, by table and name; `None` when there is no such column.
type Columns<T> = [BTreeMap<String, Option<Column<T>>>; Table::COUNT];
type Column<T> = Rc<[Option<T>]>;
type Referring = BTreeMap<u32, Vec<u32>>;

enum Source<'a> {
    Host(&'a View),
    Sample(Sample),
}

/// What stands for a missing number.
const MISSING: u64 = u64::MAX;

/// Made-up rows, by [`id`].
#[derive(Clone, Default)]
pub(crate) struct Sample(BTreeMap<(Table, u32), Cells>);

/// What is in a made-up row.
#[derive(Clone, Default)]
pub(crate) struct Cells {
    pub(crate) numbers: BTreeMap<String, u64>,
    pub(crate) texts: BTreeMap<String, String>,
}

impl Cells {
    pub(crate) fn label(&mut self, key: &str, value: &str) {
        self.texts.insert(format!("label:{key}"), value.to_owned());
    }
}

/// Made-up rows are numbered by their names, so that rows can refer to each other before all of them exist.
pub(crate) fn id(name: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    // The upper half is as good as the lower.
    (hasher.finish() >> 32) as u32
}

impl<'a> Tables<'a> {
    pub(crate) fn of_host(view: &'a View) -> Self {
        Self::of(Source::Host(view))
    }

    fn of(source: Source<'a>) -> Self {
        Self {
            source,
            known: array::from_fn(|_| OnceCell::new()),
            numbers: RefCell::default(),
            texts: RefCell::default(),
            labels: RefCell::default(),
            referring: array::from_fn(|_| OnceCell::new()),
        }
    }

    /// Every row of a table, in alphabetical order of the names.
    pub(crate) fn rows(&'a self, table: Table) -> Vec<Row<'a>> {
        match &self.source {
            Source::Host(view) => {
                (0..view.rows(table.name()).unwrap_or(0)).map(|n| self.row(table, n)).collect()
            }
            Source::Sample(Sample(rows)) => {
                let rows = rows.keys().filter(|(of, _)| *of == table);
                let mut rows: Vec<_> = rows.map(|(_, number)| self.row(table, *number)).collect();
                rows.sort_by_key(|row| row.text("name"));
                rows
            }
        }
    }

    /// A row by its number.
    pub(crate) fn row(&'a self, table: Table, number: u32) -> Row<'a> {
        Row { tables: self, table, number }
    }

    /// A cell of a column that has a method; the largest number stands for a missing one, also on the way here: policies
    /// spend most of their time in this function.
    #[inline(always)]
    fn known(&self, known: Known, row: u32) -> Option<u64> {
        let cell = match self.known[known as usize].get() {
            Some(column) => column.get(row as usize).copied().unwrap_or(MISSING),
            None => self.first_look(known, row),
        };
        (cell != MISSING).then_some(cell)
    }

    /// Fetches the column. Made-up rows have none.
    #[cold]
    #[inline(never)]
    fn first_look(&self, known: Known, row: u32) -> u64 {
        let (table, name) = known.column();
        let view = match &self.source {
            Source::Host(view) => view,
            Source::Sample(sample) => return sample.number(table, name, row).unwrap_or(MISSING),
        };
        let fetch = || view.u64s(table.name(), name).unwrap_or_default().into_boxed_slice();
        let column = self.known[known as usize].get_or_init(fetch);
        column.get(row as usize).copied().unwrap_or(MISSING)
    }

    /// A cell of any number column.
    fn number(&self, table: Table, column: &str, row: u32) -> Option<u64> {
        let view = match &self.source {
            Source::Host(view) => view,
            Source::Sample(sample) => return sample.number(table, column, row),
        };
        cell(&self.numbers, table, column, row, || {
            let cells = view.u64s(table.name(), column)?;
            Some(cells.into_iter().map(|n| (n != MISSING).then_some(n)).collect())
        })
    }

    fn text(&self, table: Table, column: &str, row: u32) -> Option<Rc<str>> {
        match &self.source {
            Source::Host(view) => {
                cell(&self.texts, table, column, row, || texts(view, table, column))
            }
            Source::Sample(sample) => {
                sample.cells(table, row)?.texts.get(column).map(|text| text.as_str().into())
            }
        }
    }

    /// A cell of the column `label:KEY`, whose name is put together once and not for each row.
    fn label(&self, table: Table, key: &str, row: u32) -> Option<Rc<str>> {
        let column = || format!("label:{key}");
        match &self.source {
            Source::Host(view) => {
                cell(&self.labels, table, key, row, || texts(view, table, &column()))
            }
            Source::Sample(_) => self.text(table, &column(), row),
        }
    }

    /// Which rows refer to which by a column. Made once, as it is asked for row by row.
    fn referring(&'a self, by: Known) -> &'a Referring {
        self.referring[by as usize].get_or_init(|| {
            let mut referring = Referring::new();
            for row in self.rows(by.column().0) {
                if let Some(to) = row.known(by).and_then(|n| u32::try_from(n).ok()) {
                    referring.entry(to).or_default().push(row.number);
                }
            }
            referring
        })
    }
}

/// A text column. Each different text crosses the border once, however many rows have it; number 0 stands for a missing one.
fn texts(view: &View, table: Table, column: &str) -> Option<Column<Rc<str>>> {
    let ids = view.ids(table.name(), column)?;
    let mut different: Vec<u32> = ids.iter().copied().filter(|id| *id != 0).collect();
    different.sort_unstable();
    different.dedup();
    let texts: Vec<Rc<str>> = view.texts(&different).into_iter().map(Rc::from).collect();
    let text = |id: &u32| texts.get(different.binary_search(id).ok()?).cloned();
    Some(ids.iter().map(text).collect())
}

/// A cell of a column that is fetched at most once.
fn cell<T: Clone>(
    columns: &RefCell<Columns<T>>,
    table: Table,
    name: &str,
    row: u32,
    fetch: impl FnOnce() -> Option<Column<T>>,
) -> Option<T> {
    let of = |column: &Option<Column<T>>| column.as_ref()?.get(row as usize)?.clone();
    if let Some(column) = columns.borrow()[table as usize].get(name) {
        return of(column);
    }
    let column = fetch();
    let cell = of(&column);
    columns.borrow_mut()[table as usize].insert(name.to_owned(), column);
    cell
}

impl Sample {
    fn cells(&self, table: Table, row: u32) -> Option<&Cells> {
        self.0.get(&(table, row))
    }

    fn number(&self, table: Table, column: &str, row: u32) -> Option<u64> {
        self.cells(table, row)?.numbers.get(column).copied()
    }

    /// Adds a row that was made elsewhere.
    #[track_caller]
    pub(crate) fn add(&mut self, row: &Row<'static>) {
        let before = self.0.insert((row.table, row.number), row.cells());
        assert!(before.is_none(), "two rows of `{}` have the name {:?}", row.table.name(), row);
    }
}

impl Tables<'static> {
    /// Made-up rows live as long as the test.
    pub(crate) fn of_sample(sample: Sample) -> &'static Self {
        Box::leak(Box::new(Self::of(Source::Sample(sample))))
    }
}

/// A row of a table.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    tables: &'a Tables<'a>,
    table: Table,
    number: u32,
}

/// Rows are the same when they have the same place in the same table.
impl PartialEq for Row<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.table, self.number) == (other.table, other.number)
    }
}

impl Eq for Row<'_> {}

impl std::fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.text("name") {
            Some(name) => write!(f, "`{name}`"),
            None => write!(f, "{} {}", self.table.name(), self.number),
        }
    }
}

impl<'a> Row<'a> {
    /// Its place in its table, as the host knows it.
    pub(crate) fn place(&self) -> u32 {
        self.number
    }

    /// A cell of a column that has a method, in a row of its table.
    #[inline(always)]
    pub(crate) fn known(&self, known: Known) -> Option<u64> {
        debug_assert_eq!(known.column().0, self.table);
        self.tables.known(known, self.number)
    }

    pub(crate) fn number(&self, column: &str) -> Option<u64> {
        self.tables.number(self.table, column, self.number)
    }

    pub(crate) fn text(&self, column: &str) -> Option<Rc<str>> {
        self.tables.text(self.table, column, self.number)
    }

    pub(crate) fn label(&self, key: &str) -> Option<Rc<str>> {
        self.tables.label(self.table, key, self.number)
    }

    /// The row of `table` that a column of this one refers to.
    pub(crate) fn reference(&self, by: Known, table: Table) -> Option<Row<'a>> {
        let number = u32::try_from(self.known(by)?).ok()?;
        match &self.tables.source {
            Source::Sample(sample) => {
                let _exists = sample.cells(table, number)?;
            }
            Source::Host(_) => {}
        }
        Some(self.tables.row(table, number))
    }

    /// The rows that refer to this one by a column of theirs, in alphabetical order of the names.
    pub(crate) fn referring(&self, by: Known) -> Vec<Row<'a>> {
        let rows = self.tables.referring(by).get(&self.number).into_iter().flatten();
        rows.map(|number| self.tables.row(by.column().0, *number)).collect()
    }
}

/// For tests: rows that exist nowhere.
impl Row<'static> {
    /// A row of this name and nothing else.
    pub(crate) fn sample(table: Table, name: &str) -> Self {
        let texts = BTreeMap::from([("name".to_owned(), name.to_owned())]);
        Self::of_cells(table, id(name), Cells { texts, ..Cells::default() })
    }

    fn of_cells(table: Table, number: u32, cells: Cells) -> Self {
        let sample = Sample(BTreeMap::from([((table, number), cells)]));
        Self { tables: Tables::of_sample(sample), table, number }
    }

    /// The same row with other cells, alone in its world.
    pub(crate) fn with(self, change: impl FnOnce(&mut Cells)) -> Self {
        let mut cells = self.cells();
        change(&mut cells);
        Self::of_cells(self.table, self.number, cells)
    }

    fn cells(&self) -> Cells {
        match &self.tables.source {
            Source::Sample(sample) => sample.cells(self.table, self.number).cloned(),
            // Only this block makes rows that borrow from nothing.
            Source::Host(_) => None,
        }
        .unwrap_or_default()
    }
}

/// What all kinds of rows have in common.
macro_rules! kind_of_row {
    ($kind:ident, $table:literal) => {
        impl<'a> $kind<'a> {
            #[doc = concat!("Any number column of the table `", $table, "` (wit/columns.md); `None` where it is missing.")]
            #[must_use]
            pub fn number(&self, column: &str) -> Option<u64> {
                self.row.number(column)
            }

            #[doc = concat!("Any text column of the table `", $table, "`; `None` where it is missing.")]
            #[must_use]
            pub fn text(&self, column: &str) -> Option<std::rc::Rc<str>> {
                self.row.text(column)
            }
        }

        impl<'a> From<$crate::table::Row<'a>> for $kind<'a> {
            fn from(row: $crate::table::Row<'a>) -> Self {
                Self { row }
            }
        }

        impl $kind<'static> {
            /// For tests: a number column has this value.
            #[must_use]
            pub fn with(self, column: &str, value: u64) -> Self {
                let insert = |cells: &mut $crate::table::Cells| {
                    cells.numbers.insert(column.to_owned(), value);
                };
                self.row.with(insert).into()
            }
        }
    };
}
pub(crate) use kind_of_row;
