//! Every number that bounds the proxy, each with its reason.

use std::time::Duration;

/// What the proxy may spend, and how long it may take. The defaults are for production; tests make the times short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections held per service. A client that reconnects in a loop must not take every other service's room.
    pub held_per_service: usize,
    /// Connections held in all. Each costs a file descriptor and what its client has sent so far, in kernel memory.
    pub held_total: usize,
    /// How long one connection is held, connection attempts included. Longer than a move may park (10 s) and than most
    /// containers take to start again; shorter than the patience of most clients' own timeouts.
    pub hold_max: Duration,
    /// How far the clocks of two nodes may be apart. A park's deadline is a moment by the leader's clock; it counts
    /// here only when it has passed for certain.
    pub clock_skew_max: Duration,
    /// Held connections per service that try to get through at a time. More would meet an app that has only just
    /// started with all its clients at once; fewer would show in the blackout.
    pub release_batch: usize,
    /// Connections in all, from clients and from other nodes; also bounded by the process's limit of open files, of
    /// which a quarter is left to the rest of the process. Further ones wait in the kernel's queue.
    pub connections: usize,
    /// How long one attempt to connect to another node may take. In one network an answer takes milliseconds, so after
    /// a second it is not slow but lost.
    pub connect_max: Duration,
    /// The same for a container on this node. An attempt that began just before the container was up hears nothing for
    /// a second, so a new one is soon the faster way.
    pub connect_container_max: Duration,
    /// How long the other node may take to say whether it takes a connection over; its own attempt to reach the
    /// container is within it.
    pub answer_max: Duration,
    /// How long another node may take to say what it wants. A header is one packet.
    pub header_max: Duration,
    /// Connections on the mesh port that have not said yet what they want. Each costs a file descriptor, and anyone who
    /// reaches the port can open them.
    pub half_open: usize,
    /// Wait after the first failed attempt. A route that changes is noticed at once; this is for an app that comes up.
    pub retry_first: Duration,
    /// Longest wait between two attempts; it doubles until then. It adds to what a client waits for a restarted app.
    pub retry_max: Duration,
    /// So long a backend must say nothing before its connections are closed: more than it takes to answer a small
    /// request, so that an answer on its way still arrives.
    pub quiesce_silence: Duration,
    /// The longest that closing is put off for a backend that goes on talking. It is a part of every blackout.
    pub quiesce_max: Duration,
    /// How long a client's unread bytes are thrown away after we said that we are done. Closing over unread bytes makes
    /// the kernel send a reset, which can destroy the last answer before the client has read it.
    pub linger_max: Duration,
    /// The kernel's queue of connections that were not accepted yet. The kernel caps it at `net.core.somaxconn`, 4096.
    pub backlog: u32,
    /// Wait before a port that could not be opened is tried again.
    pub relisten: Duration,
    /// Wait after the kernel had no room for one more connection: accepting at once again would only burn CPU.
    pub accept_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            held_per_service: 4096,
            held_total: 16_384,
            hold_max: Duration::from_secs(30),
            clock_skew_max: Duration::from_secs(5),
            release_batch: 64,
            connections: 65_536,
            connect_max: Duration::from_secs(1),
            connect_container_max: Duration::from_millis(250),
            answer_max: Duration::from_secs(3),
            header_max: Duration::from_secs(2),
            half_open: 1024,
            retry_first: Duration::from_millis(2),
            retry_max: Duration::from_millis(100),
            quiesce_silence: Duration::from_millis(10),
            quiesce_max: Duration::from_millis(250),
            linger_max: Duration::from_secs(1),
            backlog: 4096,
            relisten: Duration::from_secs(1),
            accept_pause: Duration::from_millis(100),
        }
    }
}

impl Limits {
    /// The same where the process may open `files_max` files. A connection takes two: one towards the client, one towards
    /// the app. What is held gets half of them in all, and a quarter per service: a parked service whose clients reconnect
    /// in a storm must leave room for services that are not parked. Strangers on the mesh port get a quarter as well.
    #[must_use]
    pub fn within(self, files_max: u64) -> Self {
        let ours = usize::try_from(files_max / 4 * 3 / 2).unwrap_or(usize::MAX);
        let connections = self.connections.min(ours).max(1);
        Self {
            connections,
            held_total: self.held_total.min(connections.div_ceil(2)),
            held_per_service: self.held_per_service.min(connections.div_ceil(4)),
            half_open: self.half_open.min(connections.div_ceil(4)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_never_takes_all_the_room() {
        let limits = Limits::default().within(1024);

        assert_eq!((limits.held_total, limits.held_per_service, limits.half_open), (192, 96, 96));
    }

    #[test]
    fn a_small_limit_of_open_files_leaves_room_for_the_rest_of_the_process() {
        let limits = Limits::default();

        assert_eq!(limits.clone().within(1024).connections, 384);
        assert_eq!(limits.clone().within(u64::MAX), limits);
        assert_eq!(limits.within(0).connections, 1, "one, or the proxy would never answer at all");
    }
}
