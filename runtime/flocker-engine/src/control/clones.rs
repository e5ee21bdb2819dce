//! What operators can ask for that makes a volume out of another one: clones, and ways back to a snapshot.

use flocker_model::{Epoch, Point, SnapshotTag, Volume, VolumeName};
use flocker_ports::Step;

use super::{
    Control, Refusal, volume_id,
    volumes::{find, must_be_free, no_owner, user},
};
use crate::cluster::Versioned;

impl Control {
    /// Makes a volume with the content of a snapshot of another one, or of what that holds now; on the same node and with the
    /// same options, and used by no app yet.
    ///
    /// # Errors
    /// A name that is taken, no such volume or snapshot, or a node that cannot make it; then nothing is left of it.
    pub async fn clone_volume(
        &self,
        source: &VolumeName,
        at: Option<&SnapshotTag>,
        name: &VolumeName,
    ) -> Result<Volume, Refusal> {
        let state = self.state().await?;
        must_be_free(&state, name)?;
        let source = find(&state, source)?.value.clone();
        let owner = source.owner.as_ref().ok_or_else(|| no_owner(&source))?;
        self.check_open(&state, owner)?;
        let volume = Volume {
            id: volume_id(),
            name: name.clone(),
            app: None,
            epoch: Epoch::FIRST,
            replicas: vec![],
            replication: None,
            ..source.clone()
        };
        match at {
            Some(tag) => {
                let at = self.point(&source, tag).await?;
                self.make_clone(&source, at, &volume).await?;
            }
            None => {
                let at = self.snapshot(&source.name, None).await?.point;
                let made = self.make_clone(&source, at.clone(), &volume).await;
                // Nobody asked for it, and the clone does not need it. One that stays takes space, and no more.
                let step = Step::DestroySnapshots { volume: (&source).into(), which: vec![at] };
                if let Err(error) = self.tell_owner(&source, step).await {
                    tracing::warn!(volume = %source.name, %error, "a snapshot that was only for a clone stays");
                }
                made?;
            }
        }
        Ok(volume)
    }

    /// Puts a volume that no app uses back to a snapshot. What it was until now, with the later snapshots, is kept as a volume
    /// of its own, which is answered.
    ///
    /// # Errors
    /// No such volume or snapshot, one that an app uses, or a node that cannot do it. Where it is not known whether the node
    /// did it, the volume that would hold what was is there: nothing is lost, and it may hold nothing.
    pub async fn rollback_volume(
        &self,
        name: &VolumeName,
        to: &SnapshotTag,
    ) -> Result<Volume, Refusal> {
        let state = self.state().await?;
        let volume = find(&state, name)?.value.clone();
        if let Some(app) = user(&state, &volume) {
            let message = format!("app `{app}` uses volume `{name}`");
            return Err(Refusal::new("volume-in-use", message).hint(format!(
                "`flocker app rm {app}` ends it and keeps its volumes; deploy it again afterwards"
            )));
        }
        let to = self.point(&volume, to).await?;
        let now = self.leader.inner.parts.clock.now();
        let kept = VolumeName::new(format!("{name}-before-{}", now.0))
            .map_err(|error| Refusal::new("invalid-argument", error.to_string()))?;
        let kept = Volume {
            id: volume_id(),
            name: kept,
            app: None,
            replicas: vec![],
            replication: None,
            ..volume.clone()
        };
        // It is written down before there is anything in it: what has no record might be removed.
        let cluster = &self.leader.inner.parts.cluster;
        let revision = cluster.commit(cluster.change().create(&kept)).await?;
        let step = Step::Rollback { volume: (&volume).into(), to, kept: kept.id.clone() };
        match self.tell_owner(&volume, step).await {
            Ok(_) => Ok(kept),
            Err(refused) if refused.code == "agent-refused" => {
                let unused = Versioned { value: kept, revision };
                cluster.commit(cluster.change().remove(&unused)).await?;
                Err(refused)
            }
            Err(unknown) => {
                let name = &kept.name;
                let ours = format!("should it have gone back, `{name}` holds what it was");
                let hint = unknown.hint.iter().cloned().chain([ours]).collect::<Vec<_>>();
                Err(unknown.hint(hint.join("\n")))
            }
        }
    }

    async fn make_clone(&self, source: &Volume, at: Point, volume: &Volume) -> Result<(), Refusal> {
        let step = Step::Clone { source: source.id.clone(), at, volume: volume.into() };
        self.make(volume, step).await
    }

    /// A snapshot of the owner's copy, by its name.
    async fn point(&self, volume: &Volume, tag: &SnapshotTag) -> Result<Point, Refusal> {
        let listed = self.snapshots(&volume.name).await?;
        let found = listed.into_iter().find(|taken| taken.point.tag == *tag);
        found.map(|taken| taken.point).ok_or_else(|| {
            let name = &volume.name;
            Refusal::new("snapshot-not-found", format!("volume `{name}` has no snapshot `{tag}`"))
                .hint(format!("`flocker volume snapshots {name}` lists them"))
        })
    }
}
