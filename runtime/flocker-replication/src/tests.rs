//! Framing, streams over real connections, and streams between real pools.

mod fake;
mod framing;
mod live;
mod relay;
mod streams;
mod tls;
