//! Why things are as they are.

use bytes::Bytes;
use flocker_model::{AppName, Operation, VolumeName};
use flocker_planner::plan::silence::Silence;

use super::{Control, Refusal};
use crate::cluster::State;

impl Control {
    /// What was decided for an operation, or for an app last, and why, as a JSON document with a `text` for people; of an
    /// app that waits for a node, why no node will do. Of an app whose node is silent also what was decided about its
    /// volumes, and what is not done about them.
    ///
    /// # Errors
    /// No such app or operation, or one that no decision led to.
    pub async fn explain(&self, subject: &str) -> Result<Bytes, Refusal> {
        let state = self.state().await?;
        let known = |o: &&Operation| o.app.as_str() == subject || o.id.as_str() == subject;
        let placed = self.decision_about(&state, subject).await?;
        if let Some((app, silence)) = silence_about(&state, subject) {
            let now = self.leader.inner.parts.clock.now();
            return Ok(crate::explain::with_silence(placed.as_ref(), app, silence, now));
        }
        let troubles = self.troubles_of(&state, subject);
        if !troubles.is_empty() {
            return Ok(crate::explain::with_troubles(placed.as_ref(), subject, &troubles));
        }
        // That it is to be elsewhere, and nowhere can be, is newer than why it is where it is.
        let waiting = self.leader.notes().into_iter().find(|note| note.app.as_str() == subject);
        if let Some(decision) = waiting.and_then(|note| note.decision) {
            return Ok(crate::explain::document(&decision));
        }
        if let Some(placed) = placed {
            return Ok(placed);
        }
        let is_there = state.operations.values().any(|o| known(&o))
            || state.apps.keys().any(|app| app.as_str() == subject);
        let message = match is_there {
            true => format!("no decision of a policy about `{subject}` is remembered"),
            false => format!("there is neither an app nor an operation `{subject}`"),
        };
        Err(Refusal::new("decision-not-found", message).hint(
            "`flocker app ls` and `flocker operation ls --all` list what there is; moves and deployments have a decision",
        ))
    }

    /// What is not done about the volumes of an app, by the volume's name.
    fn troubles_of(&self, state: &State, app: &str) -> Vec<(VolumeName, String)> {
        let volumes = state.volumes.values().map(|v| &v.value);
        let of_app = volumes.filter(|v| v.app.as_ref().is_some_and(|a| a.as_str() == app));
        of_app.filter_map(|v| Some((v.name.clone(), self.volume_trouble(v)?))).collect()
    }

    /// The newest first: an update, say, is no decision of a policy, and the app is where an older one put it.
    async fn decision_about(&self, state: &State, subject: &str) -> Result<Option<Bytes>, Refusal> {
        let known = |o: &&Operation| o.app.as_str() == subject || o.id.as_str() == subject;
        for operation in state.operations.values().rev().filter(known) {
            if let Some(document) = self.leader.inner.parts.cluster.decision(&operation.id).await? {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }
}

/// The app of this name, and what was decided about its silent node, if it has volumes there.
fn silence_about<'a>(state: &'a State, app: &str) -> Option<(&'a AppName, &'a Silence)> {
    let (name, record) = state.apps.iter().find(|(name, _)| name.as_str() == app)?;
    let silence = state.silences.get(record.value.owner.as_ref()?)?;
    silence.concerns(name).then_some((name, silence))
}
