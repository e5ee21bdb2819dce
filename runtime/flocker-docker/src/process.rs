//! The first process of a container, as the kernel sees it. Its end is seen here some time before Docker tells of it.

use std::{fs, io, os::fd::OwnedFd, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{Interest, unix::AsyncFd};

/// A handle that means this process and none that gets its number later.
#[derive(Debug)]
pub(crate) struct Process {
    handle: AsyncFd<OwnedFd>,
}

impl Process {
    /// The process of this number, when it belongs to the container; `None` when it is gone.
    pub(crate) fn open(pid: i32, container: &str) -> io::Result<Option<Self>> {
        let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
        let handle = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Between Docker's answer and our handle the number may have gone to someone else, whom we would kill.
        match fs::read_to_string(format!("/proc/{pid}/cgroup")) {
            Ok(groups) if groups.contains(container) => {
                #[expect(
                    deprecated,
                    reason = "its successor is unsafe, for types that change their descriptor; an `OwnedFd` does not"
                )]
                let handle = AsyncFd::with_interest(handle, Interest::READABLE)?;
                Ok(Some(Self { handle }))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a signal; a process that has ended does not mind.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.handle.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it has ended, and with it everything in the container: the kernel kills the rest of a container
    /// before it reports the end of its first process, and lets go of its mounts.
    pub(crate) async fn ended(&self, limit: Duration) -> io::Result<bool> {
        match tokio::time::timeout(limit, self.handle.readable()).await {
            Ok(readable) => readable.map(|_| true),
            Err(_) => Ok(false),
        }
    }
}

/// The signal that an image wants to be stopped with: a name or a number. `None` for the rare ones without a name here,
/// which only Docker can send.
pub(crate) fn stop_signal(text: &str) -> Option<Signal> {
    let upper = text.trim().to_ascii_uppercase();
    match upper.strip_prefix("SIG").unwrap_or(&upper) {
        "" | "TERM" => Some(Signal::TERM),
        "INT" => Some(Signal::INT),
        "QUIT" => Some(Signal::QUIT),
        "HUP" => Some(Signal::HUP),
        "KILL" => Some(Signal::KILL),
        "USR1" => Some(Signal::USR1),
        "USR2" => Some(Signal::USR2),
        "WINCH" => Some(Signal::WINCH),
        "ABRT" => Some(Signal::ABORT),
        number => Signal::from_named_raw(number.parse().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals_are_read_as_images_write_them() {
        for (text, signal) in [
            ("", Some(Signal::TERM)),
            ("SIGTERM", Some(Signal::TERM)),
            ("sigquit", Some(Signal::QUIT)),
            ("INT", Some(Signal::INT)),
            ("3", Some(Signal::QUIT)),
            ("SIGRTMIN+3", None),
            ("37", None),
        ] {
            assert_eq!(stop_signal(text), signal, "{text}");
        }
    }

    #[tokio::test]
    async fn a_process_outside_the_container_is_never_touched() {
        let own = i32::try_from(std::process::id()).unwrap();

        let opened = Process::open(own, "no-such-container").unwrap();

        assert!(opened.is_none());
    }
}
