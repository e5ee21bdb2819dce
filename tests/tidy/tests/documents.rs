//! Rules for documents.

use tidy::{contract_of_policies, files, read, root, shown};

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

/// Bindings that stand in the repository, and what to do when the contract has changed.
const BINDINGS: [(&str, &str); 2] = [
    ("sdk/c/gen/wit.h", "`cargo xtask bindings` makes it anew"),
    ("sdk/go/internal/abi/memory.go", "compare the records beside it with wit/, then write this"),
];

#[test]
fn bindings_of_the_sdks_are_those_of_the_contract() {
    let now = format!("wit: {}", contract_of_policies());
    for (path, otherwise) in BINDINGS {
        let text = read(&root().join(path));
        assert!(text.contains(&now), "`{path}` is not `{now}`: {otherwise}");
    }
}

#[test]
fn finds_links_in_prose_and_none_in_code() {
    let text = "See [a](a.md), `[b](b.md)` and [c](c/d.md#e \"title\").\n```text\n[f](f.md)\n```\n";

    assert_eq!(links(text), ["a.md", "c/d.md#e"]);
}
