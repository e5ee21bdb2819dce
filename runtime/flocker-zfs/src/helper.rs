//! Our side of the helper: started when it is first needed, and again after it ended. Answers find who waits for them.

use std::{
    collections::HashMap,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net,
    },
    path::{Path, PathBuf},
    pin::pin,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use flocker_system::command::command;
use flocker_zfs_wire::{Answer, Call, Failure, HEADER, Map, Outcome, Request, body_length, encode};
use tokio::{
    io::Interest,
    net::UnixStream,
    process::Child,
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Far above what any call here needs on a pool that works.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether the pool is suspended, while an answer is missing. Then none comes before somebody
/// brings the disk back.
const LOOK: Duration = Duration::from_secs(1);
/// Starting is opening one device.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallError {
    /// ZFS refused.
    Refused(Failure),
    /// The helper could not be started, ended, or does not answer. What it was asked may have happened.
    Unknown(String),
}

/// Who waits for which answer; `None` once nothing can be answered any more.
type Waiting = Mutex<Option<HashMap<u64, oneshot::Sender<Outcome>>>>;

/// The helper program.
#[derive(Debug)]
pub(crate) struct Helper {
    program: PathBuf,
    /// The pool that it is asked about.
    pool: String,
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
}

/// A helper that runs, or did.
#[derive(Debug)]
struct Link {
    requests: mpsc::UnboundedSender<(Vec<u8>, Option<OwnedFd>)>,
    waiting: Arc<Waiting>,
    next: AtomicU64,
    pid: Option<u32>,
}

impl Helper {
    pub(crate) fn new(program: PathBuf, pool: String) -> Self {
        Self { program, pool, link: tokio::sync::Mutex::default() }
    }

    /// Makes a call that ends by itself.
    pub(crate) async fn call(&self, call: Call) -> Result<Map, CallError> {
        let mut answer = pin!(self.begin(call, None).await?.wait());
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Ok(outcome) = timeout(LOOK, &mut answer).await {
                return outcome;
            }
            if self.is_suspended().await {
                return Err(CallError::Unknown(format!(
                    "the pool `{0}` is suspended: its disk does not take what is written\nhint: `zpool status {0}` says \
                     which one; once it is back, `zpool clear {0}`",
                    self.pool
                )));
            }
        }
        Err(CallError::Unknown(format!("no answer within {} s", PATIENCE.as_secs())))
    }

    /// Read where nothing waits for the pool.
    async fn is_suspended(&self) -> bool {
        let state = tokio::fs::read_to_string(format!("/proc/spl/kstat/zfs/{}/state", self.pool));
        state.await.is_ok_and(|state| state.trim() == "SUSPENDED")
    }

    /// Begins a call that lasts as long as its stream.
    pub(crate) async fn begin(
        &self,
        call: Call,
        pipe: Option<OwnedFd>,
    ) -> Result<Pending, CallError> {
        let link = self.link().await?;
        let id = link.next.fetch_add(1, Ordering::Relaxed);
        let bytes = encode(&Request { id, call }).map_err(|error| unknown(&error))?;
        let answer = link.expect(id);
        // One that ended meanwhile has no sender for the answer any more, which is found out by waiting for it.
        let _ = link.requests.send((bytes, pipe));
        Ok(Pending { answer, program: self.program.clone(), _link: link })
    }

    /// Starts it, or fails as every call would.
    pub(crate) async fn start(&self) -> Result<(), CallError> {
        self.link().await.map(drop)
    }

    /// The process, while one runs; for tests that end it.
    pub(crate) async fn pid(&self) -> Option<u32> {
        self.link.lock().await.as_ref().filter(|link| link.is_alive()).and_then(|link| link.pid)
    }

    async fn link(&self) -> Result<Arc<Link>, CallError> {
        let mut link = self.link.lock().await;
        if let Some(link) = link.as_ref().filter(|link| link.is_alive()) {
            return Ok(Arc::clone(link));
        }
        let started = Arc::new(start(&self.program).await?);
        *link = Some(Arc::clone(&started));
        Ok(started)
    }
}

/// An answer that is still to come.
#[derive(Debug)]
pub(crate) struct Pending {
    answer: oneshot::Receiver<Outcome>,
    program: PathBuf,
    _link: Arc<Link>,
}

impl Pending {
    pub(crate) async fn wait(self) -> Result<Map, CallError> {
        match self.answer.await {
            Ok(outcome) => outcome.map_err(CallError::Refused),
            Err(_) => {
                Err(CallError::Unknown(format!("`{}` ended in the middle", self.program.display())))
            }
        }
    }
}

impl Link {
    fn is_alive(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn expect(&self, id: u64) -> oneshot::Receiver<Outcome> {
        let (tell, answer) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = waiting.as_mut() {
            waiting.insert(id, tell);
        }
        answer
    }
}

fn unknown(error: &io::Error) -> CallError {
    CallError::Unknown(error.to_string())
}

async fn start(program: &Path) -> Result<Link, CallError> {
    let failed = |error: io::Error| {
        CallError::Unknown(format!("could not start `{}`: {error}", program.display()))
    };
    let (ours, theirs) = net::UnixStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let socket = Arc::new(UnixStream::from_std(ours).map_err(failed)?);
    let mut command = command(program);
    // What it complains of belongs to our own log.
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::inherit());
    let child = command.spawn().map_err(failed)?;
    // The command keeps their end open, and with it nothing would ever end.
    drop(command);
    let pid = child.id();
    let (requests, outgoing) = mpsc::unbounded_channel();
    let waiting: Arc<Waiting> = Arc::new(Mutex::new(Some(HashMap::new())));
    let link = Link { requests, waiting: Arc::clone(&waiting), next: AtomicU64::new(1), pid };
    let ready = link.expect(0);
    tokio::spawn(say(Arc::clone(&socket), outgoing));
    tokio::spawn(hear(socket, waiting, child));
    match timeout(START_PATIENCE, ready).await {
        Ok(Ok(Ok(_))) => Ok(link),
        Ok(Ok(Err(failure))) => Err(CallError::Refused(failure)),
        Ok(Err(_)) | Err(_) => Err(CallError::Unknown(format!(
            "`{}` ended when it was started\nhint: run it by hand; the libraries of ZFS may be missing",
            program.display()
        ))),
    }
}

/// Sends what is asked for, whole messages one after the other, until nobody can ask any more.
async fn say(
    socket: Arc<UnixStream>,
    mut outgoing: mpsc::UnboundedReceiver<(Vec<u8>, Option<OwnedFd>)>,
) {
    while let Some((bytes, pipe)) = outgoing.recv().await {
        let mut sent = 0;
        while sent < bytes.len() {
            let passed = pipe.as_ref().filter(|_| sent == 0).map(AsFd::as_fd);
            let send = || flocker_zfs_wire::send(&*socket, &bytes[sent..], passed);
            match socket.async_io(Interest::WRITABLE, send).await {
                Ok(n) => sent += n,
                // The other task hears of it too, and says so to all who wait.
                Err(_) => return,
            }
        }
    }
    // The helper ends at this, and the other task with it.
    let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Write);
}

/// Hands answers to those who wait for them, until the helper ends.
async fn hear(socket: Arc<UnixStream>, waiting: Arc<Waiting>, mut child: Child) {
    while let Ok(Some(body)) = next(&socket).await {
        let Ok(Answer { id, outcome }) = serde_json::from_slice(&body) else { break };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tell) = waiting.as_mut().and_then(|waiting| waiting.remove(&id)) {
            // Who asked may have gone.
            let _ = tell.send(outcome);
        }
    }
    // One that still runs has said what cannot be understood.
    let _ = child.start_kill();
    // Another one is started only once the kernel has ended what this one was in the middle of.
    let _ = child.wait().await;
    waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
}

async fn next(socket: &UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; HEADER];
    if !fill(socket, &mut header).await? {
        return Ok(None);
    }
    let mut body = vec![0; body_length(header)?];
    Ok(fill(socket, &mut body).await?.then_some(body))
}

/// Fills the buffer; false where the end came before.
async fn fill(socket: &UnixStream, bytes: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < bytes.len() {
        let part = &mut bytes[filled..];
        let receive = || flocker_zfs_wire::receive(socket, part);
        match socket.async_io(Interest::READABLE, receive).await?.0 {
            0 => return Ok(false),
            n => filled += n,
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exists() -> Call {
        Call::Exists { name: "tank".to_owned() }
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_named() {
        let helper = Helper::new("/nowhere/flocker-zfs-helper".into(), "tank".into());

        let Err(CallError::Unknown(reason)) = helper.call(exists()).await else { panic!() };

        assert!(reason.contains("/nowhere/flocker-zfs-helper"), "{reason}");
    }

    #[tokio::test]
    async fn a_helper_that_ends_at_once_is_no_wait() {
        let helper = Helper::new("/bin/true".into(), "tank".into());

        let Err(CallError::Unknown(reason)) = helper.call(exists()).await else { panic!() };

        assert!(reason.contains("ended when it was started"), "{reason}");
    }
}
