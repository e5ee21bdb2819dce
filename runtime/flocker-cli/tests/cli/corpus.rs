//! Plugins that were compiled for releases of the contract: they load for ever, and answer as they did. The backend among
//! them is tried in `backends.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{command, shown};

/// Every file of a kind in the corpus of any release.
fn corpus(ending: &str) -> Vec<PathBuf> {
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/released");
    let mut found = Vec::new();
    for release in fs::read_dir(released).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(files) = fs::read_dir(release.join("corpus")) else { continue };
        found.extend(files.map(|entry| entry.unwrap().path()));
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == ending));
    found.sort();
    found
}

/// A storage backend is asked the port's rules instead of a question of its own.
const BACKEND: &str = "rust-dir-backend";

pub(crate) fn backend() -> PathBuf {
    corpus("wasm").into_iter().find(|path| path.file_stem() == Some(BACKEND.as_ref())).unwrap()
}

/// The policies.
fn policies() -> Vec<PathBuf> {
    corpus("wasm").into_iter().filter(|path| *path != backend()).collect()
}

#[test]
fn released_plugins_answer_as_they_did() {
    let mut wrong = Vec::new();
    for plugin in policies() {
        let question = plugin.with_extension("toml");
        let (plugin, question) = (plugin.to_str().unwrap(), question.to_str().unwrap());
        let output = command("unix:///nowhere", &["plugin", "test", plugin, question]).output();
        let output = output.unwrap();
        if !output.status.success() {
            wrong.push(format!("{plugin}\n{}", shown(&output)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_released_plugin_has_its_question_and_every_question_its_plugin() {
    let stems = |of: Vec<PathBuf>| -> Vec<_> {
        of.into_iter().map(|path| path.with_extension("")).collect()
    };
    assert_eq!(stems(policies()), stems(corpus("toml")));
    assert!(corpus("wasm").len() >= 9, "the corpus got smaller");
}

#[test]
fn the_corpus_stays_small() {
    let bytes: u64 = corpus("wasm").iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes < 1_500_000, "{bytes} bytes are fetched with every checkout");
}
