//! Who waits for whom, and who reaches whom: `depends_on`, `links`, `external_links`, and the circles in them.

use std::collections::BTreeMap;

use flocker_model::{
    AppName, Condition, ContainerName, ContainerSpec, Dependency, Link, LinkTarget,
};

use crate::{
    Problem,
    reader::{Field, Problems},
    yaml::Value,
};

/// A list of names, or a mapping from names to conditions.
pub(crate) fn depends_on(
    field: &Field<'_>,
    names: &[&str],
    problems: &mut Problems,
) -> Vec<Dependency> {
    let mut out: Vec<Dependency> = Vec::new();
    if let Value::List(_) = field.node.value {
        for item in field.list(problems) {
            let Some(name) = item.text(problems) else { continue };
            let Some(on) = known(&item, &name, names, problems) else { continue };
            add(&item, Dependency { on, condition: Condition::Started }, &mut out, problems);
        }
        return out;
    }
    for (name, item) in field.map(problems).rest() {
        let mut fields = item.map(problems);
        let condition = fields.take("condition").map(|f| f.read(problems, condition));
        fields.refuse_rest(problems, |_| Some("only `condition` is known here"));
        let Some(on) = known(&item, name, names, problems) else { continue };
        match condition {
            Some(Some(condition)) => add(&item, Dependency { on, condition }, &mut out, problems),
            Some(None) => {}
            None => problems.push(
                item.problem("`condition` is missing").hint("write `condition: service_started`"),
            ),
        }
    }
    out
}

fn add(
    item: &Field<'_>,
    dependency: Dependency,
    out: &mut Vec<Dependency>,
    problems: &mut Problems,
) {
    if out.iter().any(|d| d.on == dependency.on) {
        problems.push(item.problem(format!("`{}` is given twice", dependency.on)));
    } else {
        out.push(dependency);
    }
}

fn condition(text: &str) -> Result<Condition, String> {
    match text {
        "service_started" => Ok(Condition::Started),
        "service_healthy" => Ok(Condition::Healthy),
        "service_completed_successfully" => Ok(Condition::Completed),
        _ => Err(format!(
            "`{text}` is not `service_started`, `service_healthy` or `service_completed_successfully`"
        )),
    }
}

fn known(
    item: &Field<'_>,
    name: &str,
    names: &[&str],
    problems: &mut Problems,
) -> Option<ContainerName> {
    if !names.contains(&name) {
        let problem = item.problem(format!("there is no container `{name}` in this file"));
        problems.push(problem.hint(format!("there are: {}", names.join(", "))));
        return None;
    }
    // A name that cannot be one was reported where it stands.
    ContainerName::new(name).ok()
}

/// `CONTAINER` or `CONTAINER:ALIAS`, to a container of this app.
pub(crate) fn links(field: &Field<'_>, names: &[&str], problems: &mut Problems) -> Vec<Link> {
    each(field, problems, |item, name, problems| {
        known(item, name, names, problems).map(LinkTarget::Container)
    })
}

/// `APP` or `APP:ALIAS`, to the services of another app.
pub(crate) fn external_links(
    field: &Field<'_>,
    app: Option<&AppName>,
    problems: &mut Problems,
) -> Vec<Link> {
    each(field, problems, |item, name, problems| match AppName::new(name) {
        Ok(other) if Some(&other) == app => {
            problems.push(item.problem(format!("`{name}` is this app itself")).hint("use `links`"));
            None
        }
        Ok(other) => Some(LinkTarget::App(other)),
        Err(e) => {
            problems.push(item.problem(e.to_string()));
            None
        }
    })
}

fn each(
    field: &Field<'_>,
    problems: &mut Problems,
    target: impl Fn(&Field<'_>, &str, &mut Problems) -> Option<LinkTarget>,
) -> Vec<Link> {
    let mut out = Vec::new();
    for item in field.list(problems) {
        let Some(text) = item.text(problems) else { continue };
        let (name, alias) = text.split_once(':').unwrap_or((&text, &text));
        let Some(target) = target(&item, name, problems) else { continue };
        let is_host_name = !alias.is_empty()
            && alias.len() <= 63
            && alias.starts_with(|c: char| c.is_ascii_alphanumeric())
            && alias.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if is_host_name {
            out.push(Link { alias: alias.to_owned(), target });
        } else {
            problems.push(item.problem(format!("`{alias}` cannot be a host name")));
        }
    }
    out
}

/// One name must lead to one place: of two aliases that are equal, or one that is another container's name, the
/// container would reach either.
pub(crate) fn check_aliases(
    field: &Field<'_>,
    links: &[Link],
    names: &[&str],
    problems: &mut Problems,
) {
    for (idx, link) in links.iter().enumerate() {
        let taken_by_container = names.contains(&link.alias.as_str())
            && link.target
                != LinkTarget::Container(match ContainerName::new(&link.alias) {
                    Ok(name) => name,
                    Err(_) => continue,
                });
        let taken_by_link =
            links.iter().take(idx).any(|l| l.alias == link.alias && l.target != link.target);
        if taken_by_container || taken_by_link {
            problems.push(
                field
                    .problem(format!("`{}` leads to two places", link.alias))
                    .hint("choose another alias: `NAME:ALIAS`"),
            );
        }
    }
}

/// Refuses conditions that can never be met, and circles. `lines` says where each container stands.
pub(crate) fn check(
    containers: &[ContainerSpec],
    lines: &BTreeMap<&str, usize>,
    problems: &mut Problems,
) {
    let line = |name: &ContainerName| lines.get(name.as_str()).copied().unwrap_or(1);
    for container in containers {
        for dependency in container.depends_on.iter().filter(|d| d.condition == Condition::Healthy)
        {
            let on = containers.iter().find(|c| c.name == dependency.on);
            if on.is_some_and(|c| c.healthcheck.is_none()) {
                let path = format!("services.{}.depends_on.{}", container.name, dependency.on);
                let what = format!(
                    "`{}` has no `healthcheck`, so it never becomes healthy",
                    dependency.on
                );
                problems.push(
                    Problem::new(line(&container.name), path, what)
                        .hint("give it one, or wait for `service_started`; health checks inside images are not run"),
                );
            }
        }
    }
    if let Some(circle) = circle(containers) {
        let names: Vec<&str> = circle.iter().map(|name| name.as_str()).collect();
        let first = names.first().copied().unwrap_or_default();
        let what =
            format!("waits for itself: {}", [names.as_slice(), &[first]].concat().join(" → "));
        let at = circle.first().map_or(1, |name| line(name));
        problems.push(
            Problem::new(at, format!("services.{first}.depends_on"), what)
                .hint("remove one of these from `depends_on` or `links`"),
        );
    }
}

/// The first circle in the order of the file: what is left over when those that wait for nobody are taken away, again
/// and again, holds one, and following any dependency in it comes round.
fn circle(containers: &[ContainerSpec]) -> Option<Vec<&ContainerName>> {
    let mut left: Vec<&ContainerSpec> = containers.iter().collect();
    loop {
        let names: Vec<&ContainerName> = left.iter().map(|c| &c.name).collect();
        let before = left.len();
        left.retain(|c| c.depends_on.iter().any(|d| names.contains(&&d.on)));
        if left.len() == before {
            break;
        }
    }
    let mut path: Vec<&ContainerName> = vec![&left.first()?.name];
    loop {
        let last = left.iter().find(|c| path.last() == Some(&&c.name))?;
        let next =
            last.depends_on.iter().map(|d| &d.on).find(|on| left.iter().any(|c| &c.name == *on))?;
        if let Some(start) = path.iter().position(|name| *name == next) {
            return Some(path.split_off(start));
        }
        path.push(next);
    }
}
