//! Rules for documents and for the frozen contract.

use std::path::Path;

use tidy::{files, read, root, shown};

#[test]
fn relative_links_in_documents_lead_to_files() {
    let mut bad = Vec::new();
    for document in files("", "md") {
        let text = read(&document);
        let folder = document.parent().unwrap();
        for target in links(&text) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains(':') && !folder.join(path).exists() {
                bad.push(format!("  {}: {target}", shown(&document)));
            }
        }
    }
    assert!(bad.is_empty(), "links that lead nowhere:\n{}", bad.join("\n"));
}

#[test]
fn the_documents_that_newcomers_look_for_are_there() {
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "LICENSE"] {
        assert!(root().join(name).is_file(), "{name} is missing");
    }
}

/// The targets of `[text](target)`, outside code.
fn links(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        // Every second piece between backticks is code.
        for prose in line.split('`').step_by(2) {
            let targets =
                prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
            found.extend(targets.map(str::to_owned));
        }
    }
    found
}

/// Each released file of the contract and its length and checksum. Add lines; never change one.
const RELEASED: [(&str, u64, u64); 0] = [];

#[test]
fn released_contracts_are_unchanged_none_is_released_yet() {
    let folder = root().join("wit/released");
    let listed: Vec<&str> = RELEASED.iter().map(|(name, ..)| *name).collect();
    for file in files("wit/released", "wit") {
        let name = file.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
        assert!(
            listed.contains(&name.as_str()),
            "`wit/released/{name}` is not in the list of released files"
        );
    }
    for (name, length, sum) in RELEASED {
        assert_eq!(
            fingerprint(&folder.join(name)),
            (length, sum),
            "`wit/released/{name}` was changed"
        );
    }
}

/// FNV-1a: against mistakes, not against malice; git is there for that.
fn fingerprint(path: &Path) -> (u64, u64) {
    let text = read(path);
    let bytes = text.as_bytes();
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (bytes.len() as u64, sum)
}

#[test]
fn finds_links_in_prose_and_none_in_code() {
    let text = "See [a](a.md), `[b](b.md)` and [c](c/d.md#e \"title\").\n```text\n[f](f.md)\n```\n";

    assert_eq!(links(text), ["a.md", "c/d.md#e"]);
}
