//! Makes a volume what its properties say, and all of them when the pool is opened. May be run any number of times.

use std::{cmp::Ordering, sync::PoisonError};

use flocker_model::{ByteSize, Role, VolumeId};
use flocker_ports::BackendError;
use flocker_zfs_wire::Call;
use rustix::io::Errno;

use crate::{
    backend::Node,
    command::{list_volumes, parse_volumes, run},
    helper::CallError,
    mount, plan,
    state::{Found, MARK, State, Want},
};

impl Node {
    /// Makes the volume what its properties say.
    pub(crate) async fn settle(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let Found::Ours(state) = self.look(volume).await? else { return Ok(()) };
        match state.label.want {
            // Nobody was told of it.
            Want::Making => Ok(()),
            Want::Role(role) => {
                let (set, (change, room)) = (plan::to_set(&state), plan::to_reserve(&state));
                // It is never above the quota, not even in between.
                if change == Ordering::Less {
                    self.reserve(volume, room).await;
                }
                if !set.is_empty() {
                    let (dataset, mut args) = (self.dataset(volume), vec!["set"]);
                    args.extend(set.iter().map(String::as_str));
                    args.push(&dataset);
                    let about = self.about("could not put in order", volume);
                    run(&self.zfs, &args).await.map_err(|reason| about.failed(reason))?;
                }
                if change == Ordering::Greater {
                    self.reserve(volume, room).await;
                }
                match role {
                    Role::Live => self.unlock(volume, &state).await,
                    // Snapshots of it can be sent without its key.
                    Role::Sealed => Ok(()),
                    Role::Replica => {
                        // Somebody may still look at it; it is read-only, and a receive replaces what they see.
                        if let Err(error) = self.unmount(volume).await {
                            tracing::warn!("{error}");
                        }
                        self.lock(volume, &state).await;
                        Ok(())
                    }
                }
            }
            // What is left is other people's. It is no volume any more.
            Want::Gone => self.remove(volume, &state).await.map(drop),
        }
    }

    /// Has the pool keep room for the volume, or let go of it. A pool that has none keeps the volume all the same.
    async fn reserve(&self, volume: &VolumeId, room: ByteSize) {
        let property = format!("refreservation={}", room.0);
        if let Err(reason) = run(&self.zfs, &["set", &property, &self.dataset(volume)]).await {
            tracing::warn!(%volume, "room for it could not be reserved: {reason}");
        }
    }

    pub(crate) async fn unmount(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let (dataset, folder) = (self.dataset(volume), self.folder(volume));
        let action = format!("could not unmount volume `{volume}`");
        self.files(&action, &folder, move |folder| mount::unmount(&dataset, folder)).await
    }

    /// Removes what is ours of a volume: its snapshots, what came of a receive, the dataset. Answers what of other people's
    /// keeps the dataset, if something does.
    pub(crate) async fn remove(
        &self,
        volume: &VolumeId,
        state: &State,
    ) -> Result<Option<String>, BackendError> {
        let about = self.about("could not remove", volume);
        let dataset = self.dataset(volume);
        self.entry(volume).slot.stop().await;
        self.unmount(volume).await?;
        self.discard(volume).await?;
        let names = state.points().map(|point| format!("{dataset}@{MARK}{}", point.tag));
        let hidden = state.origins.iter().filter(|origin| origin.hidden);
        let names = names.chain(hidden.map(|origin| origin.name.clone()));
        let needed = |name: &String| {
            state.origins.iter().any(|origin| origin.name == *name && origin.heir().is_some())
        };
        let names = names.filter(|name| !needed(name)).collect();
        let mut held = self.destroy_all(names).await.map_err(|error| about.explain(error))?;
        held.extend(state.others.iter().cloned());
        if held.is_empty() {
            self.hand_over(volume, state).await?;
            let destroyed = self.helper.call(Call::Destroy { name: dataset.clone() }).await;
            match destroyed.err() {
                None => {}
                Some(CallError::Refused(failure)) if is(&failure, Errno::NOENT) => {}
                // A snapshot or a dataset below it, made just now.
                Some(CallError::Refused(failure)) if is(&failure, Errno::EXIST) => {
                    held.push(format!("{dataset}/…"));
                }
                Some(error) => return Err(about.explain(error)),
            }
        }
        let why = held.first().map(|first| {
            format!(
                "`{dataset}` is kept for `{first}`, which is not flocker's or is held by somebody else\nhint: once that is \
                 of no use any more, remove it with `zfs destroy -r {dataset}`"
            )
        });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match &why {
            None => kept.remove(volume),
            Some(why) => kept.insert(volume.clone(), why.clone()),
        };
        Ok(why)
    }

    /// Removes snapshots of ours, as many as may be. Answers those that something holds.
    async fn destroy_all(&self, mut names: Vec<String>) -> Result<Vec<String>, CallError> {
        let mut held = Vec::new();
        while !names.is_empty() {
            let call = Call::DestroySnapshots { names: names.clone() };
            match self.helper.call(call).await {
                Ok(_) => break,
                // All or none: once more without those that may not go.
                Err(CallError::Refused(failure)) if !failure.objects.is_empty() => {
                    let n_before = names.len();
                    let (stay, go): (Vec<_>, Vec<_>) =
                        names.into_iter().partition(|name| failure.objects.contains_key(name));
                    held.extend(stay);
                    names = go;
                    if names.len() == n_before {
                        return Err(CallError::Refused(failure));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(held)
    }

    /// Finishes or removes what a crash left. Answers one line per volume that could not be put in order.
    pub(crate) async fn repair(&self) -> Result<Vec<String>, BackendError> {
        let text = run(&self.zfs, &list_volumes(&self.parent)).await.map_err(|reason| {
            let action = format!("could not list the volumes below `{}`", self.parent);
            BackendError::Failed { action, reason }
        })?;
        let mut troubles = Vec::new();
        for listed in parse_volumes(&self.parent, &text) {
            let volume = &listed.volume;
            if let Err(error) = self.repair_one(volume).await {
                troubles.push(format!("volume `{volume}`: {error}"));
            }
        }
        Ok(troubles)
    }

    async fn repair_one(&self, volume: &VolumeId) -> Result<(), BackendError> {
        match self.look(volume).await? {
            Found::Ours(state) if state.label.want == Want::Making => {
                self.remove(volume, &state).await.map(drop)
            }
            Found::Ours(state) => {
                self.resume_rollback(&state).await?;
                self.let_go(volume, state.origins.iter().filter(|origin| origin.hidden)).await?;
                self.settle(volume).await
            }
            Found::Absent | Found::Foreign { .. } => Ok(()),
        }
    }

    /// What is left of removed volumes, one line each, until an operator removes it.
    pub(crate) fn kept(&self) -> Vec<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(volume, why)| format!("volume `{volume}` was removed; {why}")).collect()
    }
}

fn is(failure: &flocker_zfs_wire::Failure, errno: Errno) -> bool {
    failure.errno == errno.raw_os_error()
}
