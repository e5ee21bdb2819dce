//! `flocker plugin check`: whether a node would load a plugin, and what the plugin says of itself then.

use std::path::Path;

use flocker_api::{Code, Failure};
use flocker_plugins::{
    BackendNeeds, Grant, Grants, Hook, Loaded, Need, PluginBackend, exported_hooks,
};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{facts, host, listen, load, unusable};
use crate::{
    args::{Limited, Settings},
    show,
    terminal::Answer,
};

/// Lines of a schema that are shown: all of one that a person wrote.
const LINES_SHOWN: usize = 60;
/// Characters of such a line that are shown.
const LINE_CHARS: usize = 200;

pub(super) fn check(
    file: &Path,
    settings: &Settings,
    limited: Limited,
    grants: Vec<Grant>,
) -> Result<Answer, Failure> {
    listen();
    if exported_hooks(file).map_err(unusable)?.contains(&Hook::StorageBackend) {
        limited.refuse_for_backend(file)?;
        return Ok(backend(file, &asked(file, settings, grants)?));
    }
    if !grants.is_empty() {
        return Err(no_backend(file));
    }
    let loaded = load(&host()?, file, settings.read()?, limited.read()?)?;
    let (json, text) = shown(file, &loaded);
    Ok(Answer::new(json, text))
}

/// What a backend says that it needs, beside what it would be granted.
pub(super) fn asked(
    file: &Path,
    settings: &Settings,
    grants: Vec<Grant>,
) -> Result<BackendNeeds, Failure> {
    let grants = Grants::new(grants).map_err(unusable)?;
    let settings = settings.read()?;
    let needs = PluginBackend::needs(file, &settings, &grants);
    Handle::current().block_on(needs).map_err(unusable)
}

/// Grants are for backends only.
pub(super) fn no_backend(file: &Path) -> Failure {
    let message = format!("`{}` is no storage backend, so it is granted nothing", file.display());
    Failure::new(Code::INVALID_ARGUMENT, message).hint("leave `--grant` out")
}

/// Each thing that a backend asks for, and whether it would get it: for programs and for people.
pub(super) fn needs(found: &BackendNeeds) -> (Value, String) {
    let line = |need: &Need| match need.is_granted {
        true => format!("{}, which is granted", need.what),
        false => format!("{}   NOT GRANTED: `--grant {}`", need.what, need.grant),
    };
    let lines: Vec<_> = found.needs.iter().map(line).collect();
    let lines = if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") };
    let need = |n: &Need| json!({"what": n.what, "grant": n.grant, "granted": n.is_granted});
    (found.needs.iter().map(need).collect(), facts(&[("needs", lines)]))
}

fn backend(file: &Path, found: &BackendNeeds) -> Answer {
    let (mut json, mut text) = shown(file, &found.loaded);
    let (needs, lines) = needs(found);
    json["needs"] = needs;
    text += &lines;
    let missing: Vec<_> = found.needs.iter().filter(|need| !need.is_granted).collect();
    let failure = missing.first().map(|first| {
        let message =
            format!("a node would not load it: it needs {}, which was not granted", first.what);
        Failure::new(Code::INVALID_ARGUMENT, message).hint(format!("`--grant {}`", first.grant))
    });
    Answer { failure, ..Answer::new(json, text) }
}

/// A line, or as much of it as is shown.
fn cut(line: &str, n_max: usize) -> String {
    match line.char_indices().nth(n_max) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// What it says of itself, for programs and for people.
fn shown(file: &Path, loaded: &Loaded) -> (Value, String) {
    // It was understood when the settings were compared with it.
    let schema: Value = serde_json::from_str(&loaded.settings_schema).unwrap_or(Value::Null);
    let hook = |h: &Hook| {
        let unused = if h.is_used() { "" } else { " (this host does not ask it)" };
        format!("{h}{unused}")
    };
    let settings = if schema.is_null() {
        "it says nothing about them".to_owned()
    } else {
        let lines = format!("{schema:#}").lines().map(|line| cut(line, LINE_CHARS)).collect();
        show::shortened(lines, LINES_SHOWN, "lines").join("\n")
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
    (json, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_is_cut() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äöü…");
    }
}
