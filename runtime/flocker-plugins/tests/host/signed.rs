//! A host that loads signed plugins only.

use std::{fs, io::Cursor, path::Path};

use flocker_plugins::{HostConfig, PluginHost, PublicKey, Reloaded, signature_file};
use minisign::KeyPair;

use crate::{
    forge::Forge,
    world::{World, configured, view},
};

/// A pair of keys.
struct Signer(KeyPair);

impl Signer {
    fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().unwrap())
    }

    fn host(&self) -> PluginHost {
        let key = PublicKey::read(&self.0.pk.to_base64()).unwrap();
        PluginHost::new(HostConfig { signed_by: Some(key), ..HostConfig::default() }).unwrap()
    }

    fn sign(&self, file: &Path) {
        let plugin = Cursor::new(fs::read(file).unwrap());
        let signed = minisign::sign(None, &self.0.sk, plugin, None, None).unwrap();
        fs::write(signature_file(file), signed.to_bytes()).unwrap();
    }
}

#[test]
fn what_nobody_signed_is_not_loaded() {
    let (ours, host) = (World::new(), Signer::new().host());
    let path = ours.file("p.wasm", &Forge::healthy().build());

    let said = host.load(&configured(&path, "", 1)).unwrap_err().to_string();

    assert!(said.contains("it is not signed: there is no `") && said.contains("hint:"), "{said}");
    assert!(host.list().is_empty());
}

#[test]
fn what_the_owner_of_the_key_signed_is_loaded() {
    let (ours, signer) = (World::new(), Signer::new());
    let path = ours.file("p.wasm", &Forge::healthy().build());
    signer.sign(&path);

    signer.host().load(&configured(&path, "", 1)).unwrap();

    let said = Signer::new().host().load(&configured(&path, "", 1)).unwrap_err().to_string();
    assert!(said.contains("it was signed with key "), "{said}");
}

#[test]
fn an_upgrade_under_the_signature_of_the_build_before_changes_nothing() {
    let (ours, signer) = (World::new(), Signer::new());
    let host = signer.host();
    let path = ours.file("p.wasm", &Forge::healthy().build());
    signer.sign(&path);
    let before = host.load(&configured(&path, "", 1)).unwrap();

    ours.file("p.wasm", &Forge { fields: "(func $other)".into(), ..Forge::healthy() }.build());
    let said = host.reload(&configured(&path, "", 1), view().now).unwrap_err().to_string();

    assert!(said.contains("it is not what was signed"), "{said}");
    assert_eq!(host.list()[0].loaded.digest, before.digest);
    signer.sign(&path);
    assert_eq!(host.reload(&configured(&path, "", 1), view().now).unwrap(), Reloaded::Waiting);
}
