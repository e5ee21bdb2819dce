//! Policies in every language that has an SDK, as their authors begin them: made with `flocker plugin new`, built with the
//! script that it writes, checked, and asked by the command.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::Summary;
use crate::{artifacts, go, shell};

const HOOKS: [&str; 4] = ["placement", "rebalance", "backups", "failover"];

/// Programs by the variables that name them to a project's script, or what is missing.
type Tools = Result<Vec<(&'static str, PathBuf)>, &'static str>;

/// A language, and what can be done with it here.
struct Language {
    name: &'static str,
    /// Hooks whose policies are asked; the others are only built. A host that is built without optimisation takes half a
    /// minute to compile what some languages bring along.
    asked: &'static [&'static str],
    /// What the script needs.
    tools: fn() -> Tools,
    /// The author's own tests, in a project's folder.
    own_tests: Option<&'static [&'static str]>,
    /// A folder of `examples/`, and the policy that it builds.
    example: Option<(&'static str, &'static str)>,
}

const LANGUAGES: [Language; 3] = [
    Language {
        name: "rust",
        asked: &HOOKS,
        tools: || Ok(Vec::new()),
        own_tests: None,
        example: None,
    },
    Language {
        name: "c",
        asked: &HOOKS,
        tools: c,
        own_tests: None,
        example: Some(("apart-policy-c", "apart.wasm")),
    },
    Language {
        name: "go",
        asked: &["placement"],
        tools: go,
        own_tests: Some(&["test", "."]),
        example: Some(("price-policy-go", "price.wasm")),
    },
];

fn c() -> Tools {
    let clang = shell::find("clang").ok_or("clang is not installed")?;
    shell::find("wasm-ld").ok_or("lld is not installed")?;
    let has_library = Path::new("/usr/lib/wasm32-wasi/libc.a").is_file();
    if has_library { Ok(vec![("CC", clang)]) } else { Err("wasi-libc is not installed") }
}

fn go() -> Tools {
    go::find().map(|go| vec![("GO", go)]).ok_or("no Go 1.24 or newer is installed")
}

/// Runs these languages, or all; those whose tools are missing are skipped by name.
pub(super) fn run(summary: &mut Summary, only: &[String]) -> Result<()> {
    let unknown = only.iter().find(|name| LANGUAGES.iter().all(|l| l.name != *name));
    ensure!(unknown.is_none(), "there is no SDK for `{}`", unknown.map_or("", |n| n));
    let chosen = LANGUAGES.iter().filter(|l| only.is_empty() || only.iter().any(|n| n == l.name));
    for language in chosen {
        let name = format!("policies in {}", language.name);
        match (language.tools)() {
            Ok(tools) => summary.check(&name, || language.try_out(&tools))?,
            Err(why) => summary.skip(&name, why),
        }
    }
    Ok(())
}

impl Language {
    fn try_out(&self, tools: &[(&str, PathBuf)]) -> Result<()> {
        let folder = artifacts::target_folder().join("sdk-projects").join(self.name);
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("could not remove `{}`", folder.display()))?;
        }
        fs::create_dir_all(&folder)
            .with_context(|| format!("could not make `{}`", folder.display()))?;
        HOOKS.iter().try_for_each(|hook| self.project(&folder, hook, tools))?;
        self.example.map_or(Ok(()), |(folder, wasm)| self.example(folder, wasm, tools))
    }

    fn build(&self, project: &Path, tools: &[(&str, PathBuf)]) -> Result<()> {
        let mut build = Command::new("./build.sh");
        build.current_dir(project).env("FLOCKER", program()).envs(tools.iter().cloned());
        // One folder for all of them, so that what they share is built once.
        build.env("CARGO_TARGET_DIR", artifacts::target_folder().join("sdk-projects/target"));
        shell::run(&mut build)?;
        match (self.own_tests, tools.first()) {
            (Some(words), Some((_, tool))) => {
                shell::run(Command::new(tool).args(words).current_dir(project))
            }
            (Some(_), None) | (None, _) => Ok(()),
        }
    }

    fn example(&self, folder: &str, wasm: &str, tools: &[(&str, PathBuf)]) -> Result<()> {
        let project = crate::root().join("examples").join(folder);
        self.build(&project, tools)?;
        let mut test = flocker(&project)?;
        shell::run(test.args(["plugin", "test", wasm]).args(scenarios(&project)?))
    }

    fn project(&self, folder: &Path, hook: &str, tools: &[(&str, PathBuf)]) -> Result<()> {
        let name = format!("my-{hook}");
        let sdk = crate::root().join("sdk").join(self.name);
        let mut new = flocker(folder)?;
        new.args(["plugin", "new", self.name, &name, "--hook", hook, "--sdk"]).arg(sdk);
        shell::run(&mut new)?;
        let project = folder.join(&name);
        self.build(&project, tools)?;
        let wasm = format!("{name}.wasm");
        let words: &[&[&str]] = if self.asked.contains(&hook) {
            &[&["check", &wasm], &["test", &wasm, "scenarios/first.toml"]]
        } else {
            &[] // `flocker plugin componentize` has checked its exports
        };
        words.iter().try_for_each(|w| shell::run(flocker(&project)?.arg("plugin").args(*w)))
    }
}

/// The scenarios of a project.
fn scenarios(project: &Path) -> Result<Vec<PathBuf>> {
    let folder = project.join("scenarios");
    let entries = fs::read_dir(&folder);
    let entries = entries.with_context(|| format!("could not read `{}`", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn program() -> PathBuf {
    artifacts::target_folder().join("debug/flocker")
}

fn flocker(folder: &Path) -> Result<Command> {
    ensure!(
        program().is_file(),
        "`{}` is missing\nhint: cargo build -p flocker-cli",
        program().display()
    );
    let mut command = Command::new(program());
    command.current_dir(folder);
    // What they compile belongs to this checkout, not to the user.
    if env::var_os("XDG_CACHE_HOME").is_none() {
        command.env("XDG_CACHE_HOME", artifacts::target_folder().join("sdk-projects/cache"));
    }
    Ok(command)
}
