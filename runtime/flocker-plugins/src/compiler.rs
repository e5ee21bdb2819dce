//! Compiles strange code in a process of its own first. Neither fuel nor a clock ends a compiler, and a component of a few
//! hundred kilobytes can make it take all memory of a machine; a process has limits, and can be ended.
//!
//! The process is the same program, asked by its first argument (see [`compile_if_asked`]). What it compiles is in the cache
//! that both use, so that it is not compiled twice.

use std::{
    ffi::OsStr,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use wasmtime::{Engine, component::Component};

use crate::{backend, engine, load::Refusal};

/// This very program, also after its file was replaced by a newer one.
const PROGRAM: &str = "/proc/self/exe";

/// What the program's first argument is when it is to compile.
const WORD: &str = "--compile-plugin-for-its-parent";

/// Memory that it may write to. CPython takes a quarter of it.
const BYTES_MAX: u64 = 2 << 30;

/// CPU that it may use: CPython takes two minutes with a compiler that was built without optimisation.
const CPU_SECONDS_MAX: u64 = 600;

/// Functions that are compiled at once: each may take much memory.
const THREADS: &str = "4";

/// For whom something is compiled: their code is not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    Policies,
    Backends,
}

impl For {
    fn word(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Backends => "backends",
        }
    }
}

/// Whether this program compiles when it is asked to. A program whose `main` does not ask itself, a test for instance,
/// compiles without limits.
static ABLE: AtomicBool = AtomicBool::new(false);

/// Whether a component can be compiled within limits. What is wrong with it otherwise, its loader finds.
pub(crate) fn try_out(bytes: &[u8], whose: For, cache: Option<&Path>) -> Result<(), Refusal> {
    if !ABLE.load(Ordering::Relaxed) {
        return Ok(());
    }
    let status = run(bytes, whose, cache).map_err(|e| Refusal::NoCompiler(e.to_string()))?;
    // Done, or an error of a malformed component, which is found again.
    if matches!(status.code(), Some(0 | 1)) {
        return Ok(());
    }
    Err(Refusal::Uncompiled { memory_gib: BYTES_MAX >> 30, cpu_seconds: CPU_SECONDS_MAX })
}

fn run(bytes: &[u8], whose: For, cache: Option<&Path>) -> io::Result<ExitStatus> {
    let mut command = Command::new(PROGRAM);
    command.args([OsStr::new(WORD), whose.word().as_ref()]);
    command.args(cache.map(Path::as_os_str));
    command.env("RAYON_NUM_THREADS", THREADS).env("MALLOC_ARENA_MAX", THREADS);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // One that ends early says why by its status.
        let _ = input.write_all(bytes);
    }
    child.wait()
}

/// To be called first in `main`: compiles what comes from standard input, if this process was started for that, and says
/// how it is to end.
#[must_use]
pub fn compile_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|word| word != WORD) {
        ABLE.store(true, Ordering::Relaxed);
        return None;
    }
    let whose = arguments.next();
    let cache = arguments.next().map(PathBuf::from);
    let whose = if whose.as_deref() == Some(OsStr::new(For::Backends.word())) {
        For::Backends
    } else {
        For::Policies
    };
    Some(ExitCode::from(u8::from(compile(whose, cache.as_deref()).is_none())))
}

fn compile(whose: For, cache: Option<&Path>) -> Option<()> {
    let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(Resource::Data, limit(BYTES_MAX)).ok()?;
    setrlimit(Resource::Cpu, limit(CPU_SECONDS_MAX)).ok()?;
    // Whoever waits for it has time; the apps of the machine have not. It is done all the same where that is not allowed.
    let _ = nice(10);
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).ok()?;
    let config = match whose {
        For::Policies => engine::compiling(cache),
        For::Backends => backend::compiling(cache),
    };
    let engine = Engine::new(&config.ok()?).ok()?;
    Component::from_binary(&engine, &bytes).ok().map(drop)
}
