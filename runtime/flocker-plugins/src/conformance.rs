//! The rules that every backend must keep, asked of a component on its author's machine: the same contract that our own
//! backends are tested with, on two nodes made up of temporary folders. What an operator granted is not touched but for
//! a new folder in each directory, which is removed again.

use std::{
    any::Any,
    collections::BTreeMap,
    io,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flocker_ports::{
    Backend,
    contract::backend::{self as contract, Pair, RealFiles},
};
use futures::{FutureExt, future::LocalBoxFuture};
use tempfile::TempDir;

use crate::{
    backend::{BackendConfig, BackendInfo, BackendLimits, OpenBackendError, PluginBackend},
    grants::Grants,
};

/// A call that changes something may take so long here: what the rules write is small.
const WALL_CHANGE: Duration = Duration::from_secs(30);
/// A rule has this long. Three calls that each take all their time still end within it.
const RULE: Duration = Duration::from_secs(180);

/// One rule of the contract.
#[derive(Clone, Copy)]
pub struct Rule {
    /// The sentence that it is, with `_` for spaces.
    pub name: &'static str,
    run: for<'a> fn(Pair<'a>) -> LocalBoxFuture<'a, ()>,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! rules {
    ({} $($name:ident)*) => {
        &[$(Rule {
            name: stringify!($name),
            run: {
                fn run(pair: Pair<'_>) -> LocalBoxFuture<'_, ()> {
                    Box::pin(contract::$name(pair))
                }
                run
            },
        }),*]
    };
}

/// All rules, in the order in which they are best read.
pub const RULES: &[Rule] = flocker_ports::each_backend_contract! { rules! {} };

/// What became of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept.
    Passed,
    /// It is broken, and how.
    Failed(String),
    /// It is about something that the backend does not claim to have, and what that is.
    PassedOver(String),
}

/// Why nothing can be tried.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The component is not loaded.
    #[error(transparent)]
    Open(#[from] OpenBackendError),
    /// There is no room for its folders.
    #[error(
        "could not make a folder for the trial in `{path}`: {error}\nhint: grant a directory that this user can write to"
    )]
    Folder { path: PathBuf, error: io::Error },
}

/// Two nodes with the component as their storage.
#[derive(Debug)]
pub struct Trial {
    source: PluginBackend,
    target: PluginBackend,
    folders: Vec<TempDir>,
}

impl Trial {
    /// Starts the component twice. Grants other than directories are given to both as they are.
    ///
    /// # Errors
    /// [`TrialError`].
    pub async fn open(path: &Path, settings: &str, grants: &Grants) -> Result<Self, TrialError> {
        let mut folders = Vec::new();
        let source = node(path, settings, grants, &mut folders).await?;
        let target = node(path, settings, grants, &mut folders).await?;
        Ok(Self { source, target, folders })
    }

    /// Who is tried, and how often the node that volumes are made on called it.
    #[must_use]
    pub fn info(&self) -> BackendInfo {
        self.source.info()
    }

    /// Tries one rule.
    pub async fn judge(&self, rule: &Rule) -> Verdict {
        if let Some(feature) = contract::missing_feature(rule.name, &self.source) {
            let driver = self.source.describe().driver;
            return Verdict::PassedOver(format!("`{driver}` does not declare `{feature}`"));
        }
        let pair = Pair { source: &self.source, target: &self.target, content: &RealFiles };
        let said = Said::listen();
        let kept = AssertUnwindSafe((rule.run)(pair)).catch_unwind();
        match tokio::time::timeout(RULE, kept).await {
            Ok(Ok(())) => Verdict::Passed,
            Ok(Err(panic)) => Verdict::Failed(said.words(panic.as_ref())),
            Err(_) => Verdict::Failed(format!("it was not done after {RULE:?}")),
        }
    }

    /// Takes mounts and folders away.
    ///
    /// # Errors
    /// What stays, and why.
    pub fn close(self) -> io::Result<()> {
        // A folder in which something is still mounted would be emptied through the mount.
        self.source.close()?;
        self.target.close()?;
        self.folders.into_iter().try_for_each(TempDir::close)
    }
}

async fn node(
    path: &Path,
    settings: &str,
    grants: &Grants,
    folders: &mut Vec<TempDir>,
) -> Result<PluginBackend, TrialError> {
    let mut directories = BTreeMap::new();
    for (name, granted) in &grants.directories {
        directories.insert(name.clone(), folder(granted, folders)?);
    }
    let state_dir = folder(&std::env::temp_dir(), folders)?;
    let config = BackendConfig {
        path: path.to_owned(),
        settings: settings.to_owned(),
        grants: Grants { directories, ..grants.clone() },
        state_dir,
        cache: None,
        limits: BackendLimits { wall_change: WALL_CHANGE, ..BackendLimits::default() },
        signed_by: None,
    };
    Ok(PluginBackend::open(config).await?)
}

fn folder(within: &Path, folders: &mut Vec<TempDir>) -> Result<PathBuf, TrialError> {
    let made = tempfile::Builder::new().prefix("flocker-plugin-test-").tempdir_in(within);
    let made = made.map_err(|error| TrialError::Folder { path: within.to_owned(), error })?;
    let path = made.path().to_owned();
    folders.push(made);
    Ok(path)
}

type Hook = Box<dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync>;

/// A rule fails by a panic; where that was is heard here instead of being printed. What listened before listens again
/// afterwards.
struct Said {
    place: Arc<Mutex<Option<String>>>,
    before: Option<Hook>,
}

impl Said {
    fn listen() -> Self {
        let place = Arc::new(Mutex::new(None));
        let before = Some(std::panic::take_hook());
        let heard = Arc::clone(&place);
        std::panic::set_hook(Box::new(move |info| {
            let at = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = at;
        }));
        Self { place, before }
    }

    fn words(&self, panic: &(dyn Any + Send)) -> String {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let words = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        let at = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        match at.as_deref() {
            Some(at) => format!("{words}\nat {at}"),
            None => words.to_owned(),
        }
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            std::panic::set_hook(before);
        }
    }
}
