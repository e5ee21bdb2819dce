//! `flocker plugin inspect`: what a file is and what it asks for.

use std::path::Path;

use flocker_api::{Code, Failure};
use flocker_model::ByteSize;
use flocker_plugins::{Import, Inspection, LoadError, Origin, Refusal};
use serde_json::json;

use super::{facts, host, unusable};
use crate::{show, terminal::Answer};

pub(super) fn inspect(file: &Path) -> Result<Answer, Failure> {
    let found = host()?.inspect(file);
    if let Some(reason @ (Refusal::Missing | Refusal::Unreadable(_) | Refusal::TooLarge { .. })) =
        found.refused
    {
        return Err(unusable(LoadError { path: file.to_owned(), reason }));
    }
    let refused = found.refused.as_ref().map(|r| Failure::from_error(Code::INVALID_ARGUMENT, r));
    let import = |i: &Import| {
        json!({
            "name": i.name,
            "from": from(i.origin),
            "refused": i.refused.as_ref().map(|r| Failure::from_error(Code::INVALID_ARGUMENT, r).message),
        })
    };
    let json = json!({
        "file": file.display().to_string(),
        "kind": found.kind.as_str(),
        "bytes": found.bytes,
        "digest": found.digest,
        "hooks": hooks(&found),
        "imports": found.imports.iter().map(import).collect::<Vec<_>>(),
        "exports": found.exports,
        "fits": refused.is_none(),
        "why_not": refused.as_ref().map(|r| &r.message),
        "hint": refused.as_ref().and_then(|r| r.hint.as_ref()),
    });
    Ok(Answer::new(json, text(file, &found, refused.as_ref())))
}

fn text(file: &Path, found: &Inspection, refused: Option<&Failure>) -> String {
    let imports = |origin: Origin| {
        let of = found.imports.iter().filter(|i| i.origin == origin);
        lines(of.map(|i| match &i.refused {
            None => i.name.clone(),
            Some(_) => format!("{}   NOT GRANTED", i.name),
        }))
    };
    let fits = match refused {
        None => "yes".to_owned(),
        Some(Failure { message, hint: None, .. }) => format!("no: {message}"),
        Some(Failure { message, hint: Some(hint), .. }) => format!("no: {message}\n{hint}"),
    };
    facts(&[
        ("file", file.display().to_string()),
        ("kind", format!("{}, {}", found.kind.as_str(), ByteSize(found.bytes))),
        ("digest", found.digest.clone()),
        ("hooks", show::list(hooks(found).into_iter().map(str::to_owned))),
        ("imports", imports(Origin::Contract)),
        ("  of WASI", imports(Origin::Wasi)),
        ("  unknown", imports(Origin::Unknown)),
        ("exports", lines(found.exports.iter().cloned())),
        ("fits here", fits),
    ])
}

fn hooks(found: &Inspection) -> Vec<&'static str> {
    found.hooks.iter().map(|h| h.as_str()).collect()
}

fn from(origin: Origin) -> &'static str {
    match origin {
        Origin::Contract => "contract",
        Origin::Wasi => "wasi",
        Origin::Unknown => "unknown",
    }
}

fn lines(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "-".to_owned() } else { items.join("\n") }
}
