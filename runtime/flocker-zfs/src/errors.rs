//! What a failed call meant, in the words of the port.

use std::io;

use flocker_model::VolumeId;
use flocker_ports::BackendError;
use flocker_zfs_wire::Failure;
use rustix::io::Errno;

use crate::helper::CallError;

/// A call about one volume, for people and for the errors that name one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// "could not …".
    pub(crate) action: &'a str,
    pub(crate) volume: &'a VolumeId,
    pub(crate) pool: &'a str,
}

impl About<'_> {
    /// What a failed call meant.
    pub(crate) fn explain(&self, error: CallError) -> BackendError {
        match error {
            CallError::Unknown(reason) => self.failed(reason),
            CallError::Refused(failure) => self.refused(&failure),
        }
    }

    fn refused(&self, failure: &Failure) -> BackendError {
        match Errno::from_raw_os_error(failure.errno) {
            Errno::NOSPC | Errno::DQUOT => BackendError::PoolFull { pool: self.pool.to_owned() },
            Errno::BUSY => {
                // A mount that was taken away from under a process of another namespace is listed nowhere any more.
                let holder = format!(
                    "`{}/{}`: {}\nhint: a process still uses its files, perhaps in a container; end it, and ask again",
                    self.pool,
                    self.volume,
                    describe(failure)
                );
                BackendError::Busy { volume: self.volume.clone(), holder }
            }
            _ => self.failed(describe(failure)),
        }
    }

    pub(crate) fn failed(&self, reason: String) -> BackendError {
        BackendError::Failed { action: format!("{} volume `{}`", self.action, self.volume), reason }
    }

    /// What a failed receive meant. Everything else that can be wrong with a pool is wrong before the first byte.
    pub(crate) fn explain_receive(&self, error: CallError) -> BackendError {
        let CallError::Refused(failure) = error else { return self.explain(error) };
        match Errno::from_raw_os_error(failure.errno) {
            Errno::NOSPC
            | Errno::DQUOT
            | Errno::BUSY
            | Errno::NXIO
            | Errno::ROFS
            | Errno::AGAIN => self.refused(&failure),
            // Somebody wrote to the replica.
            Errno::TXTBSY => BackendError::Diverged {
                volume: self.volume.clone(),
                expected: "its newest snapshot".to_owned(),
                found: "writes after it".to_owned(),
            },
            _ => BackendError::CorruptStream { reason: describe(&failure) },
        }
    }
}

/// A system call on `path` failed.
pub(crate) fn io_failure(action: &str, path: &std::path::Path, error: &io::Error) -> BackendError {
    let hint = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ACCESS) => {
            "\nhint: the key of an encrypted dataset is loaded with `zfs load-key`"
        }
        Some(_) | None => "",
    };
    BackendError::Failed {
        action: action.to_owned(),
        reason: format!("`{}`: {error}{hint}", path.display()),
    }
}

/// Why ZFS refused, for people.
pub(crate) fn describe(failure: &Failure) -> String {
    let mut text = match failure.errno {
        // ZFS gives a number of the system another meaning, and has some of its own.
        30 => "the pool is read-only\nhint: export it, and import it without `-o readonly=on`"
            .to_owned(),
        52 => "a checksum does not match".to_owned(),
        1035 | 1034 => "a raw stream and its base do not belong together".to_owned(),
        1037 => "the stream needs a feature that this ZFS does not have".to_owned(),
        1040 => "the stream ends too early".to_owned(),
        errno => io::Error::from_raw_os_error(errno).to_string(),
    };
    if let Some(message) = &failure.message {
        text = format!("{text}: {message}");
    }
    for (name, errno) in failure.objects.iter().take(3) {
        text = format!("{text}; `{name}`: {}", io::Error::from_raw_os_error(*errno));
    }
    text
}

/// Why ZFS is not there, for people.
pub(crate) fn why_no_zfs(error: &CallError) -> String {
    match error {
        CallError::Unknown(reason) => reason.clone(),
        CallError::Refused(failure) => {
            format!("{}\nhint: load the kernel's module with `modprobe zfs`", describe(failure))
        }
    }
}
