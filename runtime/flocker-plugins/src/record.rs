//! Every question that a plugin was asked, what it was shown, and what it answered, on the disk: what replay reads.
//!
//! A folder of segments; each is complete in itself, and the oldest ones go when the folder grows beyond its limit. The
//! records serve people, not the cluster: writing never delays a decision, and a full disk loses records and nothing else.
//! The same answer to the same question, over and over, is written down once in a while.
//!
//! ```text
//! segment = magic, frame…      frame = length u32, CRC-32 of the payload u32, payload (postcard)
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    hash::Hash,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use flocker_model::Timestamp;
use flocker_planner::{ClusterView, PolicyFailure};
use serde::{Deserialize, Serialize};

use crate::{
    bindings::flocker::plugin::types,
    columns::Column,
    guest::Spent,
    hooks::Ask,
    names::Names,
    own_limits::OwnLimits,
    plugin::Plugin,
    repeats::Repeats,
    view::{Frozen, Seen, Source},
};

/// What a segment begins with: the format and its version.
const MAGIC: &[u8; 8] = b"flkrec1\n";
/// A segment is closed at this size, or at an eighth of the limit: what is removed at a time is small beside the whole.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// Records that may wait for the disk; the next ones are dropped and counted.
const WAITING_MAX: usize = 1024;
/// Rows of clusters that may wait with them: some 200 MB, or 90 views of 1,000 nodes and 10,000 volumes.
const ROWS_WAITING_MAX: usize = 1_000_000;
/// No frame is longer: a length beyond it is damage.
const FRAME_BYTES_MAX: u32 = 64 << 20;

/// Where decisions are recorded, and how much of them is kept.
#[derive(Debug, Clone)]
pub struct RecordsConfig {
    /// A folder of its own.
    pub folder: PathBuf,
    /// The oldest records go when the folder holds more than this.
    pub bytes_max: u64,
}

impl RecordsConfig {
    fn segment_bytes(&self) -> u64 {
        SEGMENT_BYTES_MAX.min(self.bytes_max / 8)
    }
}

/// Records cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`: {source}")]
pub(crate) struct RecordError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RecordError + use<> {
    let path = path.to_owned();
    move |source| RecordError { path, source }
}

/// One question and its answer, as they crossed the border.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// Which kind of question, see [`Ask::KIND`].
    pub(crate) kind: String,
    /// Name and version of the plugin.
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) digest: String,
    pub(crate) context: types::Context,
    /// The question, as postcard.
    pub(crate) question: Vec<u8>,
    /// What it was shown. While on the disk, its columns stand beside it.
    pub(crate) seen: Arc<Seen>,
    /// The verdict, as postcard, or class and message of the failure.
    pub(crate) verdict: Result<Vec<u8>, (String, String)>,
    pub(crate) fuel: u64,
    pub(crate) took: Duration,
    /// What it might use up, where that is not what the others may. While on the disk, it stands before it.
    #[serde(skip)]
    pub(crate) limits: OwnLimits,
    /// The settings that it was configured with; unknown of what was recorded before settings were. While on the disk,
    /// they stand before it.
    #[serde(skip)]
    pub(crate) settings: Option<Arc<str>>,
    /// What the rows in it are called; unknown of what was recorded before names were. While on the disk, they stand
    /// before it.
    #[serde(skip)]
    pub(crate) names: Option<Arc<Names>>,
}

impl Asked {
    pub(crate) fn new<Q: Ask>(
        plugin: &Plugin,
        context: &types::Context,
        question: &Q,
        spent: &Spent,
        verdict: &Result<Q::Verdict, PolicyFailure>,
        took: Duration,
    ) -> Self {
        let failed = |f: &PolicyFailure| (f.class.clone(), f.message.clone());
        Self {
            kind: Q::KIND.to_owned(),
            plugin: plugin.loaded.name.clone(),
            version: plugin.loaded.version.clone(),
            digest: plugin.loaded.digest.clone(),
            context: context.clone(),
            question: bytes(question),
            seen: Arc::clone(&spent.seen),
            verdict: verdict.as_ref().map(bytes).map_err(failed),
            fuel: spent.fuel,
            took,
            limits: plugin.limits,
            settings: Some(Arc::clone(&plugin.settings)),
            names: None,
        }
    }
}

/// As it is recorded. Two that are equal here are equal to the last bit.
pub(crate) fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    // Numbers, texts, lists and options have no way to fail; an empty record would be found out when it is read.
    postcard::to_allocvec(value).unwrap_or_default()
}

/// What a frame holds. What several records have in common, such as a column, is written once per segment, before the
/// first of them.
#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    Column(Arc<Column>),
    Asked {
        asked: Box<Asked>,
        /// Positions among the segment's columns.
        columns: BTreeMap<(String, String), Option<u32>>,
    },
    /// Those of the next record, if there are any.
    Limits(OwnLimits),
    Settings(Arc<str>),
    Names(Arc<Names>),
    /// What is known about the next record beside itself. Last, as positions here are what is written.
    About {
        /// Position among the segment's settings.
        settings: Option<u32>,
        /// Position among the segment's names.
        names: Option<u32>,
    },
}

enum Job {
    /// With the view that it was asked about: reading the names of a large cluster takes longer than a decision.
    Keep(Box<Asked>, Source),
    Flush(SyncSender<()>),
}

/// Writes records from a thread of its own.
#[derive(Debug)]
pub(crate) struct Recorder {
    jobs: SyncSender<Job>,
    /// The views that records wait with, and the one that was asked about last; how many rows each has.
    views: Mutex<Vec<(Weak<Frozen>, usize)>>,
    dropped: AtomicU64,
}

impl Recorder {
    /// # Errors
    /// When the folder cannot be made or written to.
    pub(crate) fn start(config: &RecordsConfig) -> Result<Self, RecordError> {
        let folder = &config.folder;
        fs::create_dir_all(folder).map_err(at(folder))?;
        let next = segments(folder)?.last().map_or(0, |(number, _)| number + 1);
        let (jobs, inbox) = sync_channel(WAITING_MAX);
        let mut writer = Writer {
            config: config.clone(),
            next,
            segment: None,
            known: Known::default(),
            repeats: Repeats::default(),
            names: None,
        };
        std::thread::Builder::new()
            .name("plugin-records".into())
            .spawn(move || writer.run(&inbox))
            .map_err(at(folder))?;
        Ok(Self { jobs, views: Mutex::default(), dropped: AtomicU64::new(0) })
    }

    /// Hands a record over, without waiting for anything.
    pub(crate) fn keep(&self, asked: Asked, source: &Source) {
        let fits = self.has_room_for(source);
        if !fits || self.jobs.try_send(Job::Keep(Box::new(asked), source.clone())).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            // At 1, 2, 4, 8…: the log is not the place to count.
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "decisions come faster than they can be recorded");
            }
        }
    }

    /// Whether the view waits already or may do so.
    fn has_room_for(&self, source: &Source) -> bool {
        let Source::Live(cluster, frozen) = source else { return true };
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.retain(|(view, _)| view.strong_count() > 0);
        if views.iter().any(|(view, _)| Weak::as_ptr(view) == Arc::as_ptr(frozen)) {
            return true;
        }
        let rows = cluster.nodes.len()
            + cluster.apps.len()
            + cluster.volumes.len()
            + cluster.replicas.len();
        let waiting: usize = views.iter().map(|(_, rows)| rows).sum();
        // However large, one may wait.
        let fits = views.is_empty() || waiting + rows <= ROWS_WAITING_MAX;
        if fits {
            views.push((Arc::downgrade(frozen), rows));
        }
        fits
    }

    /// Waits until everything so far is written.
    pub(crate) fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.jobs.send(Job::Flush(done)).is_ok() {
            // An error means that the thread is gone, and then there is nothing to wait for.
            wait.recv().ok();
        }
    }
}

struct Writer {
    config: RecordsConfig,
    next: u64,
    segment: Option<Segment>,
    known: Known,
    repeats: Repeats,
    /// What the rows of the last view are called. They are made and given back here, as either takes longer than a decision.
    names: Option<(Weak<ClusterView>, Arc<Names>)>,
}

/// What the present segment holds already, and its position among its like.
#[derive(Default)]
struct Known {
    columns: HashMap<Arc<Column>, u32>,
    settings: HashMap<Arc<str>, u32>,
    names: HashMap<Arc<Names>, u32>,
}

struct Segment {
    file: BufWriter<File>,
    path: PathBuf,
    bytes: u64,
}

impl Writer {
    fn run(&mut self, inbox: &Receiver<Job>) {
        let mut failing = false;
        while let Ok(job) = inbox.recv() {
            let done = match job {
                Job::Keep(asked, source) => {
                    let names = self.names(source);
                    self.write(Asked { names, ..*asked })
                }
                Job::Flush(done) => {
                    let flushed = self.flush();
                    // Whoever asked may have gone.
                    done.send(()).ok();
                    flushed
                }
            };
            match done {
                Ok(()) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "decisions cannot be recorded for now");
                    }
                    // What was written in part is cut off by its checksum; the next record begins a new segment.
                    self.segment = None;
                }
            }
        }
    }

    /// What the rows of a view are called, where that is known.
    fn names(&mut self, source: Source) -> Option<Arc<Names>> {
        let Source::Live(cluster, _) = source else { return None };
        match &self.names {
            Some((of, names)) if Weak::as_ptr(of) == Arc::as_ptr(&cluster) => {
                Some(Arc::clone(names))
            }
            Some(_) | None => {
                let names = Arc::new(Names::of(&cluster));
                self.names = Some((Arc::downgrade(&cluster), Arc::clone(&names)));
                Some(names)
            }
        }
    }

    /// Whether it is not what the same plugin said to the same question just before.
    fn is_news(&mut self, asked: &Asked) -> bool {
        let Asked { kind, digest, settings, question, names, verdict, .. } = asked;
        let subject = (kind, digest, settings, asked.context.shadow, question, names);
        let now = Timestamp(asked.context.now_ms);
        self.repeats.is_news(&subject, verdict, now)
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        let Some(segment) = &mut self.segment else { return Ok(()) };
        segment.file.flush().map_err(at(&segment.path))
    }

    fn write(&mut self, mut asked: Asked) -> Result<(), RecordError> {
        if !self.is_news(&asked) {
            return Ok(());
        }
        if self.segment.as_ref().is_none_or(|segment| segment.bytes > self.config.segment_bytes()) {
            self.begin()?;
        }
        let mut seen = Seen::clone(&asked.seen);
        let mut columns = BTreeMap::new();
        for (name, column) in std::mem::take(&mut seen.columns) {
            let position = self.once(column.as_ref(), |known| &mut known.columns, Frame::Column)?;
            columns.insert(name, position);
        }
        asked.seen = Arc::new(seen);
        if !asked.limits.is_empty() {
            self.frame(&bytes(&Frame::Limits(asked.limits)))?;
        }
        let settings =
            self.once(asked.settings.as_ref(), |known| &mut known.settings, Frame::Settings)?;
        let names = self.once(asked.names.as_ref(), |known| &mut known.names, Frame::Names)?;
        self.frame(&bytes(&Frame::About { settings, names }))?;
        self.frame(&bytes(&Frame::Asked { asked: Box::new(asked), columns }))?;
        // A record is small and decisions are rare: whoever asks "why?" finds the newest one.
        self.flush()
    }

    /// Writes what records have in common, unless the segment holds it already, and says its position among its like.
    fn once<T: Hash + Eq + ?Sized>(
        &mut self,
        what: Option<&Arc<T>>,
        among: fn(&mut Known) -> &mut HashMap<Arc<T>, u32>,
        frame: fn(Arc<T>) -> Frame,
    ) -> Result<Option<u32>, RecordError> {
        let Some(what) = what else { return Ok(None) };
        if let Some(position) = among(&mut self.known).get(what) {
            return Ok(Some(*position));
        }
        self.frame(&bytes(&frame(Arc::clone(what))))?;
        let known = among(&mut self.known);
        let position = u32::try_from(known.len()).unwrap_or(u32::MAX);
        known.insert(Arc::clone(what), position);
        Ok(Some(position))
    }

    fn frame(&mut self, payload: &[u8]) -> Result<(), RecordError> {
        let Some(segment) = &mut self.segment else { return Ok(()) };
        let mut write = || {
            let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
            segment.file.write_all(&length.to_le_bytes())?;
            segment.file.write_all(&crc32fast::hash(payload).to_le_bytes())?;
            segment.file.write_all(payload)
        };
        write().map_err(at(&segment.path))?;
        segment.bytes += payload.len() as u64 + 8;
        Ok(())
    }

    fn begin(&mut self) -> Result<(), RecordError> {
        self.flush()?;
        self.segment = None;
        self.known = Known::default();
        self.make_room()?;
        let path = self.config.folder.join(format!("{:012}.rec", self.next));
        self.next += 1;
        let mut file = BufWriter::new(File::create(&path).map_err(at(&path))?);
        file.write_all(MAGIC).map_err(at(&path))?;
        self.segment = Some(Segment { file, path, bytes: MAGIC.len() as u64 });
        Ok(())
    }

    /// Removes the oldest segments until a full one fits in.
    fn make_room(&self) -> Result<(), RecordError> {
        let mut all = Vec::new();
        for (_, path) in segments(&self.config.folder)? {
            let bytes = fs::metadata(&path).map_err(at(&path))?.len();
            all.push((path, bytes));
        }
        let mut total: u64 = all.iter().map(|(_, bytes)| bytes).sum();
        for (path, bytes) in all {
            if total + self.config.segment_bytes() <= self.config.bytes_max {
                break;
            }
            fs::remove_file(&path).map_err(at(&path))?;
            total -= bytes;
        }
        Ok(())
    }
}

/// The segments of a folder, oldest first.
fn segments(folder: &Path) -> Result<Vec<(u64, PathBuf)>, RecordError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".rec"));
        if let Some(number) = name.and_then(|n| n.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Oldest first.
    pub(crate) asked: Vec<Asked>,
    /// Segments that end before they should; what stands before that is here.
    pub(crate) damaged: Vec<PathBuf>,
}

/// Reads the records of a folder that `wanted` accepts, oldest first.
///
/// # Errors
/// When the folder or a file cannot be read. Damage is no error: a power cut leaves some.
pub(crate) fn read(folder: &Path, wanted: &dyn Fn(&Asked) -> bool) -> Result<Records, RecordError> {
    let mut records = Records::default();
    for (_, path) in segments(folder)? {
        let file = File::open(&path).map_err(at(&path))?;
        if !read_segment(BufReader::new(file), wanted, &mut records.asked) {
            records.damaged.push(path);
        }
    }
    Ok(records)
}

/// Whether the segment is whole.
fn read_segment(
    mut file: impl Read,
    wanted: &dyn Fn(&Asked) -> bool,
    records: &mut Vec<Asked>,
) -> bool {
    let mut magic = [0; MAGIC.len()];
    if file.read_exact(&mut magic).is_err() || magic != *MAGIC {
        return false;
    }
    let mut columns: Vec<Arc<Column>> = Vec::new();
    let mut configured: Vec<Arc<str>> = Vec::new();
    let mut called: Vec<Arc<Names>> = Vec::new();
    let (mut limits, mut settings, mut names) = (OwnLimits::default(), None, None);
    loop {
        let payload = match frame(&mut file) {
            Ok(Some(payload)) => payload,
            Ok(None) => return true,
            Err(_) => return false,
        };
        match postcard::from_bytes(&payload) {
            Ok(Frame::Column(column)) => columns.push(column),
            Ok(Frame::Limits(own)) => limits = own,
            Ok(Frame::Settings(text)) => configured.push(text),
            Ok(Frame::Names(all)) => called.push(all),
            Ok(Frame::About { settings: configured_at, names: called_at }) => {
                settings = configured_at.and_then(|at| configured.get(at as usize)).map(Arc::clone);
                names = called_at.and_then(|at| called.get(at as usize)).map(Arc::clone);
            }
            Ok(Frame::Asked { mut asked, columns: shown }) => {
                asked.limits = std::mem::take(&mut limits);
                (asked.settings, asked.names) = (settings.take(), names.take());
                if !wanted(&asked) {
                    continue;
                }
                let find = |position: &u32| columns.get(*position as usize).map(Arc::clone);
                let mut seen = Seen::clone(&asked.seen);
                for (name, position) in &shown {
                    seen.columns.insert(name.clone(), position.as_ref().and_then(find));
                }
                asked.seen = Arc::new(seen);
                records.push(*asked);
            }
            Err(_) => return false,
        }
    }
}

/// The next frame's payload; nothing at the end.
fn frame(file: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 8];
    let got = file.read(&mut head)?;
    if got == 0 {
        return Ok(None);
    }
    file.read_exact(head.get_mut(got..).unwrap_or_default())?;
    let [a, b, c, d, e, f, g, h] = head;
    let (length, sum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    if length > FRAME_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut payload = Vec::new();
    file.take(length.into()).read_to_end(&mut payload)?;
    if payload.len() != length as usize || crc32fast::hash(&payload) != sum {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some(payload))
}
