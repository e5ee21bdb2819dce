//! What is not a plugin is told so in words, never with a linker's error.

use std::{fs, path::Path};

use flocker_plugins::{Hook, HostConfig, PluginHost};

use crate::{
    forge::Forge,
    world::{World, configured, question, view},
};
use flocker_planner::Policies;

#[track_caller]
fn refused(name: &str, bytes: &[u8], words: &[&str]) {
    let said = World::new().refused(name, bytes);
    for word in words {
        assert!(said.contains(word), "{said}");
    }
    assert!(said.starts_with("could not load plugin `FOLDER/"), "{said}");
}

/// The package in `wit/`, changed.
fn other_wit(folder: &Path, change: impl Fn(&str) -> String) {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    for entry in fs::read_dir(wit).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "wit") {
            let text = fs::read_to_string(&path).unwrap();
            fs::write(folder.join(path.file_name().unwrap()), change(&text)).unwrap();
        }
    }
}

#[test]
fn files_that_are_something_else() {
    refused("noise.wasm", b"hello, I am a shell script", &["not WebAssembly", "hint:"]);
    refused("empty.wasm", b"", &["not WebAssembly"]);
    refused("elf.wasm", b"\x7fELF\x02\x01\x01", &["precompiled", "never loaded", "hint:"]);
    refused(
        "core.wasm",
        &wat::parse_str("(module)").unwrap(),
        &["core WebAssembly module", "wasm-component-ld"],
    );
    let mut torn = Forge::healthy().build();
    torn.truncate(torn.len() / 2);
    refused("torn.wasm", &torn, &["damaged"]);
}

#[test]
fn a_file_that_does_not_exist() {
    let missing =
        World::new().host.load(&configured(Path::new("/nowhere/at/all.wasm"), "", 1)).unwrap_err();
    assert!(
        missing.to_string().contains("`/nowhere/at/all.wasm`: there is no such file\nhint:"),
        "{missing}"
    );
    let folder = World::new().host.load(&configured(Path::new("/"), "", 1)).unwrap_err();
    assert!(folder.to_string().contains("not a regular file"), "{folder}");
}

#[test]
fn a_component_without_any_hook() {
    let bytes = wat::parse_str("(component)").unwrap();
    refused(
        "none.wasm",
        &bytes,
        &["exports no hook that this host knows; its exports: none", "hint:"],
    );
}

#[test]
fn a_component_for_another_version() {
    let folder = tempfile::tempdir().unwrap();
    other_wit(folder.path(), |text| text.replace("0.1.0", "0.2.0"));
    let newer = Forge::for_wit(folder.path(), "placement-policy").build_version("0.2.0");
    refused(
        "newer.wasm",
        &newer,
        &["built for flocker:plugin 0.2.0", "this host speaks 0.1.0", "hint: update"],
    );
}

#[test]
fn a_component_of_the_same_version_with_other_types() {
    let folder = tempfile::tempdir().unwrap();
    other_wit(folder.path(), |text| {
        text.replace("ask-again-ms: option<u32>", "ask-again-ms: option<s32>")
    });
    let other = Forge::for_wit(folder.path(), "placement-policy").build();
    refused("other.wasm", &other, &["plugin `FOLDER/other.wasm`"]);
}

#[test]
fn a_component_that_asks_for_the_network() {
    let bytes = wat::parse_str(
        r#"(component (import "wasi:sockets/instance-network@0.2.0" (instance (export "network" (type (sub resource))))))"#,
    )
    .unwrap();
    refused("network.wasm", &bytes, &["asks for `wasi:sockets`, which was not granted", "hint:"]);
}

#[test]
fn settings_that_are_no_json() {
    let world = World::new();
    let path = world.file("healthy.wasm", &Forge::healthy().build());
    let refused = world.host.load(&configured(&path, "{zone: eu", 1)).unwrap_err().to_string();
    assert!(refused.contains("settings do not fit: they are not JSON"), "{refused}");
}

#[test]
fn a_healthy_one_is_described() {
    let world = World::new();
    let path = world.file("healthy.wasm", &Forge::healthy().build());

    let loaded = world.host.load(&configured(&path, "", 3)).unwrap();

    assert_eq!((loaded.name.as_str(), loaded.version.as_str()), ("forged", "1.2.3"));
    assert_eq!(loaded.hooks, [Hook::Placement]);
    assert!(loaded.digest.starts_with("sha256:") && loaded.digest.len() == 71, "{}", loaded.digest);
    let answers = world.host.place(&view(), &question());
    assert_eq!((answers[0].policy.as_str(), answers[0].weight), ("forged 1.2.3", 3));
    assert_eq!(answers[0].answer.as_ref().unwrap().scores, [5000, 5000, 5000]);
    assert!(answers[0].evidence.fuel > 0);
}

#[test]
fn compiled_code_is_kept_in_a_folder_that_nobody_else_enters() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    for _ in 0..2 {
        let config = HostConfig { cache: Some(cache.clone()), ..HostConfig::default() };
        let host = PluginHost::new(config).unwrap();
        let path = folder.path().join("p.wasm");
        fs::write(&path, Forge::healthy().build()).unwrap();
        host.load(&configured(&path, "", 1)).unwrap();
    }
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);

    let relative = HostConfig { cache: Some("relative".into()), ..HostConfig::default() };
    let refused = PluginHost::new(relative);
    let said = refused.map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("hint:"), "{said}");
    let _ = fs::remove_dir("relative");
}
