//! Calls libzfs_core for `flocker-zfs`: a program of its own, since one that is linked with it does not start without ZFS.
//!
//! Its standard input is a Unix socket to its parent, and it ends when that does. It decides nothing, and is the only
//! code for ZFS with `unsafe`.

mod calls;
mod list;
mod token;

use std::{os::unix::net::UnixStream, process::ExitCode};

use flocker_zfs_wire::{Failure, Map, serve};

fn main() -> ExitCode {
    let socket = match rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3) {
        Ok(descriptor) => UnixStream::from(descriptor),
        Err(error) => return complain(&error.to_string()),
    };
    if socket.local_addr().is_err() {
        return complain("it is started by `flocker-runtime`, with a socket as its standard input");
    }
    // Once, before there are threads; it opens /dev/zfs.
    let ready = match calls::init() {
        0 => Ok(Map::new()),
        errno => Err(Failure::of(errno)),
    };
    match serve(&socket, ready, |call, pipe| calls::run(call, pipe.as_ref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string()),
    }
}

fn complain(what: &str) -> ExitCode {
    eprintln!("flocker-zfs-helper: {what}");
    ExitCode::FAILURE
}
