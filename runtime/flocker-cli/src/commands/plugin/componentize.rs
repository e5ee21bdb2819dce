//! `flocker plugin componentize`: makes a component of a core module, for languages whose compilers write only those. The
//! module's own imports and exports say which interfaces it is about; it needs to carry no description of them.

use std::{collections::BTreeSet, fs, path::Path};

use flocker_api::{Code, Failure};
use serde_json::json;
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap, WorldId};

use super::cannot;
use crate::terminal::Answer;

/// The contract, as it is in this repository.
const CONTRACT: [(&str, &str); 9] = [
    ("types.wit", include_str!("../../../../../wit/types.wit")),
    ("host.wit", include_str!("../../../../../wit/host.wit")),
    ("lifecycle.wit", include_str!("../../../../../wit/lifecycle.wit")),
    ("placement.wit", include_str!("../../../../../wit/placement.wit")),
    ("rebalance.wit", include_str!("../../../../../wit/rebalance.wit")),
    ("backup-schedule.wit", include_str!("../../../../../wit/backup-schedule.wit")),
    ("failover.wit", include_str!("../../../../../wit/failover.wit")),
    ("storage-backend.wit", include_str!("../../../../../wit/storage-backend.wit")),
    ("worlds.wit", include_str!("../../../../../wit/worlds.wit")),
];

/// Standard libraries import it whether their authors want it or not.
const PREVIEW1: &str = "wasi_snapshot_preview1";
const ADAPTER: &str = include_str!("componentize/wasi.wat");
/// What the adapter imports.
const ADAPTERS_WORLD: &str = "
    package flocker:adapter;
    world stand-in {
        import flocker:plugin/log@0.1.0;
        import wasi:random/random@0.2.0;
    }
    package wasi:random@0.2.0 { interface random { get-random-u64: func() -> u64; } }";

/// Writes the component of the module at `module` to `output`.
pub(super) fn componentize(module: &Path, output: &Path) -> Result<Answer, Failure> {
    let bytes = fs::read(module).map_err(|e| cannot("read", module, &e))?;
    let refuse = |why: String| {
        let message = format!("`{}` cannot be made a component: {why}", module.display());
        Failure::new(Code::INVALID_ARGUMENT, message)
    };
    let names = Names::of(&bytes).map_err(|why| {
        refuse(why).hint("compilers write core modules; a component is finished as it is")
    })?;
    if !names.exports.iter().any(|e| e.starts_with("flocker:plugin/lifecycle@")) {
        return Err(refuse("it exports no `flocker:plugin/lifecycle`".to_owned()).hint(
            "every plugin exports it, and its hooks: the SDKs in `sdk/` do it for their authors",
        ));
    }
    let component = component(bytes, &names).map_err(|e| {
        refuse(format!("{e:#}")).hint("the interfaces are those of `wit/`; see also sdk/README.md")
    })?;
    fs::write(output, &component).map_err(|e| cannot("write", output, &e))?;
    let json = json!({
        "file": output.display().to_string(), "bytes": component.len(), "exports": names.exports,
    });
    let exports: Vec<_> = names.exports.iter().map(String::as_str).collect();
    let text = format!("{}: a component that exports {}\n", output.display(), exports.join(", "));
    Ok(Answer::new(json, text))
}

/// The interfaces of ours that a module imports and exports.
#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
    wants_wasi: bool,
}

impl Names {
    fn of(bytes: &[u8]) -> Result<Self, String> {
        if !Parser::is_core_wasm(bytes) {
            return Err("it is no core module".to_owned());
        }
        let mut names = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|e| format!("it is damaged: {e}"))?;
            if let Payload::ImportSection(section) = payload {
                for import in section.into_imports() {
                    let module = import.map_err(|e| format!("it is damaged: {e}"))?.module;
                    names.wants_wasi |= module == PREVIEW1;
                    names.imports.extend(ours(module));
                }
            } else if let Payload::ExportSection(section) = payload {
                for export in section {
                    let name = export.map_err(|e| format!("it is damaged: {e}"))?.name;
                    // `INTERFACE#FUNCTION`, as every compiler of components names them.
                    names.exports.extend(name.split_once('#').and_then(|(name, _)| ours(name)));
                }
            }
        }
        Ok(names)
    }

    /// A world of exactly these interfaces.
    fn world(&self) -> String {
        let line = |kind: &str, names: &BTreeSet<String>| {
            names.iter().map(|name| format!("{kind} {name}; ")).collect::<String>()
        };
        let (imports, exports) = (line("import", &self.imports), line("export", &self.exports));
        format!("package flocker:module; world module {{ {imports}{exports} }}")
    }
}

fn ours(name: &str) -> Option<String> {
    name.starts_with("flocker:plugin/").then(|| name.to_owned())
}

fn component(mut module: Vec<u8>, names: &Names) -> anyhow::Result<Vec<u8>> {
    let mut resolve = contract()?;
    let world = world(&mut resolve, &names.world())?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let mut encoder = ComponentEncoder::default().validate(true).module(&module)?;
    if names.wants_wasi {
        let mut adapter = wat::parse_str(ADAPTER)?;
        let world = self::world(&mut resolve, ADAPTERS_WORLD)?;
        embed_component_metadata(&mut adapter, &resolve, world, StringEncoding::UTF8)?;
        encoder = encoder.adapter(PREVIEW1, &adapter)?;
    }
    encoder.encode()
}

/// The interfaces of `wit/`.
fn contract() -> anyhow::Result<Resolve> {
    let mut sources = SourceMap::new();
    for (file, text) in CONTRACT {
        sources.push_str(file, text);
    }
    let mut resolve = Resolve::default();
    resolve.push_group(sources.parse().map_err(|(_, error)| error)?)?;
    Ok(resolve)
}

/// The only world of a package.
fn world(resolve: &mut Resolve, text: &str) -> anyhow::Result<WorldId> {
    let package = resolve.push_source("generated.wit", text)?;
    resolve.select_world(&[package], None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"(module
        (import "flocker:plugin/cluster@0.1.0" "[resource-drop]view" (func (param i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "flocker:plugin/lifecycle@0.1.0#describe") (result i32) unreachable)
        (func (export "flocker:plugin/lifecycle@0.1.0#configure") (param i32 i32) (result i32) unreachable)
        (func (export "mine") unreachable))"#;

    #[test]
    fn the_interfaces_are_read_off_the_module() {
        let names = Names::of(&wat::parse_str(POLICY).unwrap()).unwrap();
        assert_eq!(
            names.world(),
            "package flocker:module; world module { import flocker:plugin/cluster@0.1.0; \
             export flocker:plugin/lifecycle@0.1.0;  }"
        );
        assert!(names.wants_wasi);
    }

    #[test]
    fn what_is_missing_of_an_interface_is_named() {
        let lifecycle = wat::parse_str(POLICY).unwrap();
        let names = Names::of(&lifecycle).unwrap();
        assert!(component(lifecycle.clone(), &names).is_ok());

        let mut more = names;
        more.exports.insert("flocker:plugin/placement@0.1.0".into());
        let error = format!("{:#}", component(lifecycle, &more).unwrap_err());
        assert!(error.contains("placement@0.1.0` function `evaluate`"), "{error}");
    }
}
