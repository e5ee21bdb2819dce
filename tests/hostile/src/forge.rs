//! Makes a component of a few fields of a core module and a frame that has all the others.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve};

/// A whole plugin, of which a case replaces parts, and its world.
struct Frame {
    world: &'static str,
    text: &'static str,
}

const POLICY: Frame = Frame { world: "policy", text: include_str!("../frames/policy.wat") };
const BACKEND: Frame = Frame { world: "backend", text: include_str!("../frames/backend.wat") };
/// What a case may ask for.
const WORLD: &str = include_str!("../frames/world.wit");

/// The policy that `fields` make of the frame; of nothing, a healthy one. It calls itself `name`.
///
/// # Panics
/// When the text is no WebAssembly, or does not fit `wit/`: a case that is not what it says tests nothing.
#[must_use]
pub fn policy(name: &str, fields: &str) -> Vec<u8> {
    component(&POLICY, name, fields)
}

/// The storage backend that `fields` make of the frame; of nothing, a healthy one. It calls itself `name`.
///
/// # Panics
/// As [`policy`].
#[must_use]
pub fn backend(name: &str, fields: &str) -> Vec<u8> {
    component(&BACKEND, name, fields)
}

fn component(frame: &Frame, name: &str, fields: &str) -> Vec<u8> {
    let mut module = wat::parse_str(module(frame.text, name, fields))
        .unwrap_or_else(|error| panic!("`{name}` is no WebAssembly text: {error}"));
    let (resolve, package) = contract();
    let encoded = (|| {
        let world = resolve.select_world(&[*package], Some(frame.world))?;
        embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)?;
        ComponentEncoder::default().module(&module)?.validate(true).encode()
    })();
    encoded.unwrap_or_else(|error| panic!("`{name}` does not fit `wit/`: {error:#}"))
}

/// What may be asked for, and the package of the worlds that ask; read once, as there are many cases.
fn contract() -> &'static (Resolve, PackageId) {
    static CONTRACT: OnceLock<(Resolve, PackageId)> = OnceLock::new();
    CONTRACT.get_or_init(|| {
        let mut resolve = Resolve::default();
        let worlds = resolve
            .push_path(folder("../../wit"))
            .and_then(|_| resolve.push_str("world.wit", WORLD));
        (resolve, worlds.unwrap_or_else(|error| panic!("the worlds cannot be read: {error:#}")))
    })
}

/// A place beside this crate's manifest.
pub(crate) fn folder(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// Imports come first in a module. A field of a case takes the place of the frame's field of the same name.
fn module(frame: &str, name: &str, own: &str) -> String {
    let frame = frame.replace("{name_len}", &name.len().to_string()).replace("{name}", name);
    let (own, frame) = (fields(own), fields(&frame));
    let replaced =
        |field: &&&str| own.iter().any(|one| key(one).is_some() && key(one) == key(field));
    let kept: Vec<&str> = frame.iter().filter(|field| !replaced(field)).copied().collect();
    let all = || own.iter().chain(&kept);
    let is_import = |field: &&&str| field.starts_with("(import ");
    let text: Vec<String> = all()
        .filter(is_import)
        .chain(all().filter(|field| !is_import(field)))
        .map(|field| anonymous(field))
        .collect();
    format!("(module\n{}\n)", text.join("\n"))
}

/// What a field is known by: its kind and its `$name`.
fn key(field: &str) -> Option<(&str, &str)> {
    let mut words = field.trim_start_matches('(').split([' ', '\n', ')']);
    let (kind, name) = (words.next()?, words.next()?);
    name.starts_with('$').then_some((kind, name))
}

/// WebAssembly gives exports no names of their own; frames do, so that a case can replace them.
fn anonymous(field: &str) -> String {
    match (field.strip_prefix("(export "), key(field)) {
        (Some(_), Some((_, name))) => field.replacen(&format!(" {name}"), "", 1),
        (Some(_) | None, _) => field.to_owned(),
    }
}

/// The outermost parentheses of a text. Comments begin with `;;`.
fn fields(text: &str) -> Vec<&str> {
    let (mut found, mut depth, mut began) = (Vec::new(), 0_usize, 0);
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            '(' => {
                if depth == 0 {
                    began = at;
                }
                depth += 1;
            }
            ')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    found.push(&text[began..=at]);
                }
            }
            '"' => {
                while rest.next().is_some_and(|(_, c)| {
                    if c == '\\' {
                        rest.next();
                    }
                    c != '"'
                }) {}
            }
            ';' => while rest.next_if(|(_, c)| *c != '\n').is_some() {},
            _ => {}
        }
    }
    found
}
