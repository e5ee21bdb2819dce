//! The steps of operations, each safe to run twice.

use std::{collections::BTreeMap, sync::PoisonError};

use flocker_model::{
    App, AppName, Epoch, OperationId, Point, Rates, Revision, Role, Snapshot, SnapshotTag, VolumeId,
};
use flocker_ports::{AttachOrder, Op, Order, Reply, SendJob, Step, VolumeEpoch, VolumeOrder};

use super::{Agent, Assignment, Mode, StepError};

impl Agent {
    /// Does one step.
    pub(crate) async fn step(&self, order: Order) -> Result<Reply, StepError> {
        let Order { operation, app, epoch, revision, step } = order;
        // A stream may take hours, and a proxy may be slow: neither touches what the lock protects.
        match step {
            Step::Send { .. } => return self.send(&operation, step).await,
            Step::AwaitRoutes { revision } => {
                self.inner.parts.routes.applied(revision).await;
                return Ok(Reply::Done);
            }
            Step::Fetch { manifest } => {
                self.fetch(&read(&manifest, &app)?).await?;
                return Ok(Reply::Done);
            }
            Step::ListSnapshots { volume } => return self.list_snapshots(&volume).await,
            // Pulling an image may take minutes, too.
            Step::Prepare { ref manifest } => self.fetch(&read(manifest, &app)?).await?,
            Step::CreateVolumes { .. }
            | Step::Clone { .. }
            | Step::Rollback { .. }
            | Step::Snapshot { .. }
            | Step::AbortReceive { .. }
            | Step::Discard
            | Step::Stop
            | Step::Seal { .. }
            | Step::Unseal { .. }
            | Step::Promote { .. }
            | Step::Start { .. }
            | Step::Retire { .. }
            | Step::Remove
            | Step::DestroyVolumes { .. }
            | Step::DestroyReplicas { .. }
            | Step::DestroySnapshots { .. } => {}
        }
        self.begin(Told { operation, app, epoch, revision }, step).await
    }

    /// Runs a step alone for its app, to its end even if whoever asked is gone by then: a step that has begun is not left
    /// half-way, and the next one does not begin beside it.
    async fn begin(&self, told: Told, step: Step) -> Result<Reply, StepError> {
        let alone = self.lock_of(&told.app).lock_owned().await;
        self.refuse_stale(&told)?;
        let agent = self.clone();
        let begun = tokio::spawn(async move {
            let halted = agent.inner.halted.clone();
            let done = tokio::select! {
                biased;
                () = halted.cancelled() => return Err(StepError::Later("the agent ended".to_owned())),
                done = agent.locked_step(&told, step) => done,
            };
            drop(alone);
            agent.inner.supervisor.notify_one();
            done
        });
        match begun.await {
            Ok(done) => done,
            Err(_) => Err(StepError::Later("the step ended early".to_owned())),
        }
    }

    fn refuse_stale(&self, told: &Told) -> Result<(), StepError> {
        let Some(known) = self.assignment(&told.app) else { return Ok(()) };
        let app = told.app.clone();
        if known.epoch > told.epoch {
            return Err(StepError::StaleEpoch { app, current: known.epoch, asked: told.epoch });
        }
        // The network kept it back, and it was followed by others since: obeying it now would undo what they did.
        if known.epoch == told.epoch && known.revision > told.revision {
            let (current, asked) = (known.revision, told.revision);
            return Err(StepError::StaleOrder { app, current, asked });
        }
        Ok(())
    }

    async fn locked_step(&self, told: &Told, step: Step) -> Result<Reply, StepError> {
        match step {
            Step::Snapshot { volumes, tag } => {
                let taken = self.take_snapshots(&told.operation, &volumes, &tag).await?;
                return Ok(Reply::Snapshots(taken));
            }
            Step::CreateVolumes { volumes } => self.create_volumes(told, &volumes).await?,
            Step::Clone { source, at, volume } => {
                let op = told.op(&volume);
                self.inner.parts.backend.clone_volume(&op, &source, &at, &volume.id).await?;
            }
            Step::Rollback { volume, to, kept } => self.rollback(told, &volume, &to, &kept).await?,
            Step::AbortReceive { volumes } => self.abort_receive(told, &volumes).await?,
            Step::Prepare { manifest } => self.prepare(told, manifest).await?,
            Step::Discard => self.discard(told).await?,
            Step::Stop => self.stop(told).await?,
            Step::Seal { volumes } => self.seal(told, &volumes).await?,
            Step::Unseal { volumes } => self.unseal(told, &volumes).await?,
            Step::Promote { volumes } => self.promote(told, &volumes).await?,
            Step::Start { manifest, volumes } => self.start(told, manifest, volumes).await?,
            Step::Retire { volumes } => self.retire(told, &volumes).await?,
            Step::Remove => self.remove(told).await?,
            Step::DestroyVolumes { volumes } => self.destroy_volumes(told, &volumes).await?,
            Step::DestroyReplicas { volumes } => self.destroy_replicas(told, &volumes).await?,
            Step::DestroySnapshots { volume, which } => {
                self.inner
                    .parts
                    .backend
                    .destroy_snapshots(&told.op(&volume), &volume.id, &which)
                    .await?;
            }
            Step::Send { .. }
            | Step::AwaitRoutes { .. }
            | Step::Fetch { .. }
            | Step::ListSnapshots { .. } => {
                return Err(StepError::Never("this step needs no lock".to_owned()));
            }
        }
        Ok(Reply::Done)
    }

    async fn note(
        &self,
        told: &Told,
        mode: Mode,
        change: impl FnOnce(&mut Assignment),
    ) -> Result<(), StepError> {
        let mut assignment = self.assignment(&told.app).unwrap_or_else(|| told.nothing());
        assignment.epoch = told.epoch;
        assignment.revision = told.revision;
        assignment.operation = told.operation.clone();
        assignment.mode = mode;
        change(&mut assignment);
        let app = told.app.clone();
        self.with_journal(move |journal| journal.record(&app, assignment)).await
    }

    /// One snapshot of all of the volumes, in their order.
    pub(super) async fn take_snapshots(
        &self,
        operation: &OperationId,
        volumes: &[VolumeEpoch],
        tag: &SnapshotTag,
    ) -> Result<Vec<Snapshot>, StepError> {
        // One call takes all volumes of one epoch at one moment. They differ only when an app adopted an external
        // volume that has moved before, and then the app is stopped for the snapshot that counts.
        let mut taken: BTreeMap<VolumeId, Snapshot> = BTreeMap::new();
        let mut epochs: Vec<Epoch> = volumes.iter().map(|v| v.epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        for epoch in epochs {
            let ids: Vec<_> =
                volumes.iter().filter(|v| v.epoch == epoch).map(|v| v.id.clone()).collect();
            let op = Op { id: operation.clone(), epoch };
            let snapshots = self.inner.parts.backend.snapshot(&op, &ids, tag).await?;
            taken.extend(ids.into_iter().zip(snapshots));
        }
        Ok(volumes.iter().filter_map(|v| taken.remove(&v.id)).collect())
    }

    async fn list_snapshots(&self, volume: &VolumeEpoch) -> Result<Reply, StepError> {
        let backend = &self.inner.parts.backend;
        match backend.stat(&volume.id).await? {
            None => Ok(Reply::Snapshots(vec![])),
            Some(_) => Ok(Reply::Snapshots(backend.snapshots(&volume.id).await?)),
        }
    }

    async fn send(&self, operation: &OperationId, step: Step) -> Result<Reply, StepError> {
        let Step::Send { volume, options, base, to, target, address } = step else {
            return Err(StepError::Never("this step is no send".to_owned()));
        };
        let job = SendJob {
            operation: operation.clone(),
            volume: volume.id,
            epoch: volume.epoch,
            base,
            to,
            options,
            source: self.inner.parts.node.clone(),
            target,
            address,
            rates: Rates::default(),
        };
        let progress = {
            let mut sending = self.inner.sending.lock().unwrap_or_else(PoisonError::into_inner);
            sending.entry(operation.clone()).or_default().clone()
        };
        let _listed = Listed { agent: self, operation };
        Ok(Reply::Sent(self.inner.parts.replication.send(&job, &progress).await?))
    }

    /// Refused while an app is here that uses the volume, also one that was told of after the order was given.
    async fn rollback(
        &self,
        told: &Told,
        volume: &VolumeEpoch,
        to: &Point,
        kept: &VolumeId,
    ) -> Result<(), StepError> {
        let uses = |told: &&Assignment| told.volumes.iter().any(|v| v.volume.id == volume.id);
        let assignments = self.assignments();
        if let Some((app, _)) = assignments.iter().find(|(_, told)| uses(told)) {
            let id = &volume.id;
            return Err(StepError::Never(format!("app `{app}` uses volume `{id}` on this node")));
        }
        self.inner.parts.backend.rollback(&told.op(volume), &volume.id, to, kept).await?;
        Ok(())
    }

    async fn create_volumes(&self, told: &Told, volumes: &[VolumeOrder]) -> Result<(), StepError> {
        for order in volumes {
            let op = told.op(&order.volume);
            let (id, owner) = (&order.volume.id, order.owner);
            self.inner.parts.backend.create(&op, id, &order.options, owner).await?;
        }
        Ok(())
    }

    async fn abort_receive(&self, told: &Told, volumes: &[VolumeEpoch]) -> Result<(), StepError> {
        for volume in volumes {
            self.inner.parts.backend.abort_receive(&told.op(volume), &volume.id).await?;
        }
        Ok(())
    }

    async fn prepare(&self, told: &Told, manifest: String) -> Result<(), StepError> {
        let app = read(&manifest, &told.app)?;
        if self
            .assignment(&told.app)
            .is_none_or(|a| a.mode != Mode::Running || a.epoch < told.epoch)
        {
            self.note(told, Mode::Prepared, |a| a.manifest = manifest).await?;
        }
        self.make_ready(&app, told.epoch).await
    }

    async fn discard(&self, told: &Told) -> Result<(), StepError> {
        let prepared = |a: &Assignment| matches!(a.mode, Mode::Prepared | Mode::Gone);
        if self.assignment(&told.app).is_some_and(|a| !prepared(&a)) {
            return Ok(());
        }
        self.note(told, Mode::Gone, Assignment::clear).await?;
        self.remove_containers(&told.app).await
    }

    async fn stop(&self, told: &Told) -> Result<(), StepError> {
        self.note(told, Mode::Stopped, |_| ()).await?;
        // An app that this program cannot read ends like any other, only without its own order and patience.
        let app = self.assignment(&told.app).and_then(|a| read(&a.manifest, &told.app).ok());
        self.withdraw_routes(&told.app, app.as_ref());
        self.stop_containers(&told.app, app.as_ref()).await
    }

    async fn seal(&self, told: &Told, volumes: &[VolumeEpoch]) -> Result<(), StepError> {
        for volume in volumes {
            self.inner.parts.backend.seal(&told.op(volume), &volume.id).await?;
        }
        Ok(())
    }

    async fn unseal(&self, told: &Told, volumes: &[VolumeEpoch]) -> Result<(), StepError> {
        for volume in volumes {
            self.inner.parts.backend.unseal(&told.op(volume), &volume.id).await?;
        }
        Ok(())
    }

    async fn promote(
        &self,
        told: &Told,
        volumes: &[(VolumeEpoch, Point)],
    ) -> Result<(), StepError> {
        for (volume, at) in volumes {
            self.inner.parts.backend.promote(&told.op(volume), &volume.id, at).await?;
        }
        Ok(())
    }

    async fn start(
        &self,
        told: &Told,
        manifest: String,
        volumes: Vec<AttachOrder>,
    ) -> Result<(), StepError> {
        let app = read(&manifest, &told.app)?;
        self.note(told, Mode::Running, |a| {
            a.manifest = manifest;
            a.volumes = volumes;
        })
        .await?;
        let assignment = self.assignment(&told.app).unwrap_or_else(|| told.nothing());
        self.make_ready(&app, told.epoch).await?;
        self.run(&app, &assignment).await
    }

    async fn retire(&self, told: &Told, volumes: &[(VolumeEpoch, Point)]) -> Result<(), StepError> {
        self.note(told, Mode::Gone, Assignment::clear).await?;
        self.remove_containers(&told.app).await?;
        for (volume, at) in volumes {
            self.inner.parts.backend.retire(&told.op(volume), &volume.id, at).await?;
        }
        Ok(())
    }

    async fn remove(&self, told: &Told) -> Result<(), StepError> {
        self.stop(told).await?;
        self.remove_containers(&told.app).await?;
        self.note(told, Mode::Gone, Assignment::clear).await
    }

    async fn destroy_volumes(&self, told: &Told, volumes: &[VolumeEpoch]) -> Result<(), StepError> {
        for volume in volumes {
            self.inner.parts.backend.destroy(&told.op(volume), &volume.id).await?;
        }
        Ok(())
    }
}

impl Agent {
    /// Should one become the owner's copy in between, its epoch is newer than the order's, and the storage refuses.
    async fn destroy_replicas(
        &self,
        told: &Told,
        volumes: &[VolumeEpoch],
    ) -> Result<(), StepError> {
        let backend = &self.inner.parts.backend;
        for volume in volumes {
            match backend.stat(&volume.id).await? {
                None => {}
                Some(copy) if copy.role == Role::Replica => {
                    backend.destroy(&told.op(volume), &volume.id).await?;
                }
                Some(_) => {
                    let id = &volume.id;
                    let reason = format!("this node's copy of volume `{id}` is no replica");
                    return Err(StepError::Never(reason));
                }
            }
        }
        Ok(())
    }
}

/// A stream that is listed as being sent, until it ends in whatever way: whoever asked for it may go away.
struct Listed<'a> {
    agent: &'a Agent,
    operation: &'a OperationId,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let sending = &self.agent.inner.sending;
        sending.lock().unwrap_or_else(PoisonError::into_inner).remove(self.operation);
    }
}

/// Who told what, for whom, under which epoch.
pub(crate) struct Told {
    pub(crate) operation: OperationId,
    pub(crate) app: AppName,
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
}

impl Told {
    fn op(&self, volume: &VolumeEpoch) -> Op {
        Op { id: self.operation.clone(), epoch: volume.epoch }
    }

    fn nothing(&self) -> Assignment {
        Assignment {
            epoch: self.epoch,
            revision: self.revision,
            operation: self.operation.clone(),
            mode: Mode::Gone,
            manifest: String::new(),
            volumes: vec![],
        }
    }
}

impl Assignment {
    fn clear(&mut self) {
        self.manifest.clear();
        self.volumes.clear();
    }
}

/// Reads a manifest that the leader read before.
pub(super) fn read(manifest: &str, app: &AppName) -> Result<App, StepError> {
    if manifest.is_empty() {
        return Ok(App {
            name: app.clone(),
            containers: vec![],
            volumes: vec![],
            services: vec![],
            placement: flocker_model::PlacementRules::default(),
        });
    }
    flocker_compose::parse(manifest, Some(app)).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        StepError::Never(format!(
            "the manifest of app `{app}` cannot be read: {}",
            lines.join("; ")
        ))
    })
}
