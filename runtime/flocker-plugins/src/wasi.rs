//! The WASI that policies see: standard libraries import it whether their authors want it or not. No folder, no
//! environment, no network; the clock stands still, sleeping returns at once, randomness follows the decision's seed.

use std::time::Duration;

use flocker_model::Timestamp;
use tracing::Level;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiView,
    cli::{IsTerminal, StdoutStream},
    p2::{
        DynPollable, OutputStream, Pollable, StreamResult, bindings::clocks::monotonic_clock,
        subscribe,
    },
    random::Deterministic,
};

use crate::{chatter::Chatter, state::State};

/// What stdout and stderr take at once.
const WRITE_BYTES_MAX: usize = 4096;

/// Adds WASI to what a component may import.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    // wasmtime-wasi's own clock would really sleep, and neither fuel nor epoch ends a call that sleeps in the host.
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<State, HasFrozenClock>(linker, |state| {
        let now = state.now;
        FrozenClock { now, table: state.ctx().table }
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The context of one call.
pub(crate) fn context(now: Timestamp, seed: u64, chatter: &Chatter) -> WasiCtx {
    let (secure, insecure) = (Deterministic::new(noise(seed)), Deterministic::new(noise(!seed)));
    quiet(chatter)
        .wall_clock(Frozen(now))
        .monotonic_clock(Frozen(now))
        .secure_random(secure)
        .insecure_random(insecure)
        .insecure_random_seed(u128::from(seed))
        .build()
}

/// No folder, no environment, no network; what is printed goes to the log.
pub(crate) fn quiet(chatter: &Chatter) -> WasiCtxBuilder {
    let mut builder = WasiCtx::builder();
    builder
        .max_random_size(WRITE_BYTES_MAX as u64)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .stdout(Lines { level: Level::INFO, chatter: chatter.clone() })
        .stderr(Lines { level: Level::ERROR, chatter: chatter.clone() });
    builder
}

/// Bytes that follow from the seed (SplitMix64).
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..128).flat_map(|_| next().to_le_bytes()).collect()
}

struct Frozen(Timestamp);

impl HostWallClock for Frozen {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.0)
    }
}

impl HostMonotonicClock for Frozen {
    fn resolution(&self) -> u64 {
        1_000_000
    }
    fn now(&self) -> u64 {
        self.0.0.saturating_mul(1_000_000)
    }
}

struct HasFrozenClock;

impl HasData for HasFrozenClock {
    type Data<'a> = FrozenClock<'a>;
}

struct FrozenClock<'a> {
    now: Timestamp,
    table: &'a mut ResourceTable,
}

impl FrozenClock<'_> {
    fn at_once(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let ready = self.table.push(Ready)?;
        subscribe(self.table, ready)
    }
}

impl monotonic_clock::Host for FrozenClock<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(HostMonotonicClock::now(&Frozen(self.now)))
    }
    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(HostMonotonicClock::resolution(&Frozen(self.now)))
    }
    fn subscribe_instant(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.at_once()
    }
    fn subscribe_duration(&mut self, _duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.at_once()
    }
}

struct Ready;

#[async_trait::async_trait]
impl Pollable for Ready {
    async fn ready(&mut self) {}
}

/// stdout or stderr, on its way to the log.
#[derive(Clone)]
struct Lines {
    level: Level,
    chatter: Chatter,
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 would use it.
        Box::new(tokio::io::sink())
    }
}

#[async_trait::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.chatter.say(self.level, &String::from_utf8_lossy(&bytes));
        Ok(())
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}
