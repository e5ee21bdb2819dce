//! `flocker plugin inspect`: what a file is and what it asks for, or a plugin in a registry.

use std::path::Path;

use flocker_api::{Code, Failure};
use flocker_model::ByteSize;
use flocker_plugins::{
    Grant, Hook, Import, Inspection, LoadError, Origin, Refusal, claimed_key_id, exported_hooks,
    tame,
};
use oci_client::RegistryOperation;
use serde_json::json;

use super::{
    check, facts, host, listen,
    registry::{Registry, reference},
    unusable, wait,
};
use crate::{
    args::{RegistryArgs, Settings},
    show,
    terminal::Answer,
};

/// Names that are shown of each kind; plugins have about ten.
const NAMES_SHOWN: usize = 20;

pub(super) fn inspect(subject: &Path, registry: &RegistryArgs) -> Result<Answer, Failure> {
    match subject.to_str() {
        Some(reference) if reference::is_reference(reference) => {
            wait(announced(reference, registry))
        }
        Some(_) | None => on_disk(subject),
    }
}

/// What a storage backend would lack if it were granted this much. It is asked, so its code must be here.
pub(super) fn lacking(
    subject: &Path,
    settings: &Settings,
    grants: Vec<Grant>,
) -> Result<Answer, Failure> {
    if let Some(reference) = subject.to_str().filter(|text| reference::is_reference(text)) {
        let message =
            format!("`{reference}` is in a registry, and a backend has to be asked what it needs");
        return Err(Failure::new(Code::INVALID_ARGUMENT, message)
            .hint("`flocker plugin pull` it first, or leave `--grant` out"));
    }
    let Answer { mut json, text, .. } = on_disk(subject)?;
    if !exported_hooks(subject).map_err(unusable)?.contains(&Hook::StorageBackend) {
        return Err(check::no_backend(subject));
    }
    listen();
    let found = check::asked(subject, settings, grants)?;
    let (needs, lines) = check::needs(&found);
    json["needs"] = needs;
    Ok(Answer::new(json, text + &lines))
}

/// What is said of a plugin that was not fetched.
async fn announced(reference: &str, arguments: &RegistryArgs) -> Result<Answer, Failure> {
    let reference = reference::parse(reference)?;
    let registry = Registry::connect(&reference, RegistryOperation::Pull, arguments).await?;
    let found = registry.find(&reference).await?;
    let signatures = registry.signatures(&found.pinned).await?;
    let keys: Vec<_> = signatures.iter().filter_map(|text| claimed_key_id(text)).collect();
    let Answer { mut json, text, .. } =
        described("reference", &reference.whole(), &found.description.inspect(&found.layer));
    if let Some(fields) = json.as_object_mut() {
        fields.insert("pinned".to_owned(), found.pinned.whole().into());
        fields.insert("created".to_owned(), found.description.created.clone().into());
        fields.insert("key_ids".to_owned(), keys.clone().into());
    }
    let signed = keys.into_iter().map(|key| format!("with key {key}, not verified"));
    let more = facts(&[
        ("pinned", found.pinned.whole()),
        ("created", tame(&found.description.created, 40)),
        ("signed", lines(signed)),
    ]);
    Ok(Answer::new(json, text + &more))
}

fn on_disk(file: &Path) -> Result<Answer, Failure> {
    let found = host()?.inspect(file);
    if let Some(reason @ (Refusal::Missing | Refusal::Unreadable(_) | Refusal::TooLarge { .. })) =
        found.refused
    {
        return Err(unusable(LoadError { path: file.to_owned(), reason }));
    }
    Ok(described("file", &file.display().to_string(), &found))
}

fn described(what: &str, name: &str, found: &Inspection) -> Answer {
    let refused = found.refused.as_ref().map(|r| Failure::from_error(Code::INVALID_ARGUMENT, r));
    let import = |i: &Import| {
        json!({
            "name": i.name,
            "from": from(i.origin),
            "refused": i.refused.as_ref().map(|r| Failure::from_error(Code::INVALID_ARGUMENT, r).message),
        })
    };
    let json = json!({
        what: name,
        "kind": found.kind.as_str(),
        "bytes": found.bytes,
        "digest": found.digest,
        "hooks": hooks(found),
        "imports": found.imports.iter().map(import).collect::<Vec<_>>(),
        "exports": found.exports,
        "fits": refused.is_none(),
        "why_not": refused.as_ref().map(|r| &r.message),
        "hint": refused.as_ref().and_then(|r| r.hint.as_ref()),
    });
    Answer::new(json, text((what, name), found, refused.as_ref()))
}

fn text((what, name): (&str, &str), found: &Inspection, refused: Option<&Failure>) -> String {
    let imports = |origin: Origin| {
        // What is refused comes first, so that it is not among what is left out.
        let mut of: Vec<_> = found.imports.iter().filter(|i| i.origin == origin).collect();
        of.sort_by_key(|i| i.refused.is_none());
        lines(of.into_iter().map(|i| match &i.refused {
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
        (what, name.to_owned()),
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
    let items = show::shortened(items.collect(), NAMES_SHOWN, "names");
    if items.is_empty() { "-".to_owned() } else { items.join("\n") }
}
