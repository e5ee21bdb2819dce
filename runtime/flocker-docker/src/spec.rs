//! What Docker is told about a container: the plan, in Docker's words. Decides nothing by itself but what the gate needs.

use std::{collections::HashMap, net::IpAddr, path::Path};

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, ImageConfig, Mount, MountType,
    NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};
use flocker_gate::{FOLDER, PROGRAM};
use flocker_model::{ContainerSpec, LinkTarget, NodeName};
use flocker_ports::ContainerPlan;

use crate::{
    command::AppCommand,
    labels::{self, Identity},
};

/// Labels of ours begin so; an author's may not.
const OURS: &str = "io.flocker.";

/// What a plan is turned into a request with.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) node: &'a NodeName,
    /// The node's address on its network, where its proxy listens.
    pub(crate) gateway: IpAddr,
    pub(crate) image: &'a ImageConfig,
    /// The gate's folder on the host.
    pub(crate) gate: &'a Path,
    /// What is mounted until the volumes are.
    pub(crate) placeholder: &'a Path,
}

/// The request, and what the container will be known by. An error says what is wrong with the plan.
pub(crate) fn request(
    plan: &ContainerPlan,
    around: &Surroundings<'_>,
) -> Result<(ContainerCreateBody, Identity), String> {
    let spec = &plan.spec;
    let command = AppCommand::resolve(spec, around.image).ok_or_else(|| {
        format!("neither image `{}` nor the Compose file name a command to run", spec.image)
    })?;
    refuse_nested(spec)?;
    let mut body = body(plan, around, command);
    let digest = digest(&body, spec)?;
    let identity = Identity::of(plan, digest);
    let mut all = HashMap::new();
    all.extend(
        spec.labels
            .iter()
            .filter(|(key, _)| !key.starts_with(OURS))
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    all.extend(identity.labels(around.node));
    body.labels = Some(all);
    Ok((body, identity))
}

/// A placeholder is read-only, so nothing could be mounted inside it.
fn refuse_nested(spec: &ContainerSpec) -> Result<(), String> {
    for inner in &spec.mounts {
        for outer in &spec.mounts {
            if inner.path != outer.path && inner.path.starts_with(&outer.path) {
                let (inner, outer) = (inner.path.display(), outer.path.display());
                return Err(format!(
                    "the volume at `{inner}` lies inside the one at `{outer}`, which cannot be done"
                ));
            }
        }
    }
    Ok(())
}

/// Two plans with one digest would make the same container. Made of what Docker is told, so that a new release of ours
/// replaces containers only where it would make other ones.
fn digest(body: &ContainerCreateBody, spec: &ContainerSpec) -> Result<String, String> {
    let told = serde_json::to_vec(&(body, &spec.labels)).map_err(|error| error.to_string())?;
    Ok(blake3::hash(&told).to_hex()[..32].to_owned())
}

fn body(
    plan: &ContainerPlan,
    around: &Surroundings<'_>,
    command: AppCommand,
) -> ContainerCreateBody {
    let spec = &plan.spec;
    let network = labels::network(around.node);
    let endpoint =
        EndpointSettings { links: Some(links(plan, around.node)), ..EndpointSettings::default() };
    let in_volume = spec.mounts.iter().any(|mount| command.folder.starts_with(&mount.path));
    // Docker would try to make a missing working directory, which it cannot in a volume that is not there yet.
    let folder = if in_volume { Path::new("/") } else { &command.folder };
    let folder = folder.to_string_lossy().into_owned();
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: Some(vec![
            format!("{FOLDER}/{PROGRAM}"),
            command.folder.to_string_lossy().into_owned(),
        ]),
        cmd: Some(command.line),
        env: Some(spec.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        user: spec.user.clone(),
        working_dir: Some(folder),
        stop_timeout: Some(i64::try_from(spec.stop_grace_period.as_secs()).unwrap_or(i64::MAX)),
        // Health checks count only once the gate is open, so the agent runs them; an image's own are switched off.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        host_config: Some(host(plan, around, &network)),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some([(network, endpoint)].into()),
        }),
        ..ContainerCreateBody::default()
    }
}

fn host(plan: &ContainerPlan, around: &Surroundings<'_>, network: &str) -> HostConfig {
    let spec = &plan.spec;
    let placeholders = spec.mounts.iter().map(|mount| bind(around.placeholder, &mount.path));
    HostConfig {
        mounts: Some(placeholders.chain([bind(around.gate, Path::new(FOLDER))]).collect()),
        memory: spec.memory.map(|memory| i64::try_from(memory.0).unwrap_or(i64::MAX)),
        nano_cpus: spec.cpu.map(|cpu| i64::from(cpu.0) * 1_000_000),
        network_mode: Some(network.to_owned()),
        extra_hosts: Some(apps(spec, around.gateway)),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            ..RestartPolicy::default()
        }),
        // The gate, and then the app, must be the first process: it is the one that is watched and signalled.
        init: Some(false),
        auto_remove: Some(false),
        ..HostConfig::default()
    }
}

/// A folder of the host's, read-only. As a mount and not as a bind string, for Docker then refuses a missing folder
/// instead of making an empty one.
fn bind(source: &Path, target: &Path) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_string_lossy().into_owned()),
        read_only: Some(true),
        ..Mount::default()
    }
}

/// Siblings under their own names, and under those that the container chose. Links are private to the container, so two
/// apps on one network may both have a `redis`.
fn links(plan: &ContainerPlan, node: &NodeName) -> Vec<String> {
    let own = plan.siblings.iter().map(|name| (name, name.as_str()));
    let chosen = plan.spec.links.iter().filter_map(|link| match &link.target {
        LinkTarget::Container(name) => Some((name, link.alias.as_str())),
        LinkTarget::App(_) => None,
    });
    let all = own.chain(chosen);
    all.map(|(name, alias)| format!("{}:{alias}", labels::container(node, &plan.app, name)))
        .collect()
}

/// Other apps' services are answered by the node's own proxy, wherever they run.
fn apps(spec: &ContainerSpec, gateway: IpAddr) -> Vec<String> {
    let aliases = spec.links.iter().filter_map(|link| match &link.target {
        LinkTarget::App(_) => Some(link.alias.as_str()),
        LinkTarget::Container(_) => None,
    });
    aliases.map(|alias| format!("{alias}:{gateway}")).collect()
}
