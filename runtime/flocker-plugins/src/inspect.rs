//! What a file is and what it asks for, without running anything of it: for those who decide whether to load it. Reads
//! the names alone, so that it has something to say about files that no host would compile.

use std::path::Path;

use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload};

pub use crate::contract::Origin;
use crate::{
    chatter::tame,
    contract::{self, Hook, Misfit},
    load::{self, Refusal},
};

/// Names of imports or exports that are kept; a component may have ten thousand.
const NAMES_MAX: usize = 1000;
/// The longest name that is kept.
const NAME_CHARS_MAX: usize = 200;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A component, which plugins are.
    Component,
    /// A core module.
    Module,
    /// No WebAssembly.
    Other,
}

impl Kind {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Module => "core module",
            Self::Other => "no WebAssembly",
        }
    }
}

/// Something that a file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The name under which it asks.
    pub name: String,
    /// Whose it is.
    pub origin: Origin,
    /// Why a policy does not get it; nothing when it does.
    pub refused: Option<Misfit>,
}

/// What was found in a file. The names are those of components: what a core module asks for is nobody's here.
#[derive(Debug)]
pub struct Inspection {
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes; 0 where it could not be read.
    pub bytes: u64,
    /// `sha256:…`; empty where it could not be read.
    pub digest: String,
    /// What it asks for, in its own order. At most a thousand are listed.
    pub imports: Vec<Import>,
    /// The names that it exports, in its own order. At most a thousand are listed.
    pub exports: Vec<String>,
    /// The hooks among them.
    pub hooks: Vec<Hook>,
    /// Why it is not loaded; nothing when it fits this host.
    pub refused: Option<Refusal>,
}

/// Looks at a file; `check` compiles it and compares its types with the host's.
pub(crate) fn inspect(
    path: &Path,
    bytes_max: u64,
    check: impl FnOnce(&[u8]) -> Result<(), Refusal>,
) -> Inspection {
    let mut found = Inspection {
        kind: Kind::Other,
        bytes: 0,
        digest: String::new(),
        imports: Vec::new(),
        exports: Vec::new(),
        hooks: Vec::new(),
        refused: None,
    };
    match load::read(path, bytes_max) {
        Ok(bytes) => {
            found.bytes = bytes.len() as u64;
            found.digest = load::digest(&bytes);
            found.read(&bytes);
            found.refused = check(&bytes).err();
        }
        Err(refusal) => found.refused = Some(refusal),
    }
    found
}

impl Inspection {
    /// Reads names up to the end, or to where it is damaged; `check` says what the damage is.
    fn read(&mut self, bytes: &[u8]) {
        // Components hold modules and other components; only the outermost one talks to the host.
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            let Ok(payload) = payload else { return };
            if matches!(payload, Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) {
                depth += 1;
            } else if matches!(payload, Payload::End(_)) {
                depth = depth.saturating_sub(1);
            } else if depth == 0 {
                self.note(payload);
            }
        }
    }

    fn note(&mut self, payload: Payload<'_>) {
        if let Payload::Version { encoding, .. } = payload {
            self.kind = match encoding {
                Encoding::Component => Kind::Component,
                Encoding::Module => Kind::Module,
            };
        } else if let Payload::ComponentImportSection(section) = payload {
            section.into_iter().flatten().for_each(|i| self.import(i.name.name));
        } else if let Payload::ComponentExportSection(section) = payload {
            section.into_iter().flatten().for_each(|e| self.export(e.name.name, e.kind));
        }
    }

    fn import(&mut self, name: &str) {
        if self.imports.len() < NAMES_MAX {
            self.imports.push(Import {
                name: tame(name, NAME_CHARS_MAX),
                origin: Origin::of(name),
                refused: contract::check_imports([name].into_iter()).err(),
            });
        }
    }

    fn export(&mut self, name: &str, kind: ComponentExternalKind) {
        if kind == ComponentExternalKind::Instance {
            self.hooks.extend(Hook::exported_as(name));
        }
        if self.exports.len() < NAMES_MAX {
            self.exports.push(tame(name, NAME_CHARS_MAX));
        }
    }
}
