//! What the array keeps: `state.json`, replaced whole, and a file for each disk.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Answer;

/// What the array has, in bytes, as far as it tells others.
const TOTAL: u64 = 64 << 30;
const BLOCK: u64 = 4096;

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    volumes: BTreeMap<String, Volume>,
    disks: BTreeMap<String, Disk>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Volume {
    epoch: u64,
    revision: u64,
    document: Value,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Disk {
    volume: String,
    op: String,
    size: u64,
    created_ms: u64,
}

/// A folder with disks.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    state: Mutex<State>,
}

impl Shelf {
    /// Opens a folder, which may hold what an earlier one left.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("disks"))?;
        let state = match fs::read(folder.join("state.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { folder: folder.to_owned(), state: Mutex::new(state) })
    }

    /// Takes away the devices of an array in this folder, for whoever ends it for good.
    ///
    /// # Errors
    /// The system refused.
    pub fn detach_all(folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder.join("disks"))? {
            detach(&entry?.path())?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, state: &State) -> Result<()> {
        let (path, new) = (self.folder.join("state.json"), self.folder.join("state.new"));
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        file.sync_all()?;
        fs::rename(new, path)?;
        Ok(File::open(&self.folder)?.sync_all()?)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join("disks").join(id)
    }

    pub(crate) fn capacity(&self) -> Result<Answer> {
        let used: u64 = self.lock().disks.values().map(|disk| disk.size).sum();
        ok(json!({ "total": TOTAL, "free": TOTAL.saturating_sub(used) }))
    }

    pub(crate) fn volumes(&self, after: &str, limit: u64) -> Answer {
        let state = self.lock();
        let listed = state.volumes.iter().filter(|(name, _)| name.as_str() > after);
        let listed =
            listed.map(|(name, volume)| json!({ "name": name, "document": volume.document }));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        (StatusCode::OK, listed.take(limit).collect())
    }

    pub(crate) fn volume(&self, name: &str) -> Answer {
        match self.lock().volumes.get(name) {
            Some(volume) => (
                StatusCode::OK,
                json!({ "epoch": volume.epoch, "revision": volume.revision, "document": volume.document }),
            ),
            None => none(),
        }
    }

    /// Refuses whoever is late: an older epoch, or a document that was changed since it was read.
    pub(crate) fn put(&self, name: &str, body: &Value) -> Result<Answer> {
        let (epoch, revision) = (int(body, "epoch")?, int(body, "revision")?);
        let mut state = self.lock();
        if let Some(refused) = late(state.volumes.get(name), epoch, revision) {
            return Ok(refused);
        }
        let revision = revision + 1;
        let volume = Volume { epoch, revision, document: body["document"].clone() };
        state.volumes.insert(name.to_owned(), volume);
        self.save(&state)?;
        ok(json!({ "revision": revision }))
    }

    pub(crate) fn remove(&self, name: &str, epoch: u64, revision: u64) -> Result<Answer> {
        let mut state = self.lock();
        if let Some(refused) = late(state.volumes.get(name), epoch, revision) {
            return Ok(refused);
        }
        state.volumes.remove(name);
        self.save(&state)?;
        ok(Value::Null)
    }

    pub(crate) fn disks(&self, volume: &str) -> Answer {
        let state = self.lock();
        let of_it = state.disks.iter().filter(|(_, disk)| disk.volume == volume);
        (StatusCode::OK, of_it.map(|(id, _)| json!(id)).collect())
    }

    /// The file first: what `state.json` names is whole.
    pub(crate) fn make(&self, body: &Value) -> Result<Answer> {
        let (op, volume) = (text(body, "op")?, text(body, "volume")?);
        let mut state = self.lock();
        let made = state.disks.iter().find(|(_, disk)| disk.op == op && disk.volume == volume);
        if let Some((id, disk)) = made {
            return ok(json!({ "id": id, "created_ms": disk.created_ms }));
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        let file = self.file(&id);
        let size = match body["from"].as_str() {
            Some(from) => {
                let Some(source) = state.disks.get(from) else { return Ok(none()) };
                run(Command::new("cp")
                    .args(["--reflink=auto", "--sparse=always"])
                    .arg(self.file(from))
                    .arg(&file))?;
                source.size
            }
            None => int(body, "size")?.next_multiple_of(BLOCK),
        };
        let opened = File::options().create(true).truncate(false).write(true).open(&file)?;
        opened.set_len(size)?;
        opened.sync_all()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let created_ms = u64::try_from(now.as_millis())?;
        state.disks.insert(id.clone(), Disk { volume, op, size, created_ms });
        self.save(&state)?;
        ok(json!({ "id": id, "created_ms": created_ms }))
    }

    pub(crate) fn resize(&self, id: &str, body: &Value) -> Result<Answer> {
        let size = int(body, "size")?.next_multiple_of(BLOCK);
        let mut state = self.lock();
        let Some(disk) = state.disks.get_mut(id) else { return Ok(none()) };
        if size < disk.size {
            return Ok((StatusCode::BAD_REQUEST, json!({ "error": "a disk does not shrink" })));
        }
        disk.size = size;
        let file = self.file(id);
        File::options().write(true).open(&file)?.set_len(size)?;
        if let Some((device, _)) = attached(&file)? {
            run(Command::new("losetup").arg("--set-capacity").arg(device))?;
        }
        self.save(&state)?;
        ok(Value::Null)
    }

    pub(crate) fn discard(&self, id: &str) -> Result<Answer> {
        let mut state = self.lock();
        if state.disks.remove(id).is_none() {
            return Ok(none());
        }
        self.save(&state)?;
        detach(&self.file(id))?;
        fs::remove_file(self.file(id))?;
        ok(Value::Null)
    }

    /// A disk has one device; one that lets write becomes one that does not, and back.
    pub(crate) fn attach(&self, id: &str, body: &Value) -> Result<Answer> {
        let read_only = body["read_only"].as_bool().unwrap_or(false);
        let state = self.lock();
        if !state.disks.contains_key(id) {
            return Ok(none());
        }
        let file = self.file(id);
        if let Some((device, is_read_only)) = attached(&file)? {
            if is_read_only == read_only {
                return ok(json!({ "device": device }));
            }
            detach(&file)?;
        }
        let mut command = Command::new("losetup");
        command.args(["--find", "--show"]);
        if read_only {
            command.arg("--read-only");
        }
        ok(json!({ "device": run(command.arg(&file))?.trim() }))
    }
}

fn late(found: Option<&Volume>, epoch: u64, revision: u64) -> Option<Answer> {
    let (newest, now) = found.map_or((0, 0), |volume| (volume.epoch, volume.revision));
    if epoch < newest {
        let error = format!("it is at epoch {newest}, asked for was {epoch}");
        return Some((StatusCode::CONFLICT, json!({ "error": error })));
    }
    (revision != now).then(|| {
        (StatusCode::PRECONDITION_FAILED, json!({ "error": "somebody else changed it meanwhile" }))
    })
}

fn ok(document: Value) -> Result<Answer> {
    Ok((StatusCode::OK, document))
}

fn none() -> Answer {
    (StatusCode::NOT_FOUND, json!({ "error": "there is no such thing" }))
}

fn int(body: &Value, key: &str) -> Result<u64> {
    body[key].as_u64().with_context(|| format!("`{key}` is missing, or no number"))
}

fn text(body: &Value, key: &str) -> Result<String> {
    let found = body[key].as_str().with_context(|| format!("`{key}` is missing, or no text"))?;
    Ok(found.to_owned())
}

/// The device of a file, and whether it is read-only.
fn attached(file: &Path) -> Result<Option<(String, bool)>> {
    let mut command = Command::new("losetup");
    command.args(["--list", "--noheadings", "--raw", "--output", "NAME,RO", "--associated"]);
    let listed = run(command.arg(file))?;
    let first = listed.lines().next().and_then(|line| line.split_once(' '));
    Ok(first.map(|(name, read_only)| (name.to_owned(), read_only.trim() == "1")))
}

fn detach(file: &Path) -> Result<()> {
    match attached(file)? {
        Some((device, _)) => run(Command::new("losetup").arg("--detach").arg(device)).map(drop),
        None => Ok(()),
    }
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("could not run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
