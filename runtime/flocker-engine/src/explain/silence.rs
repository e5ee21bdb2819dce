//! What an operator is told about an app whose node is silent.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use flocker_model::{AppName, NodeName, Timestamp};
use flocker_planner::{
    Course,
    plan::silence::{Fate, Silence},
};
use serde_json::{Value, json};

use super::moment;
use crate::records;

/// The explanation of an app whose node is silent: what was decided about its volumes comes before why it is where it is.
pub(crate) fn with_silence(
    placed: Option<&Bytes>,
    app: &AppName,
    silence: &Silence,
    now: Timestamp,
) -> Bytes {
    let mut document: Value = placed
        .and_then(|placed| serde_json::from_slice(placed).ok())
        .unwrap_or_else(|| json!({ "v": 1, "app": app.as_str() }));
    let before = document["text"].as_str().map(|text| format!("\n{text}")).unwrap_or_default();
    document["failover"] = records::silence::about(silence, app);
    document["text"] = json!(format!("{}{before}", text(app, silence, now)));
    Bytes::from(document.to_string())
}

fn text(app: &AppName, silence: &Silence, now: Timestamp) -> String {
    let Silence { node, since, decided, votes, quorum, .. } = silence;
    let decided = moment(*decided);
    let mut text = format!(
        "app `{app}`: its node `{node}` is silent since {}, for {}\n",
        moment(*since),
        span(now.since(*since)),
    );
    // Writing to a String cannot fail.
    let _ = writeln!(text, "what becomes of its volumes, as decided at {decided}");
    for fate in silence.fates.iter().filter(|fate| fate.app.as_ref() == Some(app)) {
        tell(fate, &mut text);
    }
    for failed in &silence.failures {
        let (class, message) = (&failed.failure.class, &failed.failure.message);
        let _ = writeln!(text, "  policy `{}` failed ({class}): {message}", failed.policy);
    }
    let _ = writeln!(
        text,
        "nothing is promoted without fencing, which this version does not have, and {quorum} votes that the node is silent ({votes}): the volumes stay with it\nhint: start `{node}` again, and the app goes on there with all of its data"
    );
    text
}

fn tell(fate: &Fate, text: &mut String) {
    let held_back = fate.held_back.as_ref().map(|why| format!(", as {why}")).unwrap_or_default();
    let _ = writeln!(text, "  volume `{}`: {}{held_back}", fate.volume, decided(&fate.course));
    for opinion in &fate.opinions {
        let shadow = if opinion.shadow { " (shadow)" } else { "" };
        let would = would(&opinion.course);
        let _ = writeln!(text, "    {}{shadow}: {would}: {}", opinion.policy, opinion.reason);
    }
}

/// What is done about a volume.
fn decided(course: &Course<NodeName>) -> String {
    match course {
        Course::Promote { replica } => format!("its copy on `{replica}` is to be promoted"),
        Course::Wait { .. } => "it waits".to_owned(),
        Course::Freeze => "it is left to an operator".to_owned(),
    }
}

/// What a policy would do about it.
fn would(course: &Course<NodeName>) -> String {
    match course {
        Course::Promote { replica } => format!("promote its copy on `{replica}`"),
        Course::Wait { again } => format!("wait for {}", span(*again)),
        Course::Freeze => "leave it to an operator".to_owned(),
    }
}

/// As exact as people want it.
fn span(span: Duration) -> String {
    let exact = if span < Duration::from_secs(10) { span.subsec_millis() } else { 0 };
    let span = Duration::from_secs(span.as_secs()) + Duration::from_millis(exact.into());
    humantime::format_duration(span).to_string()
}
