//! What a file is and what it asks for, without running anything of it: for those who decide whether to load it. Reads
//! the names alone, so that it has something to say about files that no host would compile.

use std::path::Path;

use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload};

pub use crate::contract::Origin;
use crate::{
    backend::BackendLimits,
    chatter::tame,
    contract::{self, Hook, Misfit},
    load::{self, LoadError, Refusal},
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
    /// Why such a plugin does not get it; nothing when it may.
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

/// The hooks that a file exports, by their names alone: what it is for is known before anything of it is compiled. None
/// where it is no component; whoever loads it says why.
///
/// # Errors
/// [`LoadError`] when it cannot be read, or is a component that is damaged: what is left of it says nothing of the whole.
pub fn exported_hooks(path: &Path) -> Result<Vec<Hook>, LoadError> {
    let found = inspect(path, BackendLimits::default().file_bytes, |bytes, _| {
        if load::recognise(bytes).is_ok() { whole(bytes) } else { Ok(()) }
    });
    match found.refused {
        Some(reason) => Err(LoadError { path: path.to_owned(), reason }),
        None => Ok(found.hooks),
    }
}

/// Whether the sections of a component can be read to the end.
fn whole(bytes: &[u8]) -> Result<(), Refusal> {
    let damage = Parser::new(0).parse_all(bytes).find_map(Result::err);
    damage.map_or(Ok(()), |error| Err(Refusal::Malformed(error.to_string())))
}

/// Looks at a file; `check` compiles it and compares its types with the host's, for what it exports.
pub(crate) fn inspect(
    path: &Path,
    bytes_max: u64,
    check: impl FnOnce(&[u8], &[Hook]) -> Result<(), Refusal>,
) -> Inspection {
    match load::read(path, bytes_max) {
        Ok(bytes) => {
            let found = Inspection::names(&bytes);
            Inspection { refused: check(&bytes, &found.hooks).err(), ..found }
        }
        Err(refusal) => {
            Inspection { refused: Some(refusal), ..Inspection::nothing(Kind::Other, 0, "") }
        }
    }
}

impl Inspection {
    /// Looks at the names in a component, and compares nothing but names: takes microseconds, whatever its size.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let found = Self::names(bytes);
        let refused = load::recognise(bytes).err().or_else(|| found.misfit());
        Self { refused, ..found }
    }

    /// The same for a component that is elsewhere, from what is said of it.
    #[must_use]
    pub fn announced(bytes: u64, digest: &str, imports: &[String], exports: &[String]) -> Self {
        let mut found = Self::nothing(Kind::Component, bytes, digest);
        imports.iter().for_each(|name| found.import(name));
        exports.iter().for_each(|name| found.export(name, ComponentExternalKind::Instance));
        found.refuse_imports();
        Self { refused: found.misfit(), ..found }
    }

    fn nothing(kind: Kind, bytes: u64, digest: &str) -> Self {
        Self {
            kind,
            bytes,
            digest: digest.to_owned(),
            imports: Vec::new(),
            exports: Vec::new(),
            hooks: Vec::new(),
            refused: None,
        }
    }

    fn names(bytes: &[u8]) -> Self {
        let mut found = Self::nothing(Kind::Other, bytes.len() as u64, &load::digest(bytes));
        found.read(bytes);
        found.refuse_imports();
        found
    }

    fn misfit(&self) -> Option<Refusal> {
        let imports = self.imports.iter().map(|i| i.name.as_str());
        let imports = match self.hooks.contains(&Hook::StorageBackend) {
            true => contract::check_backend_imports(imports).map(drop),
            false => contract::check_imports(imports),
        };
        let exports = || contract::check_exports(self.exports.iter().map(String::as_str));
        imports.and_then(|()| exports().map(drop)).err().map(Refusal::from)
    }

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
                // What it may have depends on what it exports, which comes later in the file.
                refused: None,
            });
        }
    }

    fn refuse_imports(&mut self) {
        let is_backend = self.hooks.contains(&Hook::StorageBackend);
        for import in &mut self.imports {
            let name = [import.name.as_str()].into_iter();
            import.refused = match is_backend {
                true => contract::check_backend_imports(name).err(),
                false => contract::check_imports(name).err(),
            };
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
