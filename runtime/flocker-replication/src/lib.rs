//! The stream between nodes: framed, verified before it is received, resumable. It sends and receives one snapshot at a
//! time, and decides nothing: what is sent, from which base and to whom is the engine's business.
//!
//! ```text
//! sender                                     receiver
//!   magic, version, Header ───────────────▶    right node? newer epoch? another stream of the volume?
//!                          ◀──────────────     magic, version, and one of
//!                                                Have { guid }          holds it already: done
//!                                                Go { nonce, resume? }  from here on
//!                                                Refuse { reason }
//!  [Restart ──────────────▶ ◀──── Go { }]     the sender cannot go on from there: from the beginning
//!   Chunk 1, 2, 3 … ──────────────────────▶    each is verified, then written
//!   End { length, hash } ─────────────────▶    finish: the snapshot counts
//!                          ◀──────────────     Done { guid }, which the sender compares
//! ```
//!
//! A chunk crosses as it is, or compressed by Zstandard where the network takes longer than that: see `squeeze`.
//!
//! Both sides send `KeepAlive` while they wait for their own storage, so that silence means that the other is gone.
//!
//! Every frame carries its place in the stream and a BLAKE3 digest, keyed by the header and by a nonce that the receiver
//! makes for each connection. So a frame that was changed, moved, repeated, left out, taken from another stream or
//! recorded earlier does not fit. This finds damage and mix-ups; who may connect at all, and who may read on the way, is
//! the transport's business: TLS 1.3 between keys that nodes announced, see `tls`.
//!
//! Two streams for one volume at once: the newer connection wins, unless its epoch is older. The sender behind the older
//! one is gone in all likelihood (it reconnects after a cut, and a half-open connection is noticed late), and what it
//! brought stays for the newer one to resume. Ours never start two on purpose: a volume has one operation at a time.

mod frame;
mod keys;
mod link;
mod pace;
mod receive;
mod send;
mod slots;
mod squeeze;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod wire;

pub use keys::{Announced, KeyError, KeyPair, StreamKeys};
pub use receive::{Receiving, ReceivingConfig};
pub use send::{Sender, SenderConfig};
pub use transport::Transport;
