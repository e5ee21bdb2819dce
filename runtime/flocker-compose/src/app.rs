//! The top of a Compose file.

use std::collections::BTreeMap;

use flocker_model::{App, AppName, ContainerSpec, Service};

use crate::{
    container::{self, Scope},
    depends, hints, placement,
    ports::Port,
    reader::{Field, Problems},
    volumes,
    yaml::Node,
};

/// Containers of one app. They all run on one node and move together, and each costs the move time.
const CONTAINERS_MAX: usize = 100;

/// The app that the file describes, as far as it could be read: it counts only when there are no problems.
pub(crate) fn read(root: &Node, name: Option<&AppName>, problems: &mut Problems) -> Option<App> {
    let root = Field { path: String::new(), line: root.line, node: root };
    let mut fields = root.map(problems);
    let own_name = fields.take("name").and_then(|f| f.parse::<AppName>(problems));
    let name = name.cloned().or(own_name);
    if name.is_none() && problems.is_empty() {
        problems.push(
            root.problem("the app has no name").hint("write `name: shop` at the top of the file"),
        );
    }
    fields.take("version");
    let placement =
        fields.take("x-flocker").map(|f| placement::read(&f, problems)).unwrap_or_default();
    let entries = fields.take("volumes").map(|f| f.map(problems).rest()).unwrap_or_default();
    let volumes = volumes::read(&entries, name.as_ref(), problems);
    // One that has a problem is declared all the same; its mounts are not to blame.
    let declared = entries.iter().map(|(key, _)| *key).collect();
    let (containers, services) = match fields.take("services") {
        Some(field) => services(&field, name.as_ref(), declared, problems),
        None => {
            problems
                .push(root.problem("`services` is missing: an app needs at least one container"));
            Default::default()
        }
    };
    fields.refuse_rest(problems, hints::top);
    Some(App { name: name?, containers, volumes, services, placement })
}

fn services(
    field: &Field<'_>,
    app: Option<&AppName>,
    volumes: Vec<&str>,
    problems: &mut Problems,
) -> (Vec<ContainerSpec>, Vec<Service>) {
    let entries = field.map(problems).rest();
    if entries.is_empty() {
        problems.push(field.problem("an app needs at least one container"));
    }
    if entries.len() > CONTAINERS_MAX {
        let what = format!(
            "{} containers are more than an app can have ({CONTAINERS_MAX})",
            entries.len()
        );
        problems.push(
            field.problem(what).hint("make several apps of it, with `external_links` between them"),
        );
        return Default::default();
    }
    let scope = Scope { app, containers: entries.iter().map(|(key, _)| *key).collect(), volumes };
    let (mut containers, mut ports) = (Vec::new(), Vec::new());
    for (key, entry) in &entries {
        if let Some((container, published)) = container::read(key, entry, &scope, problems) {
            containers.push(container);
            ports.extend(published);
        }
    }
    let lines: BTreeMap<&str, usize> =
        entries.iter().map(|(key, entry)| (*key, entry.line)).collect();
    depends::check(&containers, &lines, problems);
    check_ports(&ports, problems);
    (containers, ports.into_iter().map(|port| port.service).collect())
}

/// A proxy listens once on each port, whatever the address, and a service's name says which one is meant.
fn check_ports(ports: &[Port<'_>], problems: &mut Problems) {
    for (idx, port) in ports.iter().enumerate() {
        let Port { field, service } = port;
        let earlier = || ports.iter().take(idx);
        if let Some(other) = earlier().find(|p| p.service.port == service.port) {
            let what = format!(
                "port {} is published already, by `{}`",
                service.port, other.service.container
            );
            problems.push(field.problem(what));
        } else if let Some(other) = earlier().find(|p| p.service.name == service.name) {
            let what = format!(
                "the service `{}` exists already, of container `{}`",
                service.name, other.service.container
            );
            problems.push(field.problem(what).hint("give one of the containers another name"));
        }
    }
}
