//! Trees become other trees, whatever is in them, and nothing outside of them.

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use proptest::prelude::*;

use super::*;

fn open(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

fn records(tree: &Path, base: Option<&Path>) -> Vec<Record> {
    let mut records = Vec::new();
    walk(open(tree), base.map(open), Source::Still, &mut |record| {
        records.push(record);
        Ok(())
    })
    .unwrap();
    records
}

fn build(target: &Path, records: &[Record]) -> io::Result<()> {
    let mut builder = Builder::new(open(target));
    records.iter().try_for_each(|record| builder.apply(record))
}

/// Two trees, and a third that becomes the second by way of the first.
struct Trees(tempfile::TempDir);

impl Trees {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "copy"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The third equals the second after both steps.
    #[track_caller]
    fn carry_over(&self) {
        build(&self.at("copy"), &records(&self.at("a"), None)).unwrap();
        build(&self.at("copy"), &records(&self.at("b"), Some(&self.at("a")))).unwrap();
        assert_eq!(records(&self.at("copy"), None), records(&self.at("b"), None));
    }
}

#[test]
fn every_kind_of_file_becomes_every_other() {
    let trees = Trees::new();
    for (side, shift) in [("a", 0), ("b", 1)] {
        let top = trees.at(side);
        let kinds: [&dyn Fn(&Path); 6] = [
            &|p| fs::write(p, "text").unwrap(),
            &|p| symlink("/etc/passwd", p).unwrap(),
            &|p| fs::create_dir_all(p.join("deep/er")).unwrap(),
            &|p| {
                fs::write(p, "secret").unwrap();
                std::os::unix::fs::lchown(p, Some(999), Some(998)).unwrap();
                fs::set_permissions(p, fs::Permissions::from_mode(0o4750)).unwrap();
            },
            &|p| {
                rustix::fs::mknodat(rustix::fs::CWD, p, FileType::Fifo, Mode::from(0o640), 0)
                    .unwrap();
            },
            &|p| {
                fs::write(p.with_extension("twin"), "twins").unwrap();
                fs::hard_link(p.with_extension("twin"), p).unwrap();
            },
        ];
        for n in 0..kinds.len() {
            kinds[(n + shift) % kinds.len()](&top.join(format!("f{n}")));
        }
    }

    trees.carry_over();

    let twin = fs::metadata(trees.at("copy/f4")).unwrap();
    assert_eq!(
        (twin.nlink(), twin.ino()),
        (2, fs::metadata(trees.at("copy/f4.twin")).unwrap().ino())
    );
    let owned = fs::metadata(trees.at("copy/f2")).unwrap();
    assert_eq!((owned.uid(), owned.gid(), owned.mode() & 0o7777), (999, 998, 0o4750));
}

#[test]
fn a_change_in_the_same_tick_and_length_is_seen() {
    let trees = Trees::new();
    for (side, text) in [("a", "one"), ("b", "two")] {
        fs::write(trees.at(side).join("f"), text).unwrap();
        let file = File::options().write(true).open(trees.at(side).join("f")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    trees.carry_over();
    assert_eq!(fs::read(trees.at("copy/f")).unwrap(), b"two");
}

#[test]
fn attributes_come_and_go() {
    let trees = Trees::new();
    for side in ["a", "b"] {
        fs::write(trees.at(side).join("f"), "x").unwrap();
        let name = format!("user.{side}");
        rustix::fs::setxattr(
            trees.at(side).join("f"),
            &*name,
            b"v",
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
    }
    trees.carry_over();
}

#[test]
fn a_block_in_a_large_file_is_all_that_is_sent() {
    let trees = Trees::new();
    let mut bytes = vec![7; 4 << 20];
    fs::write(trees.at("a").join("f"), &bytes).unwrap();
    bytes[3 << 20] = 8;
    fs::write(trees.at("b").join("f"), &bytes).unwrap();

    let sent = records(&trees.at("b"), Some(&trees.at("a")));

    let data: Vec<u64> = sent
        .iter()
        .filter_map(|r| if let Record::Data { offset, .. } = r { Some(*offset) } else { None })
        .collect();
    assert_eq!(data, [3 << 20]);
    trees.carry_over();
}

#[test]
fn a_record_that_leads_outside_changes_nothing_there() {
    let trees = Trees::new();
    let outside = trees.at("a");
    symlink(&outside, trees.at("copy/link")).unwrap();
    for name in ["../a/f", "/tmp/flocker-outside", "link/f", "x/../../a/f", ""] {
        let name = name.as_bytes().to_vec();
        for record in [
            Record::File { name: name.clone(), length: 3 },
            Record::Folder(name.clone()),
            Record::Symlink { name: name.clone(), target: b"/".to_vec() },
            Record::Node { name: name.clone(), kind: 0o010_000, device: 0 },
        ] {
            assert!(build(&trees.at("copy"), std::slice::from_ref(&record)).is_err(), "{record:?}");
        }
        let link = Record::Link { name: b"inside".to_vec(), first: name };
        assert!(build(&trees.at("copy"), &[link]).is_err());
    }
    assert_eq!(names(open(&outside)).unwrap(), [""; 0]);
    assert!(!Path::new("/tmp/flocker-outside").exists());
    // Facts of a link are its own, not those of what it leads to.
    let facts = Facts { user: 5, group: 5, mode: 0, modified: (1, 0), attributes: Vec::new() };
    build(&trees.at("copy"), &[Record::Facts { name: b"link".to_vec(), facts }]).unwrap();
    assert_ne!(fs::metadata(&outside).unwrap().uid(), 5);
    assert_eq!(fs::symlink_metadata(trees.at("copy/link")).unwrap().uid(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_tree_becomes_any_other(
        a in proptest::collection::btree_map("[ab]/[cd]|[efg]", proptest::collection::vec(any::<u8>(), 0..40), 0..5),
        b in proptest::collection::btree_map("[ab]/[cd]|[efg]", proptest::collection::vec(any::<u8>(), 0..40), 0..5),
    ) {
        let trees = Trees::new();
        for (side, files) in [("a", &a), ("b", &b)] {
            for (name, bytes) in files {
                let path = trees.at(side).join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
        trees.carry_over();
    }
}
