//! What a node was told about each app, on its own disk: it must know at its next start, also without the leader.
//!
//! One line per change, with a checksum, synced before the change has an effect. The last line for an app counts. A
//! torn last line is the trace of a crash in the middle of a write that nobody was told about, and is cut off; damage
//! anywhere else is an error that names the line.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use flocker_model::{AppName, Epoch, OperationId, Revision, VolumeId};
use flocker_ports::{AttachOrder, VolumeEpoch};
use serde::{Deserialize, Serialize};

/// The file is written anew when it holds so many times more lines than there are apps.
const COMPACT_FACTOR: usize = 64;

/// Apps that are gone are remembered, so that no late order brings them back; of those, the ones that went last.
const GONE_MAX: usize = 1000;

/// What a node was told about an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The epoch under which it was told.
    pub epoch: Epoch,
    /// The revision of the records that led to what it was told.
    pub revision: Revision,
    /// The operation that told it last.
    pub operation: OperationId,
    /// What it is to do.
    pub mode: Mode,
    /// The app, as it was deployed.
    pub manifest: String,
    /// Its volumes; known once it was started.
    pub volumes: Vec<AttachOrder>,
}

/// What a node is to do with an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Have the containers ready, gated.
    Prepared,
    /// Run it, and run it again when it ends.
    Running,
    /// Keep it stopped.
    Stopped,
    /// Nothing any more; the epoch is remembered.
    Gone,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk said no.
    #[error("could not {action} the journal `{path}`")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is damaged.
    #[error(
        "the journal `{path}` is damaged in line {line}: {reason}\nhint: it was left as it is; move it away to start without it: containers and volumes stay, and the leader has the apps of this node looked after again"
    )]
    Damaged { path: PathBuf, line: usize, reason: String },
}

/// The journal of one node.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
    assignments: BTreeMap<AppName, Assignment>,
    /// After a failed write nobody knows what is on the disk; the next use opens the file anew.
    doubtful: bool,
}

#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    app: String,
    epoch: u64,
    #[serde(default)]
    revision: u64,
    operation: String,
    mode: Mode,
    manifest: String,
    volumes: Vec<LineVolume>,
}

#[derive(Serialize, Deserialize)]
struct LineVolume {
    id: String,
    epoch: u64,
    key: String,
}

impl Journal {
    /// Opens the journal, or begins one.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when a line other than a torn last one cannot be read.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let io = |action| move |source| JournalError::Io { action, path: path.to_owned(), source };
        let options = OpenOptions::new().read(true).append(true).create(true).clone();
        let mut file = options.open(path).map_err(io("open"))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(io("read"))?;
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let mut assignments = BTreeMap::new();
        let mut lines = 0;
        for line in text[..whole].split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            lines += 1;
            let damaged =
                |reason| JournalError::Damaged { path: path.to_owned(), line: lines, reason };
            let (app, assignment) = decode(line).map_err(damaged)?;
            assignments.insert(app, assignment);
        }
        if whole < text.len() {
            file.set_len(whole as u64).map_err(io("cut the torn end off"))?;
            file.seek(SeekFrom::End(0)).map_err(io("read"))?;
        }
        sync_folder(path).map_err(io("open"))?;
        Ok(Self { path: path.to_owned(), file, lines, assignments, doubtful: false })
    }

    /// What the node was told about each app.
    #[must_use]
    pub fn assignments(&self) -> &BTreeMap<AppName, Assignment> {
        &self.assignments
    }

    /// Writes down what the node was told. It is on the disk when this returns.
    ///
    /// # Errors
    /// When the disk said no; the assignment is then as it was before.
    pub fn record(&mut self, app: &AppName, assignment: Assignment) -> Result<(), JournalError> {
        self.trust()?;
        if self.assignments.get(app) == Some(&assignment) {
            return Ok(());
        }
        let io = |source| JournalError::Io { action: "write", path: self.path.clone(), source };
        let line = encode(app, &assignment).map_err(io)?;
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(e) = written {
            self.doubtful = true;
            return Err(io(e));
        }
        self.assignments.insert(app.clone(), assignment);
        self.lines += 1;
        let gone = self.assignments.values().filter(|a| a.mode == Mode::Gone).count();
        if self.lines > COMPACT_FACTOR * (self.assignments.len() + 1) || gone > 2 * GONE_MAX {
            self.rewrite()?;
        }
        Ok(())
    }

    /// After a failed write, what counts is what the disk says.
    fn trust(&mut self) -> Result<(), JournalError> {
        if self.doubtful {
            *self = Self::open(&self.path)?;
        }
        Ok(())
    }

    fn forget_long_gone(&mut self) {
        let gone = self.assignments.iter().filter(|(_, a)| a.mode == Mode::Gone);
        let mut gone: Vec<_> = gone.map(|(app, a)| (a.revision, app.clone())).collect();
        gone.sort_unstable();
        let surplus = gone.len().saturating_sub(GONE_MAX);
        for (_, app) in gone.into_iter().take(surplus) {
            self.assignments.remove(&app);
        }
    }

    /// Writes a new file with one line per app, and puts it in the place of the old one.
    fn rewrite(&mut self) -> Result<(), JournalError> {
        self.doubtful = true;
        self.forget_long_gone();
        let beside = self.path.with_extension("new");
        let io = |source| JournalError::Io { action: "rewrite", path: self.path.clone(), source };
        let mut file = File::create(&beside).map_err(io)?;
        for (app, assignment) in &self.assignments {
            let line = encode(app, assignment).map_err(io)?;
            file.write_all(&line).map_err(io)?;
        }
        file.sync_data().map_err(io)?;
        std::fs::rename(&beside, &self.path).and_then(|()| sync_folder(&self.path)).map_err(io)?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn encode(app: &AppName, assignment: &Assignment) -> io::Result<Vec<u8>> {
    let volume = |v: &AttachOrder| LineVolume {
        id: v.volume.id.to_string(),
        epoch: v.volume.epoch.0,
        key: v.key.clone(),
    };
    let line = Line {
        v: 1,
        app: app.to_string(),
        epoch: assignment.epoch.0,
        revision: assignment.revision.0,
        operation: assignment.operation.to_string(),
        mode: assignment.mode,
        manifest: assignment.manifest.clone(),
        volumes: assignment.volumes.iter().map(volume).collect(),
    };
    let json = serde_json::to_vec(&line)?;
    let mut bytes = blake3::hash(&json).to_hex().as_bytes()[..16].to_vec();
    bytes.push(b' ');
    bytes.extend(json);
    bytes.push(b'\n');
    Ok(bytes)
}

fn decode(line: &[u8]) -> Result<(AppName, Assignment), String> {
    let (sum, json) = line.split_at_checked(17).ok_or("it is too short")?;
    if blake3::hash(json).to_hex().as_bytes()[..16] != sum[..16] {
        return Err("its checksum is wrong".to_owned());
    }
    let line: Line = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    if line.v > 1 {
        return Err(format!("it was written by a newer flocker-runtime (version {})", line.v));
    }
    let volume = |v: LineVolume| {
        let id = VolumeId::new(v.id).map_err(|e| e.to_string())?;
        Ok::<_, String>(AttachOrder {
            volume: VolumeEpoch { id, epoch: Epoch(v.epoch) },
            key: v.key,
        })
    };
    let assignment = Assignment {
        epoch: Epoch(line.epoch),
        revision: Revision(line.revision),
        operation: OperationId::new(line.operation).map_err(|e| e.to_string())?,
        mode: line.mode,
        manifest: line.manifest,
        volumes: line.volumes.into_iter().map(volume).collect::<Result<_, _>>()?,
    };
    Ok((AppName::new(line.app).map_err(|e| e.to_string())?, assignment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(epoch: u64, mode: Mode) -> Assignment {
        Assignment {
            epoch: Epoch(epoch),
            revision: Revision(epoch + 7),
            operation: OperationId::new("op-1").unwrap(),
            mode,
            manifest: "services: {}\n".to_owned(),
            volumes: vec![AttachOrder {
                volume: VolumeEpoch { id: VolumeId::new("v-1").unwrap(), epoch: Epoch(2) },
                key: "data".to_owned(),
            }],
        }
    }

    fn app() -> AppName {
        AppName::new("shop").unwrap()
    }

    #[test]
    fn what_was_recorded_is_there_after_a_restart_and_the_last_word_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.record(&app(), assignment(1, Mode::Prepared)).unwrap();
        journal.record(&app(), assignment(1, Mode::Running)).unwrap();

        let again = Journal::open(&path).unwrap();

        assert_eq!(again.assignments()[&app()], assignment(1, Mode::Running));
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_journal_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        Journal::open(&path).unwrap().record(&app(), assignment(1, Mode::Running)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let second = encode(&app(), &assignment(2, Mode::Stopped)).unwrap();

        for torn in 1..second.len() {
            std::fs::write(&path, [&whole[..], &second[..torn]].concat()).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            assert_eq!(
                journal.assignments()[&app()],
                assignment(1, Mode::Running),
                "torn at {torn}"
            );
            journal.record(&app(), assignment(3, Mode::Gone)).unwrap();
            assert_eq!(
                Journal::open(&path).unwrap().assignments()[&app()],
                assignment(3, Mode::Gone)
            );
        }
    }

    #[test]
    fn damage_in_the_middle_names_the_line_and_leaves_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.record(&app(), assignment(1, Mode::Running)).unwrap();
        journal.record(&app(), assignment(2, Mode::Running)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();

        let refused = Journal::open(&path);

        assert!(matches!(refused, Err(JournalError::Damaged { line: 1, .. })), "got {refused:?}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        for epoch in 0..1000 {
            journal.record(&app(), assignment(epoch, Mode::Running)).unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() < 60_000);
        assert_eq!(Journal::open(&path).unwrap().assignments()[&app()].epoch, Epoch(999));
    }

    #[test]
    fn apps_that_are_gone_are_remembered_but_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        let app = |n: u64| AppName::new(format!("app-{n}")).unwrap();
        journal.record(&app(0), assignment(1, Mode::Running)).unwrap();
        journal.assignments.extend((1..=2000).map(|n| (app(n), assignment(n, Mode::Gone))));

        journal.record(&app(2001), assignment(2001, Mode::Gone)).unwrap();

        let kept = Journal::open(&path).unwrap();
        let kept = kept.assignments();
        assert_eq!(kept.len(), 1001);
        assert!(kept.contains_key(&app(0)) && kept.contains_key(&app(2001)));
        assert!(!kept.contains_key(&app(1001)) && kept.contains_key(&app(1002)));
    }
}
