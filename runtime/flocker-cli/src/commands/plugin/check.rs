//! `flocker plugin check`: whether a node would load a plugin, and what the plugin says of itself then.

use std::path::Path;

use flocker_api::Failure;
use flocker_plugins::Hook;
use serde_json::{Value, json};

use super::{facts, host, listen, load};
use crate::{args::Settings, show, terminal::Answer};

pub(super) fn check(file: &Path, settings: &Settings) -> Result<Answer, Failure> {
    listen();
    let loaded = load(&host()?, file, settings.read()?)?;
    // It was understood when the settings were compared with it.
    let schema: Value = serde_json::from_str(&loaded.settings_schema).unwrap_or(Value::Null);
    let hook = |h: &Hook| {
        let unused = if h.is_used() { "" } else { " (this host does not ask it)" };
        format!("{h}{unused}")
    };
    let settings = if schema.is_null() {
        "it says nothing about them".to_owned()
    } else {
        format!("{schema:#}")
    };
    let text = facts(&[
        ("name", loaded.name.clone()),
        ("version", loaded.version.clone()),
        ("digest", loaded.digest.clone()),
        ("hooks", show::list(loaded.hooks.iter().map(hook))),
        ("settings", settings),
    ]);
    let json = json!({
        "file": file.display().to_string(),
        "name": loaded.name,
        "version": loaded.version,
        "digest": loaded.digest,
        "hooks": loaded.hooks.iter().map(|h| h.as_str()).collect::<Vec<_>>(),
        "settings_schema": schema,
    });
    Ok(Answer::new(json, text))
}
