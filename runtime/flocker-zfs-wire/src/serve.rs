//! The helper's side: reads requests, works on each in a thread of its own, answers, and ends when the other side does.

use std::{
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustix::io::Errno;
use serde::Deserialize;

use crate::{
    Answer, Call, Failure, Outcome, Request,
    frame::{HEADER, body_length, encode, receive},
};

/// Calls at work at once. Far above what a node asks for; each is a thread that mostly waits for the kernel.
const CALLS_MAX: usize = 1024;

/// Of a request that cannot be understood, the number may still be.
#[derive(Deserialize)]
struct Numbered {
    id: u64,
}

/// Answers requests until the other side closes the socket, whatever is under way then. `ready` is said first.
///
/// # Errors
/// When the socket fails, or is sent what no request can follow.
pub fn serve<H>(socket: &UnixStream, ready: Outcome, handler: H) -> io::Result<()>
where
    H: Fn(Call, Option<OwnedFd>) -> Outcome + Send + Sync + 'static,
{
    let writer = Arc::new(Mutex::new(socket.try_clone()?));
    let (handler, n_calls) = (Arc::new(handler), Arc::new(AtomicUsize::new(0)));
    answer(&writer, 0, ready);
    while let Some((body, passed)) = next(socket)? {
        let request = match serde_json::from_slice::<Request>(&body) {
            Ok(request) => request,
            Err(error) => {
                let id = serde_json::from_slice::<Numbered>(&body).map_or(0, |known| known.id);
                let refusal = Failure::saying(Errno::INVAL.raw_os_error(), error.to_string());
                answer(&writer, id, Err(refusal));
                continue;
            }
        };
        if n_calls.fetch_add(1, Ordering::Relaxed) >= CALLS_MAX {
            n_calls.fetch_sub(1, Ordering::Relaxed);
            answer(&writer, request.id, Err(Failure::of(Errno::AGAIN.raw_os_error())));
            continue;
        }
        let (handler, n_calls) = (Arc::clone(&handler), Arc::clone(&n_calls));
        let answers = Arc::clone(&writer);
        let id = request.id;
        let started = thread::Builder::new().spawn(move || {
            // Somebody waits for the answer, whatever becomes of the call.
            let outcome = catch_unwind(AssertUnwindSafe(|| handler(request.call, passed)));
            let broken = |_| Err(Failure::saying(Errno::IO.raw_os_error(), "the helper panicked"));
            answer(&answers, request.id, outcome.unwrap_or_else(broken));
            n_calls.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = started {
            answer(&writer, id, Err(Failure::of(error.raw_os_error().unwrap_or_default())));
        }
    }
    Ok(())
}

/// Whoever waits for an answer that cannot be written is gone: the next read says so.
fn answer(writer: &Mutex<UnixStream>, id: u64, outcome: Outcome) {
    let too_long = |error: io::Error| {
        encode(&Answer {
            id,
            outcome: Err(Failure::saying(Errno::OVERFLOW.raw_os_error(), error.to_string())),
        })
    };
    if let Ok(bytes) = encode(&Answer { id, outcome }).or_else(too_long) {
        let _ = writer.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes);
    }
}

/// The next request, with its descriptor; `None` at the end.
fn next(socket: &UnixStream) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut header = [0; HEADER];
    let mut passed = None;
    if !fill(socket, &mut header, &mut passed)? {
        return Ok(None);
    }
    let mut body = vec![0; body_length(header)?];
    Ok(fill(socket, &mut body, &mut passed)?.then_some((body, passed)))
}

/// Fills the buffer; false where the end came before.
fn fill(socket: impl AsFd, mut bytes: &mut [u8], passed: &mut Option<OwnedFd>) -> io::Result<bool> {
    while !bytes.is_empty() {
        match receive(&socket, bytes) {
            Ok((0, _)) => return Ok(false),
            Ok((n, descriptor)) => {
                *passed = descriptor.or(passed.take());
                bytes = &mut bytes[n..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read, sync::mpsc};

    use super::*;
    use crate::{Map, Value, frame};

    /// A helper that pretends: its answers, and how it ended.
    struct Pretend {
        socket: UnixStream,
        ended: mpsc::Receiver<bool>,
    }

    impl Pretend {
        fn new(handler: fn(Call, Option<OwnedFd>) -> Outcome) -> Self {
            let (socket, theirs) = UnixStream::pair().unwrap();
            let (tell, ended) = mpsc::channel();
            thread::spawn(move || tell.send(serve(&theirs, Ok(Map::new()), handler).is_ok()));
            let pretend = Self { socket, ended };
            assert_eq!(pretend.hear(), Answer { id: 0, outcome: Ok(Map::new()) });
            pretend
        }

        fn say(&self, id: u64, call: Call, passed: Option<OwnedFd>) {
            let bytes = encode(&Request { id, call }).unwrap();
            let n = frame::send(&self.socket, &bytes, passed.as_ref().map(AsFd::as_fd)).unwrap();
            assert_eq!(n, bytes.len());
        }

        fn hear(&self) -> Answer {
            let (body, _) = next(&self.socket).unwrap().unwrap();
            serde_json::from_slice(&body).unwrap()
        }
    }

    fn exists(name: &str) -> Call {
        Call::Exists { name: name.to_owned() }
    }

    fn echo(call: Call, passed: Option<OwnedFd>) -> Outcome {
        if let Call::Exists { name } = call {
            assert_ne!(name, "panic", "as asked");
            return Ok(Map::from([("name".to_owned(), Value::Text(name))]));
        }
        if let Call::Send { snapshot, .. } = call {
            let mut pipe = std::fs::File::from(passed.ok_or_else(|| Failure::of(9))?);
            pipe.write_all(snapshot.as_bytes()).map_err(|_| Failure::of(32))?;
            return Ok(Map::new());
        }
        Err(Failure {
            errno: 2,
            objects: BTreeMap::from([("tank/a@b".to_owned(), 17)]),
            message: Some(format!("{call:?}").chars().take(7).collect()),
        })
    }

    #[test]
    fn failures_come_back_with_their_objects() {
        let pretend = Pretend::new(echo);

        pretend.say(7, Call::Destroy { name: "tank".to_owned() }, None);

        let failure = pretend.hear().outcome.unwrap_err();
        assert_eq!((failure.errno, failure.objects["tank/a@b"]), (2, 17));
        assert_eq!(failure.message.as_deref(), Some("Destroy"));
    }

    #[test]
    fn a_stream_goes_through_the_pipe_that_came_with_the_request() {
        let pretend = Pretend::new(echo);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let flags = crate::SendFlags::default();
        let send = Call::Send { snapshot: "tank/a@b".to_owned(), base: None, flags, resume: None };

        pretend.say(1, send.clone(), Some(writer.into()));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();

        assert_eq!(text, "tank/a@b");
        assert!(pretend.hear().outcome.is_ok());
        pretend.say(2, send, None);
        assert_eq!(pretend.hear().outcome.unwrap_err().errno, 9, "no pipe came with this one");
    }

    #[test]
    fn nonsense_is_refused_and_the_next_request_served() {
        let pretend = Pretend::new(echo);
        let deep = "[".repeat(100_000);
        let calls = [r#"{"id":3,"call":{"Bang":{}}}"#, r#"{"id":4}"#, "", deep.as_str()];

        for (text, id) in calls.into_iter().zip([3, 4, 0, 0]) {
            let mut bytes = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
            bytes.extend_from_slice(text.as_bytes());
            (&pretend.socket).write_all(&bytes).unwrap();
            let answer = pretend.hear();
            assert_eq!(answer.id, id);
            assert_eq!(answer.outcome.unwrap_err().errno, Errno::INVAL.raw_os_error());
        }
        pretend.say(5, exists("tank"), None);

        assert_eq!(pretend.hear().id, 5);
    }

    #[test]
    fn a_call_that_panics_is_answered() {
        let pretend = Pretend::new(echo);

        pretend.say(1, exists("panic"), None);

        assert_eq!(pretend.hear().outcome.unwrap_err().errno, Errno::IO.raw_os_error());
        pretend.say(2, exists("tank"), None);
        assert!(pretend.hear().outcome.is_ok());
    }

    #[test]
    fn it_ends_when_the_other_side_does() {
        for part in [&[][..], &[9, 0], &[9, 0, 0, 0, b'{']] {
            let Pretend { socket, ended } = Pretend::new(echo);
            (&socket).write_all(part).unwrap();
            drop(socket);
            assert!(ended.recv().unwrap());
        }
    }

    #[test]
    fn a_length_beyond_all_reason_ends_it() {
        let pretend = Pretend::new(echo);

        (&pretend.socket).write_all(&[0xff; HEADER]).unwrap();

        assert!(!pretend.ended.recv().unwrap());
    }
}
