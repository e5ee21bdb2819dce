//! The registries beside the contract: codes and columns may be added, and keep their meaning for ever.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{releases, wit};

/// The registries, and how many cells of a row must stay: a code and its meaning; a column, its type and its unit. What
/// else is said may become clearer.
const REGISTRIES: [(&str, usize); 2] = [("codes.md", 2), ("columns.md", 3)];

/// Each row of a registry, as far as it must stay, with the section that it is in.
fn rows(text: &str, n_cells: usize) -> BTreeSet<String> {
    let mut section = "";
    let mut rows = BTreeSet::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        } else if line.starts_with('|') {
            let cells: Vec<_> = line.split('|').skip(1).take(n_cells).map(str::trim).collect();
            rows.insert(format!("{section}: {}", cells.join(" | ")));
        }
    }
    rows
}

/// What was promised and is not there any more.
fn missing(old: &str, new: &str, n_cells: usize) -> Vec<String> {
    rows(old, n_cells).difference(&rows(new, n_cells)).cloned().collect()
}

fn read(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("`{}`: {e}", path.display()))
}

#[test]
fn released_codes_and_columns_keep_their_meaning() {
    for release in releases() {
        for (name, n_cells) in REGISTRIES {
            let gone = missing(&read(&release, name), &read(&wit(), name), n_cells);
            assert!(gone.is_empty(), "of `{}/{name}`: {gone:#?}", release.display());
        }
    }
}

#[test]
fn a_row_may_be_added_but_neither_changed_nor_moved() {
    let old = "## nodes\n| column | type | unit | what |\n|---|---|---|---|\n| `alive` | u32 | 0, 1 | lately |\n";
    let same = |new: &str| missing(old, new, 3);

    assert_eq!(same(&old.replace("lately", "in 5 s")), [""; 0]);
    assert_eq!(same(&format!("{old}| `apps` | u32 | | many |\n")), [""; 0]);
    assert_eq!(same(&old.replace("u32", "u64")), ["nodes: `alive` | u32 | 0, 1"]);
    assert_eq!(same(&old.replace("nodes", "apps")).len(), 3);
}

#[test]
fn the_registries_have_rows() {
    for (name, n_cells) in REGISTRIES {
        assert!(rows(&read(&wit(), name), n_cells).len() > 20, "{name}");
    }
}
