//! What operators can ask for that makes a volume out of another one.

use flocker_model::{Epoch, Point, SnapshotTag, Volume, VolumeName};
use flocker_ports::Step;

use super::{
    Control, Refusal, volume_id,
    volumes::{find, must_be_free, no_owner},
};

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
