//! One container: what Compose calls a service.

use std::{collections::BTreeMap, time::Duration};

use flocker_model::{
    AppName, Condition, ContainerName, ContainerSpec, Dependency, Healthcheck, Link, LinkTarget,
    Restart,
};

use crate::{
    depends, hints,
    ports::{self, Port},
    reader::{Field, Fields, Problems},
    shell, values, volumes,
    yaml::Value,
};

/// Compose's default.
const STOP_GRACE_DEFAULT: Duration = Duration::from_secs(10);

/// What containers of a file may refer to.
pub(crate) struct Scope<'a> {
    pub(crate) app: Option<&'a AppName>,
    pub(crate) containers: Vec<&'a str>,
    pub(crate) volumes: Vec<&'a str>,
}

pub(crate) fn read<'a>(
    key: &str,
    field: &Field<'a>,
    scope: &Scope<'_>,
    problems: &mut Problems,
) -> Option<(ContainerSpec, Vec<Port<'a>>)> {
    let mut fields = field.map(problems);
    let name = ContainerName::new(key).or_else(|e| {
        problems.push(field.problem(e.to_string()));
        // The file is refused already; going on under another name finds what else is wrong with it.
        ContainerName::new("unnamed")
    });
    let name = name.ok()?;
    let image = fields.take("image");
    if image.is_none() {
        problems.push(field.problem("`image` is missing"));
    }
    let links = links(&mut fields, scope, problems);
    let depends_on =
        fields.take("depends_on").map(|f| depends::depends_on(&f, &scope.containers, problems));
    let ports = fields.take("ports").map(|f| ports::read(&f, &name, problems)).unwrap_or_default();
    let grace = fields.take("stop_grace_period").and_then(|f| f.read(problems, values::duration));
    let spec = ContainerSpec {
        name,
        image: image.and_then(|f| f.read(problems, image_name)).unwrap_or_default(),
        entrypoint: fields.take("entrypoint").and_then(|f| words(&f, problems)),
        command: fields.take("command").and_then(|f| words(&f, problems)),
        environment: fields
            .take("environment")
            .map(|f| environment(&f, problems))
            .unwrap_or_default(),
        user: fields.take("user").and_then(|f| f.read(problems, user)),
        working_dir: fields
            .take("working_dir")
            .and_then(|f| f.read(problems, values::absolute_path)),
        mounts: fields
            .take("volumes")
            .map(|f| volumes::mounts(&f, &scope.volumes, problems))
            .unwrap_or_default(),
        depends_on: with_links(depends_on.unwrap_or_default(), &links),
        healthcheck: fields.take("healthcheck").and_then(|f| healthcheck(&f, problems)),
        restart: fields
            .take("restart")
            .and_then(|f| f.read(problems, restart))
            .unwrap_or(Restart::No),
        stop_grace_period: grace.unwrap_or(STOP_GRACE_DEFAULT),
        memory: fields.take("mem_limit").and_then(|f| f.read(problems, volumes::above_zero)),
        cpu: fields.take("cpus").and_then(|f| f.read(problems, values::cpus)),
        labels: fields.take("labels").map(|f| labels(&f, problems)).unwrap_or_default(),
        links,
    };
    fields.refuse_rest(problems, hints::container);
    Some((spec, ports))
}

fn links(fields: &mut Fields<'_>, scope: &Scope<'_>, problems: &mut Problems) -> Vec<Link> {
    let (own, external) = (fields.take("links"), fields.take("external_links"));
    let mut all =
        own.as_ref().map(|f| depends::links(f, &scope.containers, problems)).unwrap_or_default();
    all.extend(
        external
            .as_ref()
            .map(|f| depends::external_links(f, scope.app, problems))
            .unwrap_or_default(),
    );
    if let Some(field) = own.or(external) {
        depends::check_aliases(&field, &all, &scope.containers, problems);
    }
    all
}

/// A link to a container is a dependency as well, as in Compose.
fn with_links(mut dependencies: Vec<Dependency>, links: &[Link]) -> Vec<Dependency> {
    for link in links {
        match &link.target {
            LinkTarget::Container(on) if !dependencies.iter().any(|d| &d.on == on) => {
                dependencies.push(Dependency { on: on.clone(), condition: Condition::Started });
            }
            LinkTarget::Container(_) | LinkTarget::App(_) => {}
        }
    }
    dependencies
}

fn environment(field: &Field<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    values::key_values(field, problems, |item, key| {
        let problem = item.problem(format!("`{key}` has no value"));
        Err(problem
            .hint(format!("`${{{key}}}` takes it from where you deploy, `\"\"` leaves it empty")))
    })
}

fn labels(field: &Field<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    values::key_values(field, problems, |_, _| Ok(String::new()))
}

/// Words as a list, or a line that is split as a shell does; nothing at all leaves what the image says.
fn words(field: &Field<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    match &field.node.value {
        Value::Null => None,
        Value::List(_) => {
            let items = field.list(problems);
            Some(items.into_iter().filter_map(|item| item.text(problems)).collect())
        }
        Value::Text(_) | Value::Map(_) => {
            let line = field.text(problems)?;
            shell::split(&line)
                .map_err(|what| {
                    problems.push(
                        field
                            .problem(what)
                            .hint("quote it, or write a list: `[\"sh\", \"-c\", \"…\"]`"),
                    );
                })
                .ok()
        }
    }
}

fn healthcheck(field: &Field<'_>, problems: &mut Problems) -> Option<Healthcheck> {
    let mut fields = field.map(problems);
    let disable =
        fields.take("disable").and_then(|f| f.read(problems, values::truth)).unwrap_or(false);
    let test = fields.take("test");
    let mut time =
        |key: &str| fields.take(key).and_then(|f| f.read(problems, values::duration_above_zero));
    let (interval, timeout) = (time("interval"), time("timeout"));
    let start_period = fields.take("start_period").and_then(|f| f.read(problems, values::duration));
    let retries = fields.take("retries").and_then(|f| f.read(problems, retries));
    fields.refuse_rest(problems, hints::none);
    let test = match test {
        Some(test) => test_command(&test, problems),
        None if disable => None,
        None => {
            problems.push(field.problem("`test`, the command that checks, is missing"));
            None
        }
    };
    // Compose's defaults.
    Some(Healthcheck {
        test: test.filter(|_| !disable)?,
        interval: interval.unwrap_or(Duration::from_secs(30)),
        timeout: timeout.unwrap_or(Duration::from_secs(30)),
        retries: retries.unwrap_or(3),
        start_period: start_period.unwrap_or_default(),
    })
}

/// The command to run in the container; `None` for `NONE`, and where there was a problem.
fn test_command(field: &Field<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    let in_shell = |line: String| Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), line]);
    let Value::List(_) = field.node.value else {
        let line = field.text(problems)?;
        return if line == "NONE" { None } else { in_shell(line) };
    };
    let items = field.list(problems);
    let n_items = items.len();
    let mut words: Vec<String> = items.into_iter().filter_map(|item| item.text(problems)).collect();
    if words.len() < n_items {
        return None;
    }
    match (words.first().map(String::as_str), n_items) {
        (Some("NONE"), 1) => None,
        (Some("CMD-SHELL"), 2) => in_shell(words.swap_remove(1)),
        (Some("CMD"), 2..) => Some(words.split_off(1)),
        _ => {
            let problem = field.problem(
                "the list must begin with `CMD`, `CMD-SHELL` or `NONE`, and name a command",
            );
            problems.push(problem.hint("for example `[\"CMD\", \"redis-cli\", \"ping\"]`"));
            None
        }
    }
}

fn retries(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(format!("`{text}` is not a number of failures from 1")),
    }
}

fn restart(text: &str) -> Result<Restart, String> {
    let refuse = || {
        format!("`{text}` is not `no`, `always`, `on-failure`, `on-failure:5` or `unless-stopped`")
    };
    match text.split_once(':') {
        // Unquoted, YAML 1.1 calls it `false`; some tools write it so.
        None if text == "no" || text == "false" => Ok(Restart::No),
        None if text == "always" => Ok(Restart::Always),
        None if text == "unless-stopped" => Ok(Restart::UnlessStopped),
        None if text == "on-failure" => Ok(Restart::OnFailure { retries_max: None }),
        Some(("on-failure", n)) => {
            let n: u32 = n.parse().map_err(|_| refuse())?;
            // Docker's 0 means without a limit.
            Ok(Restart::OnFailure { retries_max: Some(n).filter(|n| *n > 0) })
        }
        None | Some(_) => Err(refuse()),
    }
}

fn image_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("`{}` is not the name of an image", text.escape_debug()));
    }
    Ok(text.to_owned())
}

fn user(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!(
            "`{}` is not a user, such as `redis` or `999:999`",
            text.escape_debug()
        ));
    }
    Ok(text.to_owned())
}
