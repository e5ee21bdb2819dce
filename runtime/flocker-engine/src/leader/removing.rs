//! The phases of a removal. There is no way back: an operator asked for it.

use flocker_model::{NodeName, OperationKind, Phase};
use flocker_ports::Step;

use super::{
    commit::{epoch_of, owns},
    runner::{Runner, Trouble},
};

/// Runs one phase.
pub(super) async fn run(runner: &mut Runner<'_>, phase: Phase) -> Result<(), Trouble> {
    let OperationKind::Remove { node, volumes } = runner.op().kind.clone() else {
        return Err(Trouble::Refused("this operation is no removal".to_owned()));
    };
    let record = runner.record().await?.value;
    match phase {
        Phase::Commit => runner.set_removing().await,
        Phase::Stop => match &node {
            Some(node) => runner.tell(node, record.epoch, Step::Stop).await.map(drop),
            None => Ok(()),
        },
        Phase::Reverse => remove_everywhere(runner, node.as_ref(), volumes).await,
        Phase::Planned
        | Phase::Seed
        | Phase::Converge
        | Phase::Prepare
        | Phase::Park
        | Phase::Seal
        | Phase::Delta
        | Phase::Promote
        | Phase::Start
        | Phase::Unpark => Ok(()),
    }
}

/// The node that runs the app must confirm; what is left elsewhere goes where its node answers.
async fn remove_everywhere(
    runner: &Runner<'_>,
    owner: Option<&NodeName>,
    destroy: bool,
) -> Result<(), Trouble> {
    let epoch = runner.record().await?.value.epoch;
    if let Some(owner) = owner {
        runner.tell(owner, epoch, Step::Remove).await?;
    }
    // A move that was undone told its target about an epoch that never began.
    let newest = epoch.next();
    for node in runner.others(owner) {
        runner.tell_if_there(&node, newest, Step::Remove).await?;
    }
    if !destroy {
        return Ok(());
    }
    let (_, app) = runner.app().await?;
    for (_, volume) in runner.volumes(&app).await?.into_iter().filter(|(_, v)| owns(&app, &v.value))
    {
        let step = || Step::DestroyVolumes { volumes: vec![epoch_of(&volume)] };
        if let Some(owner) = &volume.value.owner {
            runner.tell(owner, epoch, step()).await?;
        }
        // A move that was undone leaves a copy that no record names.
        let mut holders = runner.leader.inner.nodes.holders(&volume.value.id);
        holders.extend(volume.value.replicas.iter().map(|r| r.node.clone()));
        for node in holders.iter().filter(|node| Some(*node) != volume.value.owner.as_ref()) {
            runner.tell_if_there(node, newest, step()).await?;
        }
    }
    Ok(())
}
