//! `flocker plugin`, for those who write plugins: works on files, with a node's own host and its limits, without a node.

mod backend;
mod bench;
mod check;
mod componentize;
mod inspect;
mod new;
mod pull;
mod push;
mod registry;
mod replay;
mod scenario;
mod sign;
mod test;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use flocker_api::{Code, Failure};
use flocker_plugins::{
    Configured, Hook, HostConfig, Loaded, OwnLimits, PluginHost, exported_hooks,
};

use crate::{
    args::{AuthorCommand, Limited, Settings},
    terminal::Answer,
};

pub(super) async fn run(command: AuthorCommand) -> Result<Answer, Failure> {
    // The host is synchronous, and takes as long as the plugin does.
    match tokio::task::spawn_blocking(move || work(command)).await {
        Ok(result) => result,
        Err(error) => Err(Failure::new(Code::INTERNAL, format!("it broke off: {error}"))),
    }
}

fn work(command: AuthorCommand) -> Result<Answer, Failure> {
    match command {
        AuthorCommand::New(new) => new::new(&new),
        AuthorCommand::Inspect { subject, grant, settings, registry } => match grant.is_empty() {
            true => inspect::inspect(&subject, &registry),
            false => inspect::lacking(&subject, &Settings { text: settings }, grant),
        },
        AuthorCommand::Componentize { module, output } => {
            componentize::componentize(&module, &output)
        }
        AuthorCommand::Check { file, settings, limited, grant } => {
            check::check(&file, &settings, limited, grant)
        }
        AuthorCommand::Test { file, scenarios, grant, settings, limited } => {
            if exported_hooks(&file).map_err(unusable)?.contains(&Hook::StorageBackend) {
                limited.refuse_for_backend(&file)?;
                backend::test(&file, &scenarios, grant, &Settings { text: settings })
            } else {
                let is_told_as_backend = !grant.is_empty() || settings.is_some();
                test::test(&file, &scenarios, limited.read()?, is_told_as_backend)
            }
        }
        AuthorCommand::Bench { file, settings, limited } => {
            bench::bench(&file, &settings, limited.read()?)
        }
        AuthorCommand::Replay { file, records, since, settings, limited } => {
            let settings = Settings { text: settings }.read()?;
            replay::replay(&configured(&file, settings, limited.read()?), &records, since)
        }
        AuthorCommand::Sign { file, key, comment } => sign::sign(&file, &key, comment),
        AuthorCommand::Verify { file, key } => sign::verify(&file, &key),
        AuthorCommand::Push(arguments) => wait(push::push(&arguments)),
        AuthorCommand::Pull(arguments) => wait(pull::pull(&arguments)),
    }
}

/// Talks to a registry, on this program's one runtime.
fn wait<T>(talk: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(talk)
}

/// A host as a node has it, except that it records nothing. What it compiles is kept, as a node keeps it: a policy in Go or
/// Python takes seconds, and an author runs one tool after the other. A folder that cannot be used is done without.
fn host() -> Result<PluginHost, Failure> {
    let keeps = HostConfig { cache: cache(), ..HostConfig::default() };
    PluginHost::new(keeps)
        .or_else(|_| PluginHost::new(HostConfig::default()))
        .map_err(|e| Failure::from_error(Code::INTERNAL, &e))
}

/// The user's own folder for what can be made again.
fn cache() -> Option<PathBuf> {
    let given = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = given.or_else(|| env::home_dir().map(|home| home.join(".cache")))?;
    Some(caches.join("flocker/compiled-plugins"))
}

/// Loads a plugin as a node does.
fn load(
    host: &PluginHost,
    file: &Path,
    settings: String,
    limits: OwnLimits,
) -> Result<Loaded, Failure> {
    host.load(&configured(file, settings, limits)).map_err(unusable)
}

fn configured(file: &Path, settings: String, limits: OwnLimits) -> Configured {
    Configured { settings, limits, ..Configured::new(file) }
}

/// A file that cannot be used for what was asked.
fn unusable(error: impl std::error::Error) -> Failure {
    Failure::from_error(Code::INVALID_ARGUMENT, &error)
}

/// Lets the plugin's own words be seen on stderr, as a node's log shows them.
fn listen() {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).without_time();
    // There is no other: this program asks once.
    let _ = log.with_target(false).with_env_filter("plugin=trace").try_init();
}

impl Limited {
    fn read(self) -> Result<OwnLimits, Failure> {
        OwnLimits::new(self.limits).map_err(unusable)
    }

    fn refuse_for_backend(&self, file: &Path) -> Result<(), Failure> {
        if self.limits.is_empty() {
            return Ok(());
        }
        let message =
            format!("`{}` is a storage backend, whose limits cannot be changed", file.display());
        Err(Failure::new(Code::INVALID_ARGUMENT, message).hint("leave `--limit` out"))
    }
}

impl Settings {
    /// The settings as JSON; empty where there are none.
    fn read(&self) -> Result<String, Failure> {
        match self.text.as_deref().map(|text| (text.strip_prefix('@'), text)) {
            None => Ok(String::new()),
            Some((None, text)) => Ok(text.to_owned()),
            Some((Some(path), _)) => read(Path::new(path)),
        }
    }
}

/// A file's text.
fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|e| cannot("read", path, &e))
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("could not {what} `{}`: {error}", path.display());
    Failure::new(Code::INVALID_ARGUMENT, message)
}

/// Facts below each other, each with its name; a fact of several lines stays in its column.
fn facts(facts: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, fact) in facts {
        for (position, line) in fact.lines().enumerate() {
            let name = if position == 0 { name } else { "" };
            text += format!("{name:<10}  {line}").trim_end();
            text.push('\n');
        }
    }
    text
}
