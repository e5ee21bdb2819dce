//! Every call of the helper's, in its own words: also those that the backend has no use for yet.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command},
};

use flocker_zfs_wire::{Answer, Call, HEADER, Map, Outcome, Request, SendFlags, Value, encode};

use super::{
    TestPool,
    pool::{helper, zfs},
};

/// A helper of the test's own.
struct Own {
    socket: UnixStream,
    child: Child,
    n: u64,
}

impl Own {
    fn start() -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(helper()).stdin(OwnedFd::from(theirs)).spawn().unwrap();
        let own = Self { socket, child, n: 0 };
        own.hear().unwrap();
        own
    }

    fn ask(&mut self, call: Call, pipe: Option<OwnedFd>) -> Outcome {
        self.n += 1;
        let bytes = encode(&Request { id: self.n, call }).unwrap();
        let passed = pipe.as_ref().map(AsFd::as_fd);
        assert_eq!(flocker_zfs_wire::send(&self.socket, &bytes, passed).unwrap(), bytes.len());
        drop(pipe);
        self.hear()
    }

    fn hear(&self) -> Outcome {
        let mut header = [0; HEADER];
        (&self.socket).read_exact(&mut header).unwrap();
        let mut body = vec![0; flocker_zfs_wire::body_length(header).unwrap()];
        (&self.socket).read_exact(&mut body).unwrap();
        let answer: Answer = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer.id, self.n);
        answer.outcome
    }

    fn exists(&mut self, name: &str) -> bool {
        self.ask(Call::Exists { name: name.to_owned() }, None).unwrap()["exists"].is_true()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_reaches_zfs_and_every_refusal_comes_back() {
    let pool = TestPool::new().await;
    let mut own = Own::start();
    let (root, a) = (pool.name.clone(), format!("{}/a", pool.name));
    let at = |name: &str| format!("{a}@{name}");
    let pairs = |pairs: &[(String, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect()
    };
    let plain = || Map::from([("mountpoint".to_owned(), "none".into())]);

    own.ask(Call::Create { name: a.clone(), properties: plain(), key: None }, None).unwrap();
    let again = own
        .ask(Call::Create { name: a.clone(), properties: plain(), key: None }, None)
        .unwrap_err();
    assert_eq!(again.errno, 17);
    let (names, properties) = (vec![at("one"), at("two")], Map::new());
    own.ask(Call::Snapshot { names, properties }, None).unwrap_err();
    for name in ["one", "two"] {
        let (names, properties) = (vec![at(name)], Map::new());
        own.ask(Call::Snapshot { names, properties }, None).unwrap();
    }
    let (names, properties) = (vec![at("two")], Map::new());
    let refused = own.ask(Call::Snapshot { names, properties }, None).unwrap_err();
    assert_eq!(refused.objects, BTreeMap::from([(at("two"), 17)]));

    own.ask(Call::Hold { holds: pairs(&[(at("one"), "keep")]) }, None).unwrap();
    let names = vec![at("one")];
    let held = own.ask(Call::DestroySnapshots { names: names.clone() }, None).unwrap_err();
    assert_eq!(held.objects, BTreeMap::from([(at("one"), 16)]));
    own.ask(Call::Release { holds: pairs(&[(at("one"), "keep")]) }, None).unwrap();
    own.ask(Call::Bookmark { marks: pairs(&[(format!("{a}#m"), &at("one"))]) }, None).unwrap();
    let marks = own.ask(Call::Bookmarks { name: a.clone() }, None).unwrap();
    assert!(marks["m"].list().unwrap().contains_key("guid"), "{marks:?}");

    let rollback = |to| Call::Rollback { name: format!("{root}/a"), to };
    assert!(own.ask(rollback(at("one")), None).is_err(), "it is not the newest");
    own.ask(rollback(at("two")), None).unwrap();
    let (name, origin) = (format!("{root}/b"), at("two"));
    own.ask(Call::Clone { name: name.clone(), origin, properties: plain() }, None).unwrap();
    own.ask(Call::Promote { name: name.clone() }, None).unwrap();
    assert!(own.exists(&format!("{name}@one")) && !own.exists(&at("one")));
    own.ask(Call::Promote { name: a.clone() }, None).unwrap();
    own.ask(Call::Destroy { name: name.clone() }, None).unwrap();
    own.ask(Call::Rename { from: a.clone(), to: name.clone() }, None).unwrap();
    own.ask(Call::Rename { from: name, to: a.clone() }, None).unwrap();

    own.ask(Call::DestroySnapshots { names }, None).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (base, flags) = (Some(format!("{a}#m")), SendFlags::default());
    let send = Call::Send { snapshot: at("two"), base, flags, resume: None };
    own.ask(send, Some(writer.into())).unwrap();
    let mut increment = Vec::new();
    reader.read_to_end(&mut increment).unwrap();
    assert!(increment.len() > 312, "the bookmark stands for the snapshot");
    own.ask(Call::DestroyBookmarks { names: vec![format!("{a}#m")] }, None).unwrap();

    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&increment).unwrap();
    drop(writer);
    let snapshot = format!("{root}/c@two");
    let receive = Call::Receive { snapshot, properties: Map::new(), raw: false };
    assert!(own.ask(receive.clone(), Some(reader.into())).is_err(), "its base is not there");
    assert_eq!(own.ask(receive, None).unwrap_err().errno, 9);
    assert!(own.ask(Call::ReadToken { token: "1-0-0-00".to_owned() }, None).is_err());
    let program = "error('as asked')".to_owned();
    let program = Call::Program { pool: root, program, sync: false, arguments: Map::new() };
    let failed = own.ask(program, None).unwrap_err();
    assert!(failed.message.is_some_and(|message| message.contains("as asked")));
    let list = Value::List(Map::from([("x".to_owned(), Value::Other)]));
    let properties = Map::from([("bad".to_owned(), list)]);
    assert!(own.ask(Call::Create { name: at("no"), properties, key: None }, None).is_err());

    let Own { socket, mut child, .. } = own;
    drop(socket);
    assert!(child.wait().unwrap().success(), "it ends with its parent");
    assert!(zfs(&["list", "-Ho", "name", &a]).contains(&a));
}
