//! From a file to a component, with an explanation for everything that is not one.

use std::{
    fmt::Write as _,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use flocker_planner::PolicyFailure;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use wasmtime::{Engine, component::Component};

pub use crate::contract::Misfit;
use crate::{
    chatter::tame,
    contract::{self, Hook},
    engine::Limits,
    signature::{PublicKey, SignatureError},
};

/// A plugin that was not loaded, and why.
#[derive(Debug, thiserror::Error)]
#[error("could not load plugin `{path}`: {reason}")]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: Refusal,
}

/// Why a file is no plugin, or not one that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such file.
    #[error(
        "there is no such file\nhint: a plugin written in Rust is at target/wasm32-unknown-unknown/release/NAME.wasm after `cargo build --release`"
    )]
    Missing,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It is too large.
    #[error("it has {bytes} bytes, at most {max} are loaded")]
    TooLarge { bytes: u64, max: u64 },
    /// It is something else.
    #[error(
        "it is not WebAssembly\nhint: a plugin is a WebAssembly component, which ends in .wasm and is binary"
    )]
    NotWasm,
    /// It is a core module.
    #[error(
        "it is a core WebAssembly module, not a component\nhint: with Rust, set `linker = \"wasm-component-ld\"` in .cargo/config.toml as sdk/rust/README.md shows; in other languages, `flocker plugin componentize`"
    )]
    CoreModule,
    /// It is precompiled code.
    #[error(
        "it holds precompiled machine code, which is never loaded\nhint: give the .wasm that it was made from; this host compiles it itself and keeps the result"
    )]
    Precompiled,
    /// Only signed plugins are loaded, and it is not, or not as it should be.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It is damaged.
    #[error("it is damaged, or uses what this host does not have: {0}")]
    Malformed(String),
    /// It is too much work for a compiler.
    #[error(
        "it cannot be compiled with {memory_gib} GiB of memory in {cpu_seconds} s\nhint: it is damaged, or meant to do harm; tell its author"
    )]
    Uncompiled { memory_gib: u64, cpu_seconds: u64 },
    /// The process that compiles cannot be started.
    #[error("no process could be started to compile it: {0}")]
    NoCompiler(String),
    /// It does not fit this host.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// The names fit, the types do not.
    #[error(
        "it was built for another form of this interface: {0}\nhint: build it again with the present SDK"
    )]
    Types(String),
    /// The settings are no JSON, or not what the plugin's schema asks for.
    #[error(
        "its settings do not fit: {0}\nhint: `flocker plugin check` shows the settings that it has"
    )]
    Settings(String),
    /// The plugin's schema cannot be used.
    #[error("the schema of its settings cannot be used: {0}\nhint: tell its author")]
    Schema(String),
    /// There is nothing to replace.
    #[error("no plugin was loaded from this file, so there is none to replace")]
    NotLoaded,
    /// It failed before it was asked anything.
    #[error("it failed while it {doing} ({}): {}", failure.class, failure.message)]
    Failed { doing: &'static str, failure: PolicyFailure },
}

/// A component that may be instantiated.
pub(crate) struct Checked {
    pub(crate) component: Component,
    pub(crate) digest: String,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) wasi: bool,
}

/// Reads, compiles and checks a component. Runs nothing of it.
pub(crate) fn check(
    engine: &Engine,
    path: &Path,
    trust: &Trust,
    try_out: impl FnOnce(&[u8]) -> Result<(), Refusal>,
) -> Result<Checked, Refusal> {
    let bytes = trust.read(path)?;
    recognise(&bytes)?;
    try_out(&bytes)?;
    check_bytes(engine, &bytes)
}

/// What a file must be for it to be compiled.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    /// The largest that is read.
    pub(crate) bytes_max: u64,
    /// Whose signature it must have; nobody's if there is no key.
    pub(crate) signed_by: Option<PublicKey>,
}

impl Trust {
    /// Reads a file. What is answered is what was verified: the file may change at any time.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>, Refusal> {
        let bytes = read(path, self.bytes_max)?;
        if let Some(key) = &self.signed_by {
            key.verify_file(path, &bytes)?;
        }
        Ok(bytes)
    }
}

/// Compiles and checks a component. Runs nothing of it.
pub(crate) fn check_bytes(engine: &Engine, bytes: &[u8]) -> Result<Checked, Refusal> {
    recognise(bytes)?;
    let malformed = |e: wasmtime::Error| Refusal::Malformed(tame(&format!("{e:#}"), 400));
    let component = Component::from_binary(engine, bytes).map_err(malformed)?;
    let kind = component.component_type();
    contract::check_imports(kind.imports(engine).map(|(name, _)| name))?;
    let hooks = contract::check_exports(kind.exports(engine).map(|(name, _)| name))?;
    let wasi = contract::asks_for_wasi(kind.imports(engine).map(|(name, _)| name));
    Ok(Checked { component, digest: digest(bytes), hooks, wasi })
}

/// Reads a file that is a component, and no larger than a node would load.
///
/// # Errors
/// [`LoadError`] says what it is instead.
pub fn read_component(path: &Path) -> Result<Vec<u8>, LoadError> {
    let bytes = read(path, Limits::default().file_bytes).and_then(|bytes| {
        recognise(&bytes)?;
        Ok(bytes)
    });
    bytes.map_err(|reason| LoadError { path: path.to_owned(), reason })
}

/// Reads a file, unless it is larger than that.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Refusal> {
    let unreadable = |e: std::io::Error| {
        if e.kind() == ErrorKind::NotFound {
            Refusal::Missing
        } else {
            Refusal::Unreadable(e.to_string())
        }
    };
    // What is no file, a pipe for instance, would otherwise keep whoever opens or reads it waiting.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(
        rustix::fs::open(path, OFlags::RDONLY | flags, Mode::empty())
            .map_err(|e| unreadable(e.into()))?,
    );
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(Refusal::Unreadable("it is not a regular file".into()));
    }
    if about.len() > bytes_max {
        return Err(Refusal::TooLarge { bytes: about.len(), max: bytes_max });
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(bytes_max).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Tells a component from what people mistake for one.
pub(crate) fn recognise(bytes: &[u8]) -> Result<(), Refusal> {
    match bytes {
        // After the magic: version 13, layer 1 (component); version 1, layer 0 (module).
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(Refusal::CoreModule),
        [0x7f, b'E', b'L', b'F', ..] => Err(Refusal::Precompiled),
        _ => Err(Refusal::NotWasm),
    }
}

/// The digest of a plugin, as OCI registries write it.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
