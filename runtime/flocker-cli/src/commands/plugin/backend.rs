//! `flocker plugin test` for storage backends: the rules of the contract, one by one.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use flocker_api::{Code, Failure};
use flocker_plugins::{
    Grant, Grants,
    conformance::{RULES, Rule, Trial, Verdict},
};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use serde_json::json;

use super::{listen, unusable};
use crate::{args::Settings, terminal::Answer};

/// What became of a rule, and how long it took.
type Judged = (&'static Rule, Verdict, u128);

pub(super) fn test(
    file: &Path,
    scenarios: &[PathBuf],
    grants: Vec<Grant>,
    settings: &Settings,
) -> Result<Answer, Failure> {
    let invalid = |words: String| Failure::new(Code::INVALID_ARGUMENT, words);
    let shown = file.display();
    if !scenarios.is_empty() {
        return Err(invalid(format!("`{shown}` is a storage backend, which has no scenarios"))
            .hint("grant it a directory: `--grant directory=NAME:/PATH`"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(invalid(format!(
            "testing the storage backend `{shown}` needs root: its volumes are mounted"
        ))
        .hint("`sudo flocker plugin test …`; a virtual machine will do"));
    }
    let grants = Grants::new(grants).map_err(unusable)?;
    let settings = settings.read()?;
    listen();
    // Of its own, so that calls of the backend run beside each other, as in a node.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::from_error(Code::INTERNAL, &error))?;
    runtime.block_on(tried(file, &settings, &grants))
}

async fn tried(file: &Path, settings: &str, grants: &Grants) -> Result<Answer, Failure> {
    let trial = Trial::open(file, settings, grants).await.map_err(unusable)?;
    let loaded = trial.info().loaded;
    let judged = tokio::select! {
        judged = judge(&trial) => Some(judged),
        _ = tokio::signal::ctrl_c() => None,
    };
    let closed = trial.close();
    let Some(judged) = judged else {
        return Err(Failure::new(Code::INTERNAL, "it was broken off; nothing is left behind"));
    };
    closed.map_err(|error| {
        Failure::new(Code::INTERNAL, format!("the trial's folders stay: {error}"))
            .hint("`findmnt | grep flocker-plugin-test` shows what is still mounted")
    })?;
    Ok(answer(file, &format!("{} {}", loaded.name, loaded.version), &judged))
}

async fn judge(trial: &Trial) -> Vec<Judged> {
    let bar = ProgressBar::new(RULES.len() as u64).with_finish(ProgressFinish::AndClear);
    // The template is a constant; should it ever not parse, the default bar does as well.
    if let Ok(style) = ProgressStyle::with_template("[{bar:26}] {pos}/{len} {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut judged = Vec::with_capacity(RULES.len());
    for rule in RULES {
        bar.set_message(words(rule));
        let began = Instant::now();
        let verdict = trial.judge(rule).await;
        judged.push((rule, verdict, began.elapsed().as_millis()));
        bar.inc(1);
    }
    judged
}

fn words(rule: &Rule) -> String {
    rule.name.replace('_', " ")
}

fn answer(file: &Path, plugin: &str, judged: &[Judged]) -> Answer {
    let (mut text, mut rules, mut counts) = (format!("{plugin}\n"), Vec::new(), [0_usize; 3]);
    for (rule, verdict, ms) in judged {
        let (idx, outcome, mark, why) = match verdict {
            Verdict::Passed => (0, "passed", "ok         ", None),
            Verdict::Failed(why) => (1, "failed", "FAILED     ", Some(why)),
            Verdict::PassedOver(why) => (2, "passed-over", "passed over", Some(why)),
        };
        counts[idx] += 1;
        text += &format!("{mark}  {}\n", words(rule));
        for line in why.iter().flat_map(|why| why.lines()) {
            text += &format!("             {line}\n");
        }
        rules.push(json!({"rule": rule.name, "outcome": outcome, "why": why, "ms": ms}));
    }
    let [passed, failed, over] = counts;
    text += &format!("{passed} passed, {failed} failed, {over} passed over\n");
    let json = json!({
        "file": file.display().to_string(),
        "plugin": plugin,
        "passed": passed,
        "failed": failed,
        "passed_over": over,
        "rules": rules,
    });
    let failure = (failed > 0).then(|| {
        Failure::new(
            Code::INVALID_ARGUMENT,
            format!("{failed} of {} rules are broken", judged.len()),
        )
        .hint("wit/storage-backend.wit says what each function promises")
    });
    Answer { failure, ..Answer::new(json, text) }
}
