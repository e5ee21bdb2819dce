//! Messages on a Unix socket: a length and JSON, with at most one file descriptor beside the first byte.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;

/// The bytes of the length.
pub const HEADER: usize = 4;

/// A listing of a hundred thousand snapshots fits; a length that went mad does not fill the memory.
pub const FRAME_MAX: usize = 64 << 20;

/// A message as it crosses.
///
/// # Errors
/// When it is longer than [`FRAME_MAX`].
pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - HEADER;
    if length > FRAME_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes is too long")));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    bytes[..HEADER].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// How long the message after this header is.
///
/// # Errors
/// When it is longer than any message may be: then nothing that follows can be understood either.
pub fn body_length(header: [u8; HEADER]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_le_bytes(header)).map_err(io::Error::other)?;
    if length > FRAME_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes was announced")));
    }
    Ok(length)
}

/// Sends some of `bytes`, and the descriptor beside the first of them. Answers how many went.
///
/// # Errors
/// What the socket says.
pub fn send(socket: impl AsFd, bytes: &[u8], passed: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = passed.as_ref().map(std::slice::from_ref);
    if let Some(descriptors) = descriptors
        && !control.push(SendAncillaryMessage::ScmRights(descriptors))
    {
        return Err(io::Error::other("there is no room for a descriptor"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Receives some bytes, and the descriptor beside them, if there is one. Zero bytes are the end.
///
/// # Errors
/// What the socket says.
pub fn receive(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut passed = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            // Dropped, the others are closed.
            passed = descriptors.last();
        }
    }
    Ok((received.bytes, passed))
}
