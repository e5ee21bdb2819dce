//! `flocker plugin new`: a policy to begin with. The templates stand beside the SDK that they are for.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use flocker_api::{Code, Failure};
use serde_json::json;

use super::cannot;
use crate::{
    args::{New, NewHook},
    terminal::Answer,
};

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("../../../../../sdk/rust/template/", $name))
    };
}

/// The longest name: it becomes the name of a file.
const NAME_CHARS_MAX: usize = 64;

pub(super) fn new(new: &New) -> Result<Answer, Failure> {
    let New { language, name, hook, sdk } = new;
    let refuse = |message: String| Failure::new(Code::INVALID_ARGUMENT, message);
    if language != "rust" {
        let message = format!("there are no templates for `{language}`");
        return Err(refuse(message).hint("there are templates for: rust"));
    }
    if !is_name(name) {
        let message = format!("`{name}` is not a name for a policy");
        return Err(refuse(message).hint(
            "a name has lower-case letters, digits and hyphens, and begins with a letter; such as `my-policy`",
        ));
    }
    let sdk = dependency(sdk.as_deref())?;
    let folder = Path::new(name);
    fs::create_dir(folder).map_err(|e| {
        if e.kind() != io::ErrorKind::AlreadyExists {
            return cannot("make", folder, &e);
        }
        let message = format!("`{name}` exists already");
        Failure::new(Code::ALREADY_EXISTS, message).hint("choose another name, or remove it")
    })?;
    let files = files(name, *hook, &sdk);
    for (path, text) in &files {
        write(&folder.join(path), text)?;
    }
    let paths: Vec<_> = files.iter().map(|(path, _)| *path).collect();
    let text = format!(
        "{name}: {}\nnext: cd {name} && cargo host-test && cargo build --release; README.md goes on from there\n",
        paths.join(", ")
    );
    Ok(Answer::new(json!({"folder": name, "files": paths}), text))
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_CHARS_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// The files of a policy, with its name in place of the templates'.
fn files(name: &str, hook: NewHook, sdk: &str) -> Vec<(&'static str, String)> {
    let (source, scenario) = match hook {
        NewHook::Placement => (template!("placement.rs"), template!("placement.toml")),
        NewHook::Rebalance => (template!("rebalance.rs"), template!("rebalance.toml")),
        NewHook::Backups => (template!("backups.rs"), template!("backups.toml")),
        NewHook::Failover => (template!("failover.rs"), template!("failover.toml")),
    };
    let named = |text: &str| {
        text.replace("my-policy", name)
            .replace("my_policy", &name.replace('-', "_"))
            .replace("MyPolicy", &type_name(name))
    };
    vec![
        ("Cargo.toml", named(template!("manifest.toml")).replace("path = \"..\"", sdk)),
        (".cargo/config.toml", template!("config.toml").to_owned()),
        (".gitignore", template!("gitignore").to_owned()),
        ("README.md", named(template!("README.md"))),
        ("src/lib.rs", named(source)),
        ("scenarios/first.toml", scenario.to_owned()),
    ]
}

/// `my-policy` as a type: `MyPolicy`. Others get the word too, as `Node` or `Self` would be somebody else's type.
fn type_name(name: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    let named = name.split('-').map(part).collect::<String>();
    if name.ends_with("-policy") { named } else { named + "Policy" }
}

/// Where the SDK comes from, as a manifest says it.
fn dependency(given: Option<&Path>) -> Result<String, Failure> {
    let folder = match given {
        Some(folder) => folder.to_owned(),
        None => found().ok_or_else(|| {
            Failure::new(Code::INVALID_ARGUMENT, "no SDK was found in the folders above this one")
                .hint(
                    "`--sdk DIR` names it: the folder `sdk/rust` of a checkout of flocker-runtime",
                )
        })?,
    };
    let whole = fs::canonicalize(&folder).map_err(|e| cannot("use", &folder, &e))?;
    if !is_sdk(&whole) {
        let message = format!("`{}` is not the SDK", folder.display());
        return Err(Failure::new(Code::INVALID_ARGUMENT, message)
            .hint("it is the folder `sdk/rust` of a checkout of flocker-runtime"));
    }
    Ok(format!("path = {}", toml::Value::String(whole.display().to_string())))
}

/// The SDK of the checkout that this folder is in.
fn found() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join("sdk/rust")).find(|folder| is_sdk(folder))
}

fn is_sdk(folder: &Path) -> bool {
    let manifest = fs::read_to_string(folder.join("Cargo.toml"));
    manifest.is_ok_and(|text| text.contains("name = \"flocker-sdk\""))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| cannot("make", folder, &e))?;
    }
    fs::write(path, text).map_err(|e| cannot("write", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_and_the_wasm_file_can_bear() {
        for good in ["a", "my-policy", "tier2"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "My", "2nd", "-x", "a_b", "a/b", "..", "ä", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
        for (name, of_type) in
            [("my-2nd-policy", "My2ndPolicy"), ("node", "NodePolicy"), ("policy", "PolicyPolicy")]
        {
            assert_eq!(type_name(name), of_type);
        }
    }

    #[test]
    fn nothing_of_the_templates_own_names_is_left() {
        let hooks = [NewHook::Placement, NewHook::Rebalance, NewHook::Backups, NewHook::Failover];
        for hook in hooks {
            for (path, text) in files("tidy-up", hook, "path = \"/sdk\"") {
                for left in ["my-policy", "my_policy", "MyPolicy", "path = \"..\""] {
                    assert!(!text.contains(left), "{path}: {left}");
                }
            }
        }
    }
}
