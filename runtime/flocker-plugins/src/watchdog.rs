//! Lets the engine's epoch grow while a plugin runs, so that wall clock ends a call whose fuel lasts too long. Sleeps
//! when nothing runs.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use wasmtime::Engine;

/// The finest wall clock that plugins are stopped by.
pub(crate) const TICK: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
struct Running {
    calls: usize,
    /// Whether the thread has to be woken: a call costs a few microseconds, and waking it costs as much.
    asleep: bool,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    running: Mutex<Running>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Running> {
        // Only counters are changed under the lock, so a panic elsewhere leaves nothing half-made.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that ticks. Ends with the value.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Ticks as long as it lives.
#[derive(Debug)]
pub(crate) struct Watch(Arc<Shared>);

impl Watchdog {
    /// Starts the thread.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, mine) = (engine.clone(), Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("plugin-clock".into())
            .spawn(move || tick(&engine, &mine))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Ticks until the returned value is dropped.
    pub(crate) fn watch(&self) -> Watch {
        let mut running = self.shared.lock();
        running.calls += 1;
        if running.asleep {
            self.shared.changed.notify_all();
        }
        drop(running);
        Watch(Arc::clone(&self.shared))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.lock().calls -= 1;
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked with anything that matters here.
            let _ = thread.join();
        }
    }
}

fn tick(engine: &Engine, shared: &Shared) {
    loop {
        let mut running = shared.lock();
        running.asleep = true;
        let woken = shared.changed.wait_while(running, |r| r.calls == 0 && !r.closed);
        let mut running = woken.unwrap_or_else(PoisonError::into_inner);
        running.asleep = false;
        if running.closed {
            return;
        }
        let ticked = shared.changed.wait_timeout_while(running, TICK, |r| !r.closed);
        drop(ticked.unwrap_or_else(PoisonError::into_inner));
        engine.increment_epoch();
    }
}
