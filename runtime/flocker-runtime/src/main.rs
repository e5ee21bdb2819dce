//! The daemon of a node. Reads what it is told, wires the parts together, and runs until it is asked to end.

mod config;
mod daemon;
mod ground;
mod identity;
mod kept_on;
mod machine;
mod peers;
mod plugins;
mod proxy;
mod registration;
mod storage;
mod streams;
mod wire;

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use config::{Config, Flags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    if let Some(end) = flocker_plugins::compile_if_asked() {
        return end;
    }
    let flags = Flags::parse();
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> anyhow::Result<()> {
    let config = Config::from_flags(flags)?;
    start_logging(&config)?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(daemon::run(config))
}

fn start_logging(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log).map_err(|e| {
        anyhow::anyhow!(
            "`{}` is not a log filter: {e}\nhint: write `--log info,flocker_engine=debug`",
            config.log
        )
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let lines =
        lines.with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    if config.log_json {
        lines.json().init()
    } else {
        lines.init()
    }
    Ok(())
}

/// Each connection through the proxy needs two files, and the soft limit of most systems is 1024. The hard limit is the
/// administrator's word.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}

/// The whole chain of causes, and hints on lines of their own.
#[expect(clippy::print_stderr, reason = "the last words of a program that could not start")]
fn report(error: &anyhow::Error) {
    let (words, hints) = last_words(error);
    eprintln!("error: {words}");
    for hint in hints {
        eprintln!("hint: {hint}");
    }
}

/// What went wrong, down to the first cause, and apart from it what can be done.
fn last_words(error: &anyhow::Error) -> (String, Vec<String>) {
    let (mut said, mut hints): (Vec<String>, Vec<String>) = (vec![], vec![]);
    for cause in error.chain().map(ToString::to_string) {
        let mut words = vec![];
        for line in cause.lines() {
            match line.strip_prefix("hint: ") {
                Some(hint) if hints.iter().any(|known| known == hint) => {}
                Some(hint) => hints.push(hint.to_owned()),
                None => words.push(line),
            }
        }
        let words = words.join("\n");
        // Some errors repeat their source in their own text.
        if !said.iter().any(|earlier| earlier.contains(&words)) {
            said.push(words);
        }
    }
    (said.join(": "), hints)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_cause_is_not_lost_in_a_hint() {
        let error = std::io::Error::other("no such disk\nhint: look behind the rack");
        let error = Err::<(), _>(error).context("could not open it\nhint: ask again").unwrap_err();

        let (words, hints) = last_words(&error);

        assert_eq!(words, "could not open it: no such disk");
        assert_eq!(hints, ["ask again", "look behind the rack"]);
    }
}
