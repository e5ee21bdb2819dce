//! All plugins of a node, in the order in which they were configured.

use std::{
    fmt,
    hash::Hash,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
};

use flocker_model::{OperationId, Timestamp};
use flocker_planner::{
    Answer, BuiltIn, ClusterView, Droppable, Incident, PlacementQuestion, Policies, PolicyAnswer,
    PolicyFailure, ProposedMove, PruneQuestion, RebalanceQuestion, Schedule, ScheduleQuestion,
    Verdict, backups, failover, rebalance,
};
use wasmtime::{Engine, component::Linker};

use crate::{
    backend,
    bindings::flocker::plugin::types,
    chatter::{Chatter, tame},
    compiler::{self, For},
    contract::Hook,
    dictionary::Dictionary,
    engine::{self, EngineError, HostConfig, Limits},
    guest::{Blueprint, Guest, Moment},
    hooks::{self, Ask},
    inspect::{self, Inspection},
    load::{self, Checked, LoadError, Refusal, Trust},
    own_limits::OwnLimits,
    pending::{Pending, PendingInfo},
    plugin::{Asking, Loaded, Mode, Plugin, PluginInfo, Warm},
    record::{RecordError, Recorder},
    settings,
    slot::{About, Seat, Slot, compare},
    state::{self, State},
    upgrade::{Trial, TrialInfo},
    view::{Frozen, Source},
    watchdog::Watchdog,
};

/// What the planner calls its own policies.
const BUILT_IN: &str = "built-in";

/// A plugin as the operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// The file.
    pub path: PathBuf,
    /// A JSON document; nothing or `{}` where there are no settings.
    pub settings: String,
    /// How much it counts beside others of its kind.
    pub weight: u32,
    /// Whether its answers count.
    pub mode: Mode,
    /// What it may use up, where that is not what the others may.
    pub limits: OwnLimits,
}

impl Configured {
    /// A plugin without settings that counts as one.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let (settings, limits) = (String::new(), OwnLimits::default());
        Self { path: path.to_owned(), settings, weight: 1, mode: Mode::Active, limits }
    }
}

/// Loads plugins and asks them. Every call is synchronous and returns in bounded time; give it a thread of its own.
pub struct PluginHost {
    engine: Engine,
    linker: Linker<State>,
    watchdog: Arc<Watchdog>,
    limits: Limits,
    trust: Trust,
    cache: Option<PathBuf>,
    recorder: Option<Recorder>,
    plugins: RwLock<Vec<Slot>>,
    pending: Pending,
    dictionary: Arc<Dictionary>,
    /// What was made of the view that was asked about last: mostly the next question is about the same. Not the view
    /// itself: whoever gives that back at last spends longer on it than on a decision.
    frozen: Mutex<Option<(Weak<ClusterView>, Arc<Frozen>)>>,
}

impl fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            self.plugins().iter().map(|slot| slot.current.loaded.name.clone()).collect();
        f.debug_struct("PluginHost").field("plugins", &names).finish_non_exhaustive()
    }
}

/// What became of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// The file is what is loaded already.
    Unchanged,
    /// It was not there before, and counts from now on.
    Loaded,
    /// It is still being loaded, as it was configured before.
    Loading,
    /// It is asked beside the present build until it has earned its place.
    Waiting,
    /// Nobody acted on the build before either: it took its place at once.
    Replaced {
        /// The digest of the build before.
        former: String,
    },
}

impl PluginHost {
    /// Starts the engine, and the recorder if decisions are to be kept.
    ///
    /// # Errors
    /// [`EngineError`] when a folder cannot be used or this machine cannot run WebAssembly.
    pub fn new(config: HostConfig) -> Result<Self, EngineError> {
        let (engine, watchdog) = engine::start(&config)?;
        let linker =
            state::linker(&engine).map_err(|e| EngineError::Unsupported(format!("{e:#}")))?;
        let recorder = config.records.as_ref().map(Recorder::start).transpose();
        Ok(Self {
            engine,
            linker,
            watchdog: Arc::new(watchdog),
            trust: Trust { bytes_max: config.limits.file_bytes, signed_by: config.signed_by },
            limits: config.limits,
            cache: config.cache,
            recorder: recorder.map_err(|e: RecordError| EngineError::Records(e.to_string()))?,
            plugins: RwLock::default(),
            pending: Pending::default(),
            dictionary: Arc::default(),
            frozen: Mutex::default(),
        })
    }

    /// Loads, checks, starts and configures a plugin; from then on it is asked.
    ///
    /// # Errors
    /// [`LoadError`] says what the file is instead of a plugin, or what the plugin did. Nothing of it stays behind.
    pub fn load(&self, configured: &Configured) -> Result<Loaded, LoadError> {
        let plugin = self.prepare(configured).inspect_err(|error| {
            self.pending.settled(&configured.path, Err(error));
        })?;
        let loaded = plugin.loaded.clone();
        tracing::info!(plugin = %loaded.name, version = %loaded.version, digest = %loaded.digest, mode = plugin.mode.as_str(), "plugin loaded");
        let slot = Slot::new(plugin);
        self.plugins.write().unwrap_or_else(PoisonError::into_inner).push(slot);
        // Only now: at no time it is in neither list.
        self.pending.settled(&configured.path, Ok(()));
        Ok(loaded)
    }

    /// Counts plugins that are going to be loaded as ones that fail until they are: what they would have a say in is
    /// decided without them.
    pub fn announce(&self, configured: &[Configured], now: Timestamp) {
        configured.iter().for_each(|plugin| self.pending.announce(plugin, now));
    }

    /// Plugins that were announced and are not loaded, with the reason where they will not be.
    #[must_use]
    pub fn pending(&self) -> Vec<PendingInfo> {
        self.pending.list()
    }

    /// Loads a plugin's file again and checks the new build as any other. Where the present build's answers count, the new
    /// one is first asked in shadow, for [`SHADOW_DECISIONS`] decisions or [`SHADOW_FOR`]; if it never fails, it takes the
    /// present one's place between two questions. That one stays at hand, for when the new one keeps failing later.
    ///
    /// # Errors
    /// [`LoadError`]; the present build then goes on as before.
    pub fn reload(&self, configured: &Configured, now: Timestamp) -> Result<Reloaded, LoadError> {
        self.reload_nth(configured, 0, now)
    }

    /// Makes the plugins those of a configuration: reloads what is there, with its present settings, weight, mode and
    /// limits, loads what is new, and lets go of what is gone. One that cannot be used keeps nobody else from it. Says
    /// what became of each.
    pub fn reconfigure(
        &self,
        configured: &[Configured],
        now: Timestamp,
    ) -> Vec<Result<Reloaded, LoadError>> {
        let times = |path: &Path, all: &[Configured]| all.iter().filter(|c| c.path == path).count();
        // Under one lock: another plugin may be loaded just now.
        let mut plugins = self.plugins.write().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Vec::new();
        for slot in std::mem::take(&mut *plugins) {
            let path = &slot.current.path;
            let before = kept.iter().filter(|other: &&Slot| other.current.path == *path).count();
            if before < times(path, configured) {
                kept.push(slot);
            } else {
                tracing::info!(plugin = %slot.current.loaded.name, "plugin let go: it is not configured any more");
            }
        }
        *plugins = kept;
        drop(plugins);
        self.pending.keep(configured);
        // The same file may be configured several times.
        let again = |(position, plugin): (usize, &Configured)| {
            let nth = times(&plugin.path, configured.get(..position).unwrap_or_default());
            let is_there = |slot: &Slot| slot.current.path == plugin.path;
            if self.pending.is_loading(&plugin.path) {
                Ok(Reloaded::Loading)
            } else if self.plugins().iter().filter(|slot| is_there(slot)).count() > nth {
                self.reload_nth(plugin, nth, now)
            } else {
                self.load(plugin).map(|_| Reloaded::Loaded)
            }
        };
        let became = configured.iter().enumerate().map(again).collect();
        self.arrange(configured);
        became
    }

    /// Puts plugins in the order in which they are configured, whenever they were loaded.
    pub fn arrange(&self, configured: &[Configured]) {
        let mut plugins = self.plugins.write().unwrap_or_else(PoisonError::into_inner);
        plugins.sort_by_key(|slot| configured.iter().position(|c| c.path == slot.current.path));
    }

    /// Of several plugins from the same file, this one.
    fn reload_nth(
        &self,
        configured: &Configured,
        nth: usize,
        now: Timestamp,
    ) -> Result<Reloaded, LoadError> {
        let path = &configured.path;
        let prepared = self.prepare(configured);
        let mut plugins = self.plugins.write().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = plugins.iter_mut().filter(|slot| slot.current.path == *path).nth(nth)
        else {
            let reason = Refusal::NotLoaded;
            return Err(LoadError { path: path.clone(), reason });
        };
        let plugin = match prepared {
            Ok(plugin) => plugin,
            Err(error) => {
                slot.refused = Some(error.reason.to_string());
                return Err(error);
            }
        };
        slot.refused = None;
        if plugin.is_like(&slot.current) {
            slot.trial = None;
            return Ok(Reloaded::Unchanged);
        }
        if slot.trial.as_ref().is_some_and(|t| t.is_asked() && plugin.is_like(&t.plugin)) {
            return Ok(Reloaded::Waiting);
        }
        if (slot.current.mode, plugin.mode) != (Mode::Active, Mode::Active) {
            let former = slot.current.loaded.digest.clone();
            slot.replace(Arc::new(plugin));
            return Ok(Reloaded::Replaced { former });
        }
        tracing::info!(plugin = %plugin.loaded.name, digest = %plugin.loaded.digest, "a new build is asked in shadow");
        slot.trial = Some(Arc::new(Trial::new(plugin, now)));
        Ok(Reloaded::Waiting)
    }

    /// Lets new builds count that were asked in shadow often enough, or long enough. Asking does so too.
    pub fn settle(&self, now: Timestamp) {
        let due = |slot: &&Slot| slot.is_due(now);
        if self.plugins.read().unwrap_or_else(PoisonError::into_inner).iter().all(|s| !due(&s)) {
            return;
        }
        let mut plugins = self.plugins.write().unwrap_or_else(PoisonError::into_inner);
        for slot in plugins.iter_mut().filter(|slot| slot.is_due(now)) {
            if let Some(trial) = slot.trial.take() {
                let TrialInfo { decisions, disagreements, .. } = trial.info();
                tracing::info!(plugin = %trial.plugin.loaded.name, decisions, disagreements, "the new build counts from now on");
                slot.replace(Arc::clone(&trial.plugin));
            }
        }
    }

    /// A plugin that is ready to be asked, and in nobody's way yet.
    pub(crate) fn prepare(&self, configured: &Configured) -> Result<Plugin, LoadError> {
        self.try_prepare(configured)
            .map_err(|reason| LoadError { path: configured.path.clone(), reason })
    }

    fn try_prepare(&self, configured: &Configured) -> Result<Plugin, Refusal> {
        let Configured { path, settings, weight, mode, limits } = configured;
        let settings = settings::given(settings);
        let document = settings::parse(settings)?;
        let (loaded, blueprint) = self.open(path, *limits)?;
        settings::check(&loaded.settings_schema, &document)?;
        let guest =
            failed("was configured", blueprint.start_configured(Moment::default(), settings))?;
        Ok(Plugin {
            loaded,
            path: path.clone(),
            weight: *weight,
            mode: *mode,
            limits: *limits,
            settings: settings.into(),
            blueprint,
            warm: Mutex::new(Warm::new(guest)),
        })
    }

    /// What a file is, and what its instances are made from; they are not configured yet.
    pub(crate) fn open(
        &self,
        path: &Path,
        limits: OwnLimits,
    ) -> Result<(Loaded, Blueprint), Refusal> {
        let checked = load::check(&self.engine, path, &self.trust, |bytes| {
            compiler::try_out(bytes, For::Policies, self.cache.as_deref())
        })?;
        let stem = path.file_stem().map(|s| tame(&s.to_string_lossy(), 64)).unwrap_or_default();
        let blueprint = self.blueprint(&checked, &stem)?.with_limits(limits.over(&self.limits));
        let described = describe(&blueprint)?;
        let name = if described.name.is_empty() { stem } else { described.name };
        let name = self.told_apart(name, &described.version, &checked.digest, path);
        let blueprint = blueprint.with_chatter(Chatter::new(&name, self.limits.log_lines));
        let Described { version, settings_schema, .. } = described;
        let Checked { digest, hooks, .. } = checked;
        Ok((Loaded { name, version, digest, hooks, settings_schema }, blueprint))
    }

    /// The name of a plugin, with its digest where it would be taken for another one: for another build of the same name
    /// and version, or for what stands in for plugins.
    fn told_apart(&self, name: String, version: &str, digest: &str, path: &Path) -> String {
        let mistaken = |slot: &Slot| {
            let other = &slot.current;
            other.loaded.name == name
                && other.loaded.version == version
                && other.loaded.digest != digest
                && other.path != path
        };
        if name != BUILT_IN && !self.plugins().iter().any(mistaken) {
            return name;
        }
        let short: String = digest.trim_start_matches("sha256:").chars().take(8).collect();
        format!("{name} ({short})")
    }

    /// Looks at a file without running anything of it. What cannot be loaded is described as far as it can be read.
    #[must_use]
    pub fn inspect(&self, path: &Path) -> Inspection {
        inspect::inspect(path, self.limits.file_bytes, |bytes, hooks| {
            load::recognise(bytes)?;
            if hooks.contains(&Hook::StorageBackend) {
                compiler::try_out(bytes, For::Backends, None)?;
                return backend::fits(bytes);
            }
            compiler::try_out(bytes, For::Policies, self.cache.as_deref())?;
            let checked = load::check_bytes(&self.engine, bytes)?;
            self.blueprint(&checked, "").map(|_| ())
        })
    }

    /// What instances of a component are made from, if its types are those of this host.
    fn blueprint(&self, checked: &Checked, name: &str) -> Result<Blueprint, Refusal> {
        let blueprint = Blueprint::new(
            &self.linker,
            &checked.component,
            &checked.hooks,
            checked.wasi,
            &self.limits,
            &self.watchdog,
            Chatter::new(name, self.limits.log_lines),
        );
        blueprint.map_err(|e| Refusal::Types(tame(&format!("{e:#}"), 400)))
    }

    /// Every plugin and how it stands.
    #[must_use]
    pub fn list(&self) -> Vec<PluginInfo> {
        self.plugins().iter().map(Slot::info).collect()
    }

    /// Waits until every decision so far is on the disk. Nothing happens where none are recorded.
    pub fn flush_records(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.flush();
        }
    }

    /// What a plugin without limits of its own may use up.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn plugins(&self) -> Vec<Slot> {
        self.plugins.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn source(&self, view: &Arc<ClusterView>) -> Source {
        let mut last = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        let frozen = match &*last {
            // No other view has its address as long as there is a reference, a weak one too.
            Some((of, frozen)) if Weak::as_ptr(of) == Arc::as_ptr(view) => Arc::clone(frozen),
            Some(_) | None => {
                let frozen = Arc::new(Frozen::new(&self.dictionary));
                *last = Some((Arc::downgrade(view), Arc::clone(&frozen)));
                frozen
            }
        };
        Source::Live(Arc::clone(view), frozen)
    }

    /// Asks everybody who has an opinion on such questions. `decide` is what the planner would make of answers, and serves
    /// to see whether a plugin or a new build in shadow disagrees.
    fn ask<Q: Ask, D: Hash + PartialEq>(
        &self,
        view: &Arc<ClusterView>,
        (decision, seed): (&OperationId, u64),
        question: &Q::Question,
        decide: &dyn Fn(Vec<PolicyAnswer<Q::Answer>>) -> D,
    ) -> Vec<PolicyAnswer<Q::Answer>> {
        self.settle(view.now);
        let mut seats = Vec::new();
        for slot in self.plugins() {
            slot.sit_down(Q::HOOK, view.now, &mut seats);
        }
        let pending = self.pending.answers(Q::HOOK);
        if seats.is_empty() {
            return pending;
        }
        let context = types::Context {
            decision_id: decision.to_string(),
            now_ms: view.now.0,
            seed,
            generation: view.generation.0,
            shadow: false,
            attrs: Vec::new(),
        };
        let source = self.source(view);
        let asking = Asking { context, source: &source, recorder: self.recorder.as_ref() };
        let (crossing, read) = (Q::of(question), |verdict| Q::read(verdict, view, question));
        let ask = |seat: &Seat| seat.plugin.ask(&asking, &crossing, seat.is_shadow(), &read);
        let mut answers: Vec<_> = seats.iter().map(ask).collect();
        let about = || About { subject: (Q::KIND, crossing.subject()), now: view.now };
        compare(about, &seats, &answers, decide);
        self.settle(view.now);
        answers.extend(pending);
        answers
    }
}

impl Policies for PluginHost {
    fn place(
        &self,
        view: &Arc<ClusterView>,
        question: &PlacementQuestion,
    ) -> Vec<PolicyAnswer<Answer>> {
        let about = (&question.decision, question.seed);
        self.ask::<hooks::Evaluate, _>(view, about, question, &|answers| {
            flocker_planner::decide(view, question, answers, &BuiltIn).chosen
        })
    }

    fn rebalance(
        &self,
        view: &Arc<ClusterView>,
        question: &RebalanceQuestion,
    ) -> Vec<PolicyAnswer<Vec<ProposedMove>>> {
        let about = (&question.decision, question.seed);
        self.ask::<hooks::Plan, _>(view, about, question, &|answers| {
            let moves = rebalance::decide(view, question, answers).moves;
            moves.into_iter().map(|(_, m)| (m.app, m.target)).collect::<Vec<_>>()
        })
    }

    fn fail_over(
        &self,
        view: &Arc<ClusterView>,
        question: &Incident,
    ) -> Vec<PolicyAnswer<Vec<Verdict>>> {
        let about = (&question.decision, question.seed);
        self.ask::<hooks::Decide, _>(view, about, question, &|answers| {
            let rulings = failover::decide(view, question, answers).rulings;
            rulings.into_iter().map(|r| r.course).collect::<Vec<_>>()
        })
    }

    fn schedule(
        &self,
        view: &Arc<ClusterView>,
        question: &ScheduleQuestion,
    ) -> Vec<PolicyAnswer<Schedule>> {
        let about = (&question.decision, question.seed);
        self.ask::<hooks::Next, _>(view, about, question, &|answers| {
            backups::decide_schedule(view, question, answers).due
        })
    }

    fn prune(
        &self,
        view: &Arc<ClusterView>,
        question: &PruneQuestion,
    ) -> Vec<PolicyAnswer<Vec<Droppable>>> {
        let about = (&question.decision, question.seed);
        self.ask::<hooks::Prune, _>(view, about, question, &|answers| {
            let may_go = backups::decide_prune(question, answers).droppable;
            may_go.into_keys().collect::<Vec<_>>()
        })
    }
}

/// What a plugin says of itself.
struct Described {
    name: String,
    version: String,
    settings_schema: String,
}

/// Asks a plugin who it is.
fn describe(blueprint: &Blueprint) -> Result<Described, Refusal> {
    let guest: Guest = failed("was started", blueprint.start(Moment::default()))?;
    let (_, _, info) = blueprint.call(guest, Moment::default(), |store, exports| {
        exports.lifecycle.call_describe(store).map(Ok)
    });
    let info = failed("was asked for its name", info)?;
    Ok(Described {
        name: tame(info.name.trim(), 64),
        version: tame(info.version.trim(), 32),
        settings_schema: info.settings_schema,
    })
}

fn failed<T>(doing: &'static str, result: Result<T, PolicyFailure>) -> Result<T, Refusal> {
    result.map_err(|failure| Refusal::Failed { doing, failure })
}
