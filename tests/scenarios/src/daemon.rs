//! One node's daemon, as a real process that can be killed, held and started again.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::within;

/// A daemon ends within this time when asked.
const GRACE: Duration = Duration::from_secs(20);

/// A daemon, or where one ran.
#[derive(Debug)]
pub struct Daemon {
    /// The node's name.
    pub name: String,
    /// The node's address: its proxy listens there.
    pub address: Ipv4Addr,
    state: PathBuf,
    log: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Daemon {
    /// One that does not run yet. Its state lies in `home`, under its name.
    #[must_use]
    pub fn new(name: &str, address: Ipv4Addr, home: &Path, arguments: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            address,
            state: home.join(name),
            log: home.join(format!("{name}.log")),
            arguments,
            child: None,
        }
    }

    /// The same with these flags and values, in place of those that it has.
    #[must_use]
    pub fn with(mut self, flags: &[&str]) -> Self {
        self.set(flags);
        self
    }

    /// The same without this flag and its value.
    #[must_use]
    pub fn without(mut self, flag: &str) -> Self {
        self.unset(flag);
        self
    }

    /// The same with the storage backend of this component, which is granted a store and, as `pool`, a folder of the
    /// node's own.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn with_backend(self, component: &Path) -> Result<Self> {
        let folder = self.backend_pool();
        fs::create_dir_all(&folder)?;
        let grant = format!("directory=pool:{}", folder.display());
        let mut this = self.without("--pool-size");
        this.set(&["--plugin", &component.display().to_string(), "--grant", &grant]);
        this.arguments.extend(["--grant".to_owned(), "kv=1MiB".to_owned()]);
        Ok(this)
    }

    /// Where a backend that is a plugin keeps its volumes.
    #[must_use]
    pub fn backend_pool(&self) -> PathBuf {
        self.state.with_extension("pool")
    }

    /// The same at this address.
    #[must_use]
    pub fn at(mut self, address: impl Into<Ipv4Addr>) -> Self {
        self.address = address.into();
        self
    }

    /// The same with its state under another name: another installation.
    #[must_use]
    pub fn elsewhere(mut self, name: &str) -> Self {
        self.state.set_file_name(name);
        self.log.set_file_name(format!("{name}.log"));
        self
    }

    /// Starts with these flags and values the next time, in place of those that it has.
    pub fn set(&mut self, flags: &[&str]) {
        for flag in flags.iter().step_by(2) {
            self.unset(flag);
        }
        self.arguments.extend(flags.iter().map(|&word| word.to_owned()));
    }

    fn unset(&mut self, flag: &str) {
        if let Some(at) = self.arguments.iter().position(|known| known == flag) {
            self.arguments.drain(at..at + 2);
        }
    }

    /// Starts it; whether it is ready, its socket tells.
    ///
    /// # Errors
    /// When the program is missing.
    pub fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let program = crate::flocker_runtime()?;
        let mut command = Command::new(program);
        command
            .args(["--node", &self.name, "--address", &self.address.to_string(), "--state-dir"])
            .arg(&self.state)
            .args(&self.arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child =
            Some(command.spawn().with_context(|| format!("could not start {}", self.name))?);
        Ok(())
    }

    /// Where it answers the operator.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.state.join("flocker.sock")
    }

    /// Where its pool is mounted.
    #[must_use]
    pub fn pool(&self) -> PathBuf {
        self.state.join("pool")
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Everything that it wrote.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it at once.
    ///
    /// # Errors
    /// When it did not run.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.ended().map(drop)
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it did not run, or does not end well.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.ended()?;
        anyhow::ensure!(status.success(), "{} ended with {status} when asked to end", self.name);
        Ok(())
    }

    /// Holds it: it keeps its sockets and answers nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub fn hold(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn release(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Tells it to read its plugins again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn hang_up(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// Whether the process that was started last still runs.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn runs(&mut self) -> Result<bool> {
        self.child.as_mut().map_or(Ok(false), |child| Ok(child.try_wait()?.is_none()))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().with_context(|| format!("{} does not run", self.name))?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it goes on running.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let Some(child) = &mut self.child else { bail!("{} does not run", self.name) };
        let status = within(GRACE, &format!("the end of {}", self.name), || Ok(child.try_wait()?))?;
        self.child = None;
        Ok(status)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
