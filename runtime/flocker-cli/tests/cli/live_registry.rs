//! Plugins on their way to a real registry and back.

use std::{fs, path::Path, process::Command};

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{
    author::{Desk, PUBLIC, SECRET, STRANGER},
    command,
    registry::{Registry, Way},
    shown,
};

/// Keys, and `policy.wasm`, signed.
fn desk() -> Desk {
    let desk = Desk::with(&[("key", SECRET.as_bytes()), ("key.pub", PUBLIC.as_bytes())]);
    take(&desk, "rust-spread");
    let sign = flocker(&desk, &["sign", "policy.wasm", "-s", "key", "-t", "0.1.0"]);
    assert!(seen(&mut { sign }).starts_with("signed"));
    desk
}

/// Another `policy.wasm`, one that is the same with every compiler.
fn take(desk: &Desk, name: &str) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/released/0.1.0/corpus");
    fs::copy(corpus.join(name).with_extension("wasm"), desk.0.path().join("policy.wasm")).unwrap();
}

/// What a command prints, with `@DIGEST` for digests of manifests: they tell the time.
fn seen(command: &mut Command) -> String {
    let text = shown(&command.output().unwrap());
    let mut parts = text.split("@sha256:");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |seen, rest| match rest.split_at_checked(64) {
        Some((hex, after)) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            seen + "@DIGEST" + after
        }
        Some(_) | None => seen + "@sha256:" + rest,
    })
}

fn flocker(desk: &Desk, arguments: &[&str]) -> Command {
    let mut flocker = command("unix:///nowhere", &["plugin"]);
    flocker.args(arguments).current_dir(desk.0.path());
    // Neither the passwords nor the proxy of whoever runs the tests.
    flocker.env("DOCKER_CONFIG", desk.0.path().join(".docker")).env("NO_PROXY", "127.0.0.1");
    flocker
}

/// What a command says, with REGISTRY for the registry.
fn said(desk: &Desk, registry: &Registry, arguments: &[&str]) -> String {
    let arguments: Vec<_> =
        arguments.iter().map(|word| word.replace("REGISTRY", &registry.address)).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    seen(&mut flocker(desk, &arguments)).replace(&registry.address, "REGISTRY")
}

#[track_caller]
fn check(desk: &Desk, registry: &Registry, arguments: &[&str], want: &Expect) {
    let arguments = [arguments, &["--plain-http"]].concat();
    want.assert_eq(&said(desk, registry, &arguments));
}

fn json(desk: &Desk, registry: &Registry, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--plain-http", "--json"]].concat();
    let reference = arguments.iter().map(|word| word.replace("REGISTRY", &registry.address));
    let output =
        flocker(desk, &reference.collect::<Vec<_>>().iter().map(|w| &**w).collect::<Vec<_>>())
            .output()
            .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn live_registry_a_plugin_comes_back_as_it_went() {
    let (desk, registry) = (desk(), Registry::start(Way::Plain));
    check(
        &desk,
        &registry,
        &["push", "policy.wasm", "REGISTRY/acme/spread:1.0"],
        &expect![[r#"
            pushed      REGISTRY/acme/spread:1.0, 64.1 KiB
            as          REGISTRY/acme/spread@DIGEST
            signed      with key 9CCF0940D3870EFC
        "#]],
    );
    let pinned = json(&desk, &registry, &["inspect", "REGISTRY/acme/spread:1.0"])["pinned"].clone();

    check(
        &desk,
        &registry,
        &["pull", "REGISTRY/acme/spread:1.0", "--key", "key.pub"],
        &expect![[r#"
            pulled      spread.wasm, 64.1 KiB
            from        REGISTRY/acme/spread@DIGEST
            digest      sha256:422bcd9331f8aecd19e9fc82c9e6e725a229a371a62e9ca5eda276f9cc9f2b36
            signed      with key 9CCF0940D3870EFC, verified, 0.1.0
        "#]],
    );
    let pinned = pinned.as_str().unwrap();
    check(
        &desk,
        &registry,
        &["pull", pinned, "-o", "again.wasm"],
        &expect![[r#"
            pulled      again.wasm, 64.1 KiB
            from        REGISTRY/acme/spread@DIGEST
            digest      sha256:422bcd9331f8aecd19e9fc82c9e6e725a229a371a62e9ca5eda276f9cc9f2b36
            signed      with key 9CCF0940D3870EFC, not verified: give the public key with `--key`
        "#]],
    );

    let read = |name: &str| fs::read(desk.0.path().join(name)).unwrap();
    for name in ["spread.wasm", "again.wasm"] {
        assert_eq!(read(name), read("policy.wasm"), "{name}");
        assert_eq!(read(&format!("{name}.minisig")), read("policy.wasm.minisig"), "{name}");
    }
}

/// <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>, field by field, as somebody reads it who has
/// never heard of us; and the list of signatures where the OCI specification says that it is.
#[test]
fn live_registry_other_tools_understand_what_is_there() {
    let (desk, registry) = (desk(), Registry::start(Way::Plain));
    let pushed = json(&desk, &registry, &["push", "policy.wasm", "REGISTRY/acme/spread:1.0"]);
    let code = fs::read(desk.0.path().join("policy.wasm")).unwrap();
    let digest = flocker_plugins::digest(&code);

    let manifest = registry.manifest("acme/spread", "1.0");

    let config_digest = manifest["config"]["digest"].as_str().unwrap();
    let (_, config) = registry.get(&format!("/v2/acme/spread/blobs/{config_digest}"));
    assert_eq!(
        manifest,
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.wasm.config.v0+json",
                "digest": flocker_plugins::digest(&config),
                "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/wasm",
                "digest": digest,
                "size": code.len(),
                "annotations": {"org.opencontainers.image.title": "policy.wasm"},
            }],
        })
    );
    let config: Value = serde_json::from_slice(&config).unwrap();
    let created = config["created"].as_str().unwrap();
    assert!(humantime::parse_rfc3339(created).is_ok(), "{created}");
    assert_eq!(
        config,
        json!({
            "created": created,
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [digest],
            "component": {
                "imports": [
                    "flocker:plugin/types@0.1.0", "flocker:plugin/cluster@0.1.0",
                    "flocker:plugin/log@0.1.0",
                ],
                "exports": ["flocker:plugin/placement@0.1.0", "flocker:plugin/lifecycle@0.1.0"],
            },
        })
    );

    let list = pushed["digest"].as_str().unwrap().replace(':', "-");
    let list = registry.manifest("acme/spread", &list);
    assert_eq!(list["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(list["manifests"][0]["artifactType"], "application/vnd.flocker.minisign.v1");
    let signature = list["manifests"][0]["digest"].as_str().unwrap();
    let signature = registry.manifest("acme/spread", signature);
    assert_eq!(signature["subject"]["digest"], pushed["digest"]);
    let text = signature["layers"][0]["digest"].as_str().unwrap();
    let (_, text) = registry.get(&format!("/v2/acme/spread/blobs/{text}"));
    assert_eq!(text, fs::read(desk.0.path().join("policy.wasm.minisig")).unwrap());
}

#[test]
fn live_registry_what_a_plugin_asks_for_is_seen_without_its_code() {
    let (desk, registry) = (desk(), Registry::start(Way::Plain));
    let pushed = json(&desk, &registry, &["push", "policy.wasm", "REGISTRY/acme/spread:1.0"]);
    let local = json(&desk, &registry, &["inspect", "policy.wasm"]);
    fs::remove_file(registry.blob(pushed["plugin_digest"].as_str().unwrap())).unwrap();

    let remote = json(&desk, &registry, &["inspect", "REGISTRY/acme/spread:1.0"]);

    for fact in ["kind", "bytes", "digest", "hooks", "imports", "exports", "fits", "why_not"] {
        assert_eq!(remote[fact], local[fact], "{fact}");
    }
    assert_eq!(remote["key_ids"], json!(["9CCF0940D3870EFC"]));
    check(
        &desk,
        &registry,
        &["pull", "REGISTRY/acme/spread:1.0"],
        &expect![[r#"
            stderr: error: there is no `REGISTRY/acme/spread@DIGEST`
            stderr: hint: check its name and tag; some registries also say so when they ask for a login
            exit status: 1
        "#]],
    );
    assert!(!desk.0.path().join("spread.wasm").exists());
}

#[test]
fn live_registry_nothing_is_written_without_the_signature_that_was_asked_for() {
    let (desk, registry) = (desk(), Registry::start(Way::Plain));
    let push = ["push", "policy.wasm", "REGISTRY/spread:signed"];
    assert!(said(&desk, &registry, &[&push[..], &["--plain-http"]].concat()).starts_with("pushed"));
    check(
        &desk,
        &registry,
        &["pull", "REGISTRY/spread:signed", "--key", STRANGER],
        &expect![[r#"
            stderr: error: `REGISTRY/spread@DIGEST`: it was signed with key 9CCF0940D3870EFC, not A8B37CB9E6808D74
            stderr: hint: ask whoever made it for the public key, and trust it only if it comes another way than the plugin
            exit status: 1
        "#]],
    );

    // The signature of the build before goes along with the next one.
    take(&desk, "rust-binpack");
    let push = ["push", "policy.wasm", "REGISTRY/spread:next"];
    assert!(said(&desk, &registry, &[&push[..], &["--plain-http"]].concat()).starts_with("pushed"));
    check(
        &desk,
        &registry,
        &["pull", "REGISTRY/spread:next", "--key", "key.pub"],
        &expect![[r#"
            stderr: error: `REGISTRY/spread@DIGEST`: it is not what was signed, or its signature was changed
            stderr: hint: do not load it; get it again
            exit status: 1
        "#]],
    );

    fs::remove_file(desk.0.path().join("policy.wasm.minisig")).unwrap();
    take(&desk, "rust-labels");
    let push = ["push", "policy.wasm", "REGISTRY/spread:bare"];
    assert!(said(&desk, &registry, &[&push[..], &["--plain-http"]].concat()).starts_with("pushed"));
    check(
        &desk,
        &registry,
        &["pull", "REGISTRY/spread:bare", "--key", "key.pub"],
        &expect![[r#"
            stderr: error: `REGISTRY/spread@DIGEST` is not signed
            stderr: hint: `flocker plugin sign`, then push it again; or pull it without `--key`
            exit status: 1
        "#]],
    );
    assert!(!desk.0.path().join("spread.wasm").exists());

    // Without a key it is taken, and leaves no signature that is not its own.
    fs::write(desk.0.path().join("spread.wasm.minisig"), "of another build").unwrap();
    assert!(json(&desk, &registry, &["pull", "REGISTRY/spread:bare"])["key_id"].is_null());
    assert!(!desk.0.path().join("spread.wasm.minisig").exists());
}

/// A registry, or whoever pushed to it, lies.
#[test]
fn live_registry_what_is_not_what_it_says_is_refused() {
    let (desk, registry) = (desk(), Registry::start(Way::Plain));
    let pushed = json(&desk, &registry, &["push", "policy.wasm", "REGISTRY/p:good"]);
    let good = registry.manifest("p", "good");
    let lie = |tag: &str, change: &dyn Fn(&mut Value)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        registry.put_manifest("p", tag, &manifest);
        let reference = format!("REGISTRY/p:{tag}");
        said(&desk, &registry, &["pull", &reference, "--plain-http"])
    };
    let is_refused = |said: &str, why: &str| {
        assert!(said.contains(why) && said.contains("stderr: hint: "), "no `{why}` in:\n{said}");
        assert!(!desk.0.path().join("p.wasm").exists(), "it was written:\n{said}");
    };

    let image = "application/vnd.oci.image.config.v1+json";
    is_refused(
        &lie("image", &|m| m["config"]["mediaType"] = image.into()),
        "no WebAssembly plugin",
    );
    let layer = |m: &mut Value| m["layers"][0]["mediaType"] = "application/x-tar".into();
    is_refused(&lie("layer", &layer), "its layer is `application/x-tar`");
    let twice = |m: &mut Value| m["layers"] = json!([m["layers"][0], m["layers"][0]]);
    is_refused(&lie("layers", &twice), "it has 2 layers, not one");
    is_refused(&lie("large", &|m| m["layers"][0]["size"] = (100 << 20).into()), "at most 67108864");
    is_refused(&lie("minus", &|m| m["layers"][0]["size"] = (-1).into()), "at most 67108864");
    let config = |m: &mut Value| m["config"]["size"] = (2 << 20).into();
    is_refused(&lie("talkative", &config), "at most 1048576");
    is_refused(&lie("terse", &|m| m["config"]["size"] = 10.into()), "longer than announced");
    is_refused(&lie("long", &|m| m["layers"][0]["size"] = 1000.into()), "longer than announced");

    let (_, config) =
        registry.get(&format!("/v2/p/blobs/{}", good["config"]["digest"].as_str().unwrap()));
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["component"]["imports"] = json!([]);
    let config = config.to_string();
    let digest = registry.put_blob("p", config.as_bytes());
    let harmless = |m: &mut Value| {
        m["config"]["digest"] = digest.as_str().into();
        m["config"]["size"] = config.len().into();
    };
    is_refused(&lie("harmless", &harmless), "not what it says");

    let code = registry.blob(pushed["plugin_digest"].as_str().unwrap());
    let mut bytes = fs::read(&code).unwrap();
    bytes[5000] ^= 1;
    fs::write(&code, bytes).unwrap();
    is_refused(&lie("rotten", &|_| {}), "not what was asked for");
}

#[test]
fn live_registry_what_is_wrong_is_said_in_words() {
    let (desk, registry) = (desk(), Registry::start(Way::Plain));
    check(
        &desk,
        &registry,
        &["pull", "REGISTRY/spread:2.0"],
        &expect![[r#"
            stderr: error: there is no `REGISTRY/spread:2.0`
            stderr: hint: check its name and tag; some registries also say so when they ask for a login
            exit status: 1
        "#]],
    );
    check(
        &desk,
        &registry,
        &["push", "key.pub", "REGISTRY/spread:2.0"],
        &expect![[r#"
            stderr: error: could not load plugin `key.pub`: it is not WebAssembly
            stderr: hint: a plugin is a WebAssembly component, which ends in .wasm and is binary
            exit status: 1
        "#]],
    );
    check(
        &desk,
        &registry,
        &["push", "policy.wasm", "spread:2.0"],
        &expect![[r#"
            stderr: error: `spread:2.0` names no registry, or neither a tag nor a digest
            stderr: hint: write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST
            exit status: 1
        "#]],
    );
    let no_flag = said(&desk, &registry, &["pull", "REGISTRY/spread:2.0"]);
    assert!(no_flag.contains("`--plain-http`") && no_flag.contains("status: 3"), "{no_flag}");
    let address = registry.address.clone();
    drop(registry);
    let gone =
        seen(&mut flocker(&desk, &["inspect", &format!("{address}/spread:2.0"), "--plain-http"]));
    assert!(gone.contains("cannot be reached") && gone.contains("status: 3"), "{gone}");
}

#[test]
fn live_registry_who_we_are_is_said_or_left_by_docker() {
    let (desk, registry) = (desk(), Registry::start(Way::Login));
    let push = ["push", "policy.wasm", "REGISTRY/spread:1.0"];
    check(
        &desk,
        &registry,
        &push,
        &expect![[r#"
            stderr: error: `REGISTRY` does not let us do this with `REGISTRY/spread:1.0`
            stderr: hint: `docker login REGISTRY`, or `--username NAME --password-stdin`; the account must have the right
            exit status: 1
        "#]],
    );
    let reference = format!("{}/spread:1.0", registry.address);
    let with = |password: &str| {
        fs::write(desk.0.path().join("password"), password).unwrap();
        let mut push = flocker(&desk, &["push", "policy.wasm", &reference, "--plain-http"]);
        push.args(["--username", "me", "--password-stdin"]);
        seen(push.stdin(fs::File::open(desk.0.path().join("password")).unwrap()))
    };
    assert!(with("guessed\n").contains("does not let us"), "{}", with("guessed\n"));
    assert!(with("").contains("no password on stdin"), "{}", with(""));
    assert!(with("open sesame\n").starts_with("pushed"), "{}", with("open sesame\n"));

    fs::create_dir(desk.0.path().join(".docker")).unwrap();
    // `me:open sesame`
    let auth = json!({"auths": {&registry.address: {"auth": "bWU6b3BlbiBzZXNhbWU="}}});
    fs::write(desk.0.path().join(".docker/config.json"), auth.to_string()).unwrap();
    let pulled = json(&desk, &registry, &["pull", "REGISTRY/spread:1.0", "--key", "key.pub"]);
    assert_eq!(pulled["verified"], true);
}

#[test]
fn live_registry_its_certificate_is_checked() {
    let (desk, registry) = (desk(), Registry::start(Way::Tls));
    let reference = format!("{}/spread:1.0", registry.address);
    let push = |certificate: &Path| {
        let mut push = flocker(&desk, &["push", "policy.wasm", &reference]);
        seen(push.env("SSL_CERT_FILE", certificate).env_remove("SSL_CERT_DIR"))
    };

    assert!(push(&registry.certificate()).starts_with("pushed"));

    let other = Registry::start(Way::Tls);
    let refused = push(&other.certificate());
    assert!(refused.contains("cannot be reached: ") && refused.contains("ertificate"), "{refused}");
}
