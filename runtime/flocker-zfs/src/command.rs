//! Runs the `zfs` command, and reads what it lists.

use std::path::Path;

use flocker_model::{ByteSize, VolumeId};
use flocker_system::command::{command, output, tail};

use crate::state::Label;

/// Runs a program of ZFS. Answers what it printed, or why it failed.
pub(crate) async fn run(program: &Path, args: &[&str]) -> Result<String, String> {
    let mut process = command(program);
    process.args(args);
    let output =
        output(process).await.map_err(|error| format!("`{}`: {error}", program.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let name = program.file_name().unwrap_or_default().display();
    Err(format!("`{name}` ended with {}: {}", output.status, tail(&output.stderr)))
}

/// The arguments that list all volumes below `parent`. Every column is one that ZFS knows without work.
pub(crate) fn list_volumes(parent: &str) -> [&str; 10] {
    const COLUMNS: &str = "io.flocker:role,io.flocker:epoch,io.flocker:size,referenced";
    [
        "get",
        "-Hp",
        "-d1",
        "-t",
        "filesystem",
        "-o",
        "name,property,value,source",
        "--",
        COLUMNS,
        parent,
    ]
}

/// A volume in a listing, or why one cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) volume: VolumeId,
    pub(crate) label: Result<Label, String>,
    pub(crate) referenced: ByteSize,
}

/// Reads a listing. Datasets that are not ours are left out.
pub(crate) fn parse_volumes(parent: &str, text: &str) -> Vec<Listed> {
    let mut found = Vec::new();
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>()).peekable();
    while let Some(name) = lines.peek().and_then(|line| line.first().copied()) {
        let (mut own, mut referenced) = ([None; 3], None);
        while let Some(line) = lines.next_if(|line| line.first() == Some(&name)) {
            let [_, property, value, source] = line[..] else { continue };
            match property {
                // What is inherited says nothing about the dataset itself.
                "io.flocker:role" if source == "local" => own[0] = Some(value),
                "io.flocker:epoch" if source == "local" => own[1] = Some(value),
                "io.flocker:size" if source == "local" => own[2] = Some(value),
                "referenced" => referenced = value.parse().ok(),
                _ => {}
            }
        }
        let below = name.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/'));
        let Some(volume) = below.and_then(|name| VolumeId::new(name).ok()) else { continue };
        if let Some(label) = Label::parse(own[0], own[1], own[2]).transpose() {
            let referenced = ByteSize(referenced.unwrap_or_default());
            found.push(Listed { volume, label, referenced });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use flocker_model::{Epoch, Role};

    use super::*;
    use crate::state::Want;

    #[tokio::test]
    async fn a_failure_says_what_the_program_said() {
        let failed = run(Path::new("/bin/ls"), &["/nowhere-at-all"]).await.unwrap_err();

        assert!(failed.contains("nowhere-at-all"), "{failed}");
    }

    #[test]
    fn a_listing_holds_our_volumes_and_no_others() {
        let text = "tank/f\tio.flocker:role\t-\t-\ntank/f\treferenced\t24576\t-\n\
                    tank/f/v1\tio.flocker:role\tlive\tlocal\ntank/f/v1\tio.flocker:epoch\t7\tlocal\n\
                    tank/f/v1\tio.flocker:size\t1024\tlocal\ntank/f/v1\treferenced\t512\t-\n\
                    tank/f/theirs\tio.flocker:role\t-\t-\ntank/f/theirs\treferenced\t1\t-\n\
                    tank/f/heir\tio.flocker:role\tlive\tinherited from tank/f/v1\n\
                    tank/f/v1/inner\tio.flocker:role\tlive\tlocal\n\
                    tank/f/bad\tio.flocker:role\tlive\tlocal\ntank/f/bad\tio.flocker:epoch\tx\tlocal\n";

        let found = parse_volumes("tank/f", text);

        let label = Label { want: Want::Role(Role::Live), epoch: Epoch(7), size: ByteSize(1024) };
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].volume.as_str(), &found[0].label), ("v1", &Ok(label)));
        assert_eq!(found[0].referenced, ByteSize(512));
        assert!(found[1].label.as_ref().unwrap_err().contains("epoch"));
        assert_eq!(parse_volumes("tank/f", ""), []);
    }
}
