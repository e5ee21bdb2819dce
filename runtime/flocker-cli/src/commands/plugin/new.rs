//! `flocker plugin new`: a policy or a storage backend to begin with, in the language of its author's choice.

mod templates;

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use flocker_api::{Code, Failure};
use serde_json::json;

use self::templates::{TEMPLATES, Template};
use super::cannot;
use crate::{
    args::{New, NewHook},
    terminal::Answer,
};

/// The longest name: it becomes the name of a file.
const NAME_CHARS_MAX: usize = 64;

pub(super) fn new(new: &New) -> Result<Answer, Failure> {
    let New { language, name, hook, sdk } = new;
    let template = template(language)?;
    if !is_name(name) {
        return Err(refuse(format!("`{name}` is not a name for a plugin")).hint(
            "a name has lower-case letters, digits and hyphens, and begins with a letter; such as `my-policy`",
        ));
    }
    let files = template.files_of(*hook).ok_or_else(|| {
        let has = |t: &&Template| t.files_of(*hook).is_some();
        refuse(format!("there is no template of this kind for `{language}`"))
            .hint(format!("there is one for: {}", languages(TEMPLATES.iter().filter(has))))
    })?;
    let sdk = sdk_folder(template, sdk.as_deref())?;
    let folder = Path::new(name);
    fs::create_dir(folder).map_err(|e| {
        if e.kind() != io::ErrorKind::AlreadyExists {
            return cannot("make", folder, &e);
        }
        let message = format!("`{name}` exists already");
        Failure::new(Code::ALREADY_EXISTS, message).hint("choose another name, or remove it")
    })?;
    for (path, text) in &files {
        write(&folder.join(path), &filled(text, name, *hook, &sdk))?;
    }
    let paths: Vec<_> = files.iter().map(|(path, _)| *path).collect();
    let next = if is_backend(*hook) {
        format!("check {name}.wasm --grant directory=pool:/srv/pool --grant kv=1MiB")
    } else {
        format!("test {name}.wasm scenarios/*.toml")
    };
    let text = format!(
        "{name}: {}\nnext: cd {name} && ./build.sh && flocker plugin {next}; README.md goes on from there\n",
        paths.join(", ")
    );
    Ok(Answer::new(json!({"folder": name, "files": paths}), text))
}

fn refuse(message: String) -> Failure {
    Failure::new(Code::INVALID_ARGUMENT, message)
}

fn template(language: &str) -> Result<&'static Template, Failure> {
    TEMPLATES.iter().find(|t| t.language == language).ok_or_else(|| {
        refuse(format!("there are no templates for `{language}`"))
            .hint(format!("there are templates for: {}", languages(TEMPLATES.iter())))
    })
}

fn languages(templates: impl Iterator<Item = &'static Template>) -> String {
    templates.map(|template| template.language).collect::<Vec<_>>().join(", ")
}

fn is_backend(hook: NewHook) -> bool {
    hook == NewHook::Backend
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_CHARS_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// A template's text with the placeholders replaced: the name as it was given, as an identifier, as a type, and where
/// the SDK is.
fn filled(text: &str, name: &str, hook: NewHook, sdk: &str) -> String {
    text.replace("{{name}}", name)
        .replace("{{snake}}", &name.replace('-', "_"))
        .replace("{{type}}", &type_name(name, if is_backend(hook) { "backend" } else { "policy" }))
        .replace("{{sdk}}", sdk)
}

/// `my-policy` as a type: `MyPolicy`. Others get the word for what it is too, as `Node` or `Self` would be somebody else's
/// type.
fn type_name(name: &str, what: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    let named = name.split('-').map(part).collect::<String>();
    if name.ends_with(&format!("-{what}")) { named } else { named + &part(what) }
}

/// Where the SDK is, as the files of a project say it.
fn sdk_folder(template: &Template, given: Option<&Path>) -> Result<String, Failure> {
    let hint = format!("the folder `{}` of a checkout of flocker-runtime", template.sdk);
    let folder = match given {
        Some(folder) => folder.to_owned(),
        None => found(template).ok_or_else(|| {
            refuse("no SDK was found in the folders above this one".to_owned())
                .hint(format!("`--sdk DIR` names it: {hint}"))
        })?,
    };
    let whole = fs::canonicalize(&folder).map_err(|e| cannot("use", &folder, &e))?;
    if !template.is_sdk(&whole) {
        let message = format!("`{}` is not the SDK for {}", folder.display(), template.language);
        return Err(refuse(message).hint(format!("it is {hint}")));
    }
    // It stands between quotes in manifests and scripts, and none of those languages quotes like another.
    let special = |c: char| c.is_control() || "\"'`$\\".contains(c);
    match whole.to_str() {
        Some(path) if !path.contains(special) => Ok(path.to_owned()),
        Some(_) | None => {
            let message = format!("the path of the SDK cannot be quoted: `{}`", whole.display());
            Err(refuse(message).hint("put it where the path has only letters, digits and spaces"))
        }
    }
}

/// The SDK of the checkout that this folder is in.
fn found(template: &Template) -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    here.ancestors().map(|above| above.join(template.sdk)).find(|folder| template.is_sdk(folder))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| cannot("make", folder, &e))?;
    }
    fs::write(path, text).map_err(|e| cannot("write", path, &e))?;
    if text.starts_with("#!") {
        let anybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(path, anybody).map_err(|e| cannot("make executable", path, &e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn names_that_a_package_and_the_wasm_file_can_bear() {
        for good in ["a", "my-policy", "tier2"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "My", "2nd", "-x", "a_b", "a/b", "..", "ä", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
        for (name, of_type) in
            [("my-2nd-policy", "My2ndPolicy"), ("node", "NodePolicy"), ("policy", "PolicyPolicy")]
        {
            assert_eq!(type_name(name, "policy"), of_type);
        }
        assert_eq!(type_name("my-storage", "backend"), "MyStorageBackend");
    }

    #[test]
    fn every_template_is_filled_in_and_builds_by_its_script() {
        let hooks = NewHook::value_variants();
        for (template, hook) in TEMPLATES.iter().flat_map(|t| hooks.iter().map(move |h| (t, *h))) {
            let files = template.files_of(hook);
            assert!(files.is_some() || is_backend(hook), "{} lacks {hook:?}", template.language);
            let Some(files) = files else { continue };
            for (path, text) in &files {
                let text = filled(text, "tidy-up", hook, "/sdk");
                // Braces of the language's own may stand together as well.
                let word = |rest: &str| rest.split_once("}}").map(|(word, _)| word.to_owned());
                let is_one =
                    |w: &String| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase());
                let left = text.split("{{").skip(1).filter_map(word).find(is_one);
                assert_eq!(left, None, "{} {path}: a placeholder is left", template.language);
                assert!(!text.contains("my-policy"), "{} {path}: `my-policy`", template.language);
            }
            let text_of = |wanted: &str| files.iter().find(|(path, _)| *path == wanted).unwrap().1;
            assert!(text_of("build.sh").starts_with("#!/bin/sh\n"), "{}", template.language);
            assert!(text_of("build.sh").contains("{{name}}.wasm"), "{}", template.language);
            assert!(text_of("README.md").contains("./build.sh"), "{}", template.language);
        }
    }
}
