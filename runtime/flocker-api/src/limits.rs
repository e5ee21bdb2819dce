//! What tonic leaves open and we close: sizes, counts and times of connections, each with its reason.

use std::time::Duration;

/// The largest message. A manifest is the largest thing in a call and is far below one MiB; a list of every app of a
/// large cluster, with manifests, still fits.
pub const MESSAGE_MAX: usize = 16 << 20;

/// All headers of a message together. An error's text travels in one, percent-encoded, beside its hint.
pub const HEADERS_MAX: u32 = 64 << 10;

/// Calls at once on one connection. A leader asks one agent for a step of each operation and follows a few logs; more
/// is a client that has lost count, and waits.
pub const STREAMS_MAX: u32 = 256;

/// Until a connection is made. On one network it takes milliseconds; a machine that is off never answers.
pub const CONNECT: Duration = Duration::from_secs(2);

/// Until a new connection has sent its first byte, before it counts as someone who only holds a socket.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

/// Until a call with a short answer was answered. Removing a large volume's snapshots is the slowest of them.
pub const CALL: Duration = Duration::from_secs(60);

/// Between two pings to a node: a dead one must be noticed while a move has clients parked.
pub const PING: Duration = Duration::from_secs(2);

/// Until a ping counts as lost. One lost packet and its retransmission fit.
pub const PING_ANSWER: Duration = Duration::from_secs(4);
