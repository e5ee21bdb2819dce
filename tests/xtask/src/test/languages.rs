//! Policies in every language that has an SDK, and storage backends where there is a template, as their authors begin them: made with `flocker plugin new`, built with the
//! script that it writes, checked, and asked by the command.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::Summary;
use crate::{
    artifacts, go,
    machine::{self, Ability},
    shell,
};

const HOOKS: [&str; 4] = ["placement", "rebalance", "backups", "failover"];

/// What a project's script needs, by the variables that name it, or what is missing.
type Tools = Result<Vec<(&'static str, PathBuf)>, &'static str>;

/// A language, and what can be done with it here.
struct Language {
    name: &'static str,
    /// Hooks whose policies are built and asked alone. A host that is built without optimisation takes half a minute and
    /// more to compile what some languages bring along.
    asked: &'static [&'static str],
    /// A policy's file, where one component with all hooks is asked instead: the policies of `flocker plugin new`, joined
    /// by what is in the SDK's `tests/every`.
    joined: Option<&'static str>,
    /// What the script needs.
    tools: fn() -> Tools,
    /// The author's own tests, run in a project's folder.
    own_tests: Option<OwnTests>,
    /// Words for the same program that run the SDK's tests, in the SDK's folder.
    sdk_tests: Option<&'static [&'static str]>,
    example: Option<Example>,
    /// Whether there is a template of a storage backend.
    backend: bool,
}

/// The program that runs an author's tests, found by the first of [`Tools`], and its words.
struct OwnTests {
    program: fn(&Path) -> PathBuf,
    words: &'static [&'static str],
}

/// A folder of `examples/`, and the policy that it builds.
#[derive(Clone, Copy)]
struct Example {
    folder: &'static str,
    wasm: &'static str,
}

const LANGUAGES: [Language; 5] = [
    Language {
        name: "rust",
        asked: &HOOKS,
        joined: None,
        tools: || Ok(Vec::new()),
        own_tests: None,
        sdk_tests: None,
        example: None,
        backend: true,
    },
    Language {
        name: "c",
        asked: &HOOKS,
        joined: None,
        tools: c,
        own_tests: None,
        sdk_tests: None,
        example: Some(Example { folder: "apart-policy-c", wasm: "apart.wasm" }),
        backend: false,
    },
    Language {
        name: "go",
        asked: &["placement"],
        joined: None,
        tools: go,
        own_tests: Some(OwnTests { program: Path::to_path_buf, words: &["test", "."] }),
        sdk_tests: None,
        example: Some(Example { folder: "price-policy-go", wasm: "price.wasm" }),
        backend: false,
    },
    Language {
        name: "javascript",
        asked: &[],
        joined: Some("policy.js"),
        tools: node,
        own_tests: Some(OwnTests { program: Path::to_path_buf, words: &["test", "--silent"] }),
        sdk_tests: Some(&["test", "--silent"]),
        example: Some(Example { folder: "label-backups-typescript", wasm: "label-backups.wasm" }),
        backend: false,
    },
    Language {
        name: "python",
        asked: &[],
        joined: Some("policy.py"),
        tools: python,
        own_tests: Some(OwnTests {
            program: |venv| venv.join("bin/python"),
            words: &["-B", "-m", "unittest"],
        }),
        sdk_tests: Some(&["-B", "-m", "unittest", "discover", "tests"]),
        example: Some(Example { folder: "weights-policy-python", wasm: "weights.wasm" }),
        backend: false,
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

fn node() -> Tools {
    machine::node().ok_or("no Node.js 20 or newer is installed")?;
    let npm = shell::find("npm").ok_or("npm is not installed")?;
    Ok(vec![("NPM", npm)])
}

/// One environment for all projects: the script makes it where it is missing.
fn python() -> Tools {
    machine::python().ok_or("no Python 3.11 or newer with venv is installed")?;
    Ok(vec![("VENV", artifacts::target_folder().join("sdk-projects/venv"))])
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
        HOOKS.iter().try_for_each(|hook| self.policy(&folder, hook, tools))?;
        if self.backend {
            self.backend(&folder, tools)?;
        }
        self.joined.map_or(Ok(()), |file| self.join(&folder, file, tools))?;
        self.example.map_or(Ok(()), |example| self.example(example, tools))?;
        self.sdk_tests.map_or(Ok(()), |words| self.own_tests(&self.sdk(), Some(words), tools))
    }

    fn sdk(&self) -> PathBuf {
        crate::root().join("sdk").join(self.name)
    }

    fn build(&self, project: &Path, tools: &[(&str, PathBuf)]) -> Result<()> {
        let mut build = Command::new("./build.sh");
        build.current_dir(project).env("FLOCKER", program()).envs(tools.iter().cloned());
        // One folder for all of them, so that what they share is built once.
        build.env("CARGO_TARGET_DIR", artifacts::target_folder().join("sdk-projects/target"));
        shell::run(&mut build)?;
        self.own_tests(project, None, tools)
    }

    /// Runs what the author would, or these words, in a folder.
    fn own_tests(
        &self,
        at: &Path,
        words: Option<&[&str]>,
        tools: &[(&str, PathBuf)],
    ) -> Result<()> {
        let Some((own, (_, tool))) = self.own_tests.as_ref().zip(tools.first()) else {
            return Ok(());
        };
        shell::run(
            Command::new((own.program)(tool)).args(words.unwrap_or(own.words)).current_dir(at),
        )
    }

    fn example(&self, example: Example, tools: &[(&str, PathBuf)]) -> Result<()> {
        let project = crate::root().join("examples").join(example.folder);
        self.build(&project, tools)?;
        let mut test = flocker(&project)?;
        shell::run(test.args(["plugin", "test", example.wasm]).args(scenarios(&project)?))
    }

    /// Makes a project and builds it. Answers its folder and its component.
    fn project(
        &self,
        folder: &Path,
        hook: &str,
        tools: &[(&str, PathBuf)],
    ) -> Result<(PathBuf, String)> {
        let name = format!("my-{hook}");
        let mut new = flocker(folder)?;
        new.args(["plugin", "new", self.name, &name, "--hook", hook, "--sdk"]).arg(self.sdk());
        shell::run(&mut new)?;
        let project = folder.join(&name);
        self.build(&project, tools)?;
        Ok((project, format!("{name}.wasm")))
    }

    fn policy(&self, folder: &Path, hook: &str, tools: &[(&str, PathBuf)]) -> Result<()> {
        let (project, wasm) = self.project(folder, hook, tools)?;
        // `flocker plugin componentize` has checked the exports of the others.
        if self.asked.contains(&hook) { ask(&project, &wasm) } else { Ok(()) }
    }

    /// The four policies as one component, in a copy of the first project.
    fn join(&self, folder: &Path, file: &str, tools: &[(&str, PathBuf)]) -> Result<()> {
        let project = folder.join("my-placement");
        for hook in HOOKS {
            let of = folder.join(format!("my-{hook}"));
            let (from, extension) = (of.join(file), Path::new(file).extension());
            let part = project.join(hook).with_extension(extension.unwrap_or_default());
            copy(&from, &part)?;
            copy(
                &of.join("scenarios/first.toml"),
                &project.join(format!("scenarios/{hook}.toml")),
            )?;
        }
        copy(&self.sdk().join("tests/every").join(file), &project.join(file))?;
        self.build(&project, tools)?;
        ask(&project, "my-placement.wasm")
    }

    /// Its rules are only tried by root, who may mount volumes.
    fn backend(&self, folder: &Path, tools: &[(&str, PathBuf)]) -> Result<()> {
        let (project, wasm) = self.project(folder, "backend", tools)?;
        let pool = project.join("pool");
        fs::create_dir(&pool).with_context(|| format!("could not make `{}`", pool.display()))?;
        let directory = format!("directory=pool:{}", pool.display());
        let ask = |word: &str| {
            let mut ask = flocker(&project)?;
            ask.args(["plugin", word, &wasm, "--grant", &directory, "--grant", "kv=1MiB"]);
            shell::run(&mut ask)
        };
        ask("check")?;
        if Ability::Root.here() { ask("test") } else { Ok(()) }
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = fs::copy(from, to);
    copied.with_context(|| format!("could not copy `{}` to `{}`", from.display(), to.display()))?;
    Ok(())
}

/// Checks a component, and asks it what the project's scenarios do.
fn ask(project: &Path, wasm: &str) -> Result<()> {
    shell::run(flocker(project)?.args(["plugin", "check", wasm]))?;
    shell::run(flocker(project)?.args(["plugin", "test", wasm]).args(scenarios(project)?))
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
