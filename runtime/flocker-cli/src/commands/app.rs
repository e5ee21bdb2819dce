//! `flocker app`.

use std::{io::Read, path::Path, time::Duration};

use flocker_api::{Client, Code, Failure, v1};
use flocker_compose::Problem;
use flocker_model::{App, AppName, Timestamp};
use serde_json::{Value, json};

use super::{begun, logs};
use crate::{
    args::{AppCommand, Follow},
    show::{list, moment, or_dash, table},
    terminal::{self, Answer, confirm},
};

pub(super) async fn run(
    connect: impl AsyncFnOnce() -> Result<Client, Failure>,
    command: AppCommand,
    json: bool,
) -> Result<Answer, Failure> {
    match command {
        AppCommand::Deploy { file, name, follow } => {
            let (app, manifest) = checked(&file, name.as_ref())?;
            let mut client = connect().await?;
            let warning = slow_to_stop(&app);
            warning.iter().for_each(|warning| terminal::warn(warning));
            Ok(deploy(&mut client, &app.name, manifest, follow).await?.with_warning(warning))
        }
        AppCommand::Ls => {
            let apps = connect().await?.list_apps(v1::ListAppsRequest {}).await?.apps;
            Ok(Answer::list(
                json!({"apps": apps.iter().map(app_json).collect::<Vec<_>>()}),
                apps_table(&apps) + &troubles_text(&troubles(&apps)),
                apps.len(),
                "there are no apps; `flocker app deploy FILE` makes one",
            ))
        }
        AppCommand::Inspect { app } => {
            let view = connect()
                .await?
                .inspect_app(v1::InspectAppRequest { app: app.to_string() })
                .await?;
            Ok(Answer::new(inspect_json(&view), inspect_text(&view)))
        }
        AppCommand::Rm { app, volumes, yes, follow } => {
            if volumes {
                confirm(yes, &format!("removing app `{app}` with its volumes"))?;
            }
            let mut client = connect().await?;
            let started =
                client.remove_app(v1::RemoveAppRequest { app: app.to_string(), volumes }).await?;
            begun(&mut client, &started, follow).await
        }
        AppCommand::Logs { app, container, follow, tail } => {
            let all = container.is_none();
            let container = container.map(|container| container.to_string());
            let request = v1::LogsRequest { app: app.to_string(), container, follow, tail };
            logs::print(&mut connect().await?, request, all, json).await
        }
    }
}

/// A move holds clients for 20 s at most before it is undone, and its other steps need some of them.
const GRACE_MAX: Duration = Duration::from_secs(15);

/// Says which containers may take longer to stop than a move can wait.
fn slow_to_stop(app: &App) -> Option<String> {
    let slow = app.containers.iter().filter(|c| c.stop_grace_period > GRACE_MAX);
    let slow: Vec<_> = slow.map(|c| format!("`{}`", c.name)).collect();
    if slow.is_empty() {
        return None;
    }
    Some(format!(
        "a move holds clients for 20s at most, and is undone if {} need{} more than about 15s to stop (`stop_grace_period`)",
        slow.join(", "),
        if slow.len() == 1 { "s" } else { "" }
    ))
}

async fn deploy(
    client: &mut Client,
    name: &AppName,
    manifest: String,
    follow: Follow,
) -> Result<Answer, Failure> {
    let reply =
        client.deploy_app(v1::DeployAppRequest { name: name.to_string(), manifest }).await?;
    match (reply.operation, reply.waiting) {
        (Some(operation), _) => {
            begun(client, &v1::OperationStarted { operation, warning: None }, follow).await
        }
        (None, Some(reason)) => {
            let message =
                format!("app `{}` is written down and waits for a place: {reason}", reply.app);
            Err(Failure::new(Code::NO_CANDIDATE, message).hint(format!(
                "it starts as soon as a node may hold it; `flocker app rm {}` takes it back",
                reply.app
            )))
        }
        (None, None) => Ok(Answer::new(
            json!({"app": reply.app, "operation": null}),
            format!("app {} is what the file says already\n", reply.app),
        )),
    }
}

/// The app in the file, and the text that is sent: variables replaced, everything checked.
fn checked(file: &Path, name: Option<&AppName>) -> Result<(App, String), Failure> {
    let text = read(file).map_err(|reason| {
        Failure::new(
            Code::INVALID_MANIFEST,
            format!("could not read `{}`: {reason}", file.display()),
        )
    })?;
    let refuse = |problems: Vec<Problem>| refused(file, problems);
    let manifest = flocker_compose::interpolate(&text, |name| std::env::var(name).ok())
        .map_err(|problem| refuse(vec![problem]))?;
    let app = flocker_compose::parse(&manifest, name).map_err(refuse)?;
    Ok((app, manifest))
}

fn read(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    // One byte more than is allowed, so that the parser says that it is too long.
    let limit = flocker_compose::TEXT_MAX as u64 + 1;
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| error.to_string())?;
    Ok(text)
}

/// Every problem on a line of its own, where editors find it.
fn refused(file: &Path, problems: Vec<Problem>) -> Failure {
    let shown =
        if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() };
    let n = problems.len();
    let mut message =
        format!("`{shown}` cannot be deployed: {n} problem{}", if n == 1 { "" } else { "s" });
    for problem in problems {
        message += &format!("\n{}", problem.in_file(shown.clone()));
    }
    Failure::new(Code::INVALID_MANIFEST, message)
}

/// What an operator should look at, each with the app that it is about.
pub(super) fn troubles(apps: &[v1::AppView]) -> Vec<String> {
    let trouble = |view: &v1::AppView| {
        let name = view.app.as_ref().map_or("", |app| app.name.as_str());
        view.trouble.as_ref().map(|trouble| format!("app {name}: {trouble}"))
    };
    apps.iter().filter_map(trouble).collect()
}

/// Troubles, below a table; nothing where there are none.
pub(super) fn troubles_text(troubles: &[String]) -> String {
    let lines: String = troubles.iter().map(|trouble| format!("trouble: {trouble}\n")).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

pub(super) fn apps_table(apps: &[v1::AppView]) -> String {
    table(
        ["APP", "STATE", "NODE", "EPOCH", "PORTS", "CONTAINERS", "OPERATION"],
        apps.iter().map(|view| {
            let app = view.app.clone().unwrap_or_default();
            [
                app.name.clone(),
                state(&app).to_owned(),
                or_dash(app.owner.as_deref()),
                app.epoch.to_string(),
                list(view.services.iter().map(|service| service.port.to_string())),
                running(view),
                or_dash(app.operation.as_deref()),
            ]
        }),
    )
}

fn state(app: &v1::AppRecord) -> &'static str {
    match app.state() {
        v1::AppState::Deployed => "deployed",
        v1::AppState::Removing => "removing",
        v1::AppState::Unspecified => "-",
    }
}

/// `2 of 3 running`.
fn running(view: &v1::AppView) -> String {
    let n = view
        .containers
        .iter()
        .filter(|container| container_state(container).0 == "running")
        .count();
    format!("{n} of {} running", view.containers.len())
}

/// The word for a container's state, and more about it.
fn container_state(container: &v1::ContainerView) -> (&'static str, Option<String>) {
    use v1::container_state::State;
    let state = container
        .observed
        .as_ref()
        .and_then(|seen| seen.state.as_ref())
        .and_then(|state| state.state.as_ref());
    match state {
        None => ("unknown", None),
        Some(State::Created(_)) => ("created", None),
        Some(State::Gated(_)) => ("gated", None),
        Some(State::Running(running)) => {
            ("running", Some(format!("since {}", moment(Timestamp(running.since_ms)))))
        }
        Some(State::Exited(exited)) => {
            let why = if exited.out_of_memory { ", out of memory" } else { "" };
            ("exited", Some(format!("status {}{why}", exited.status)))
        }
    }
}

fn inspect_text(view: &v1::AppView) -> String {
    let app = view.app.clone().unwrap_or_default();
    let mut text = format!("app {}, {}\n", app.name, state(&app));
    text += &format!("node       {}\n", or_dash(app.owner.as_deref()));
    text += &format!("epoch      {}\n", app.epoch);
    text += &format!("placed     {}\n", moment(Timestamp(app.placed_ms)));
    text += &format!("operation  {}\n", or_dash(app.operation.as_deref()));
    text += &format!("volumes    {}\n", list(view.volumes.iter().cloned()));
    if let Some(trouble) = &view.trouble {
        text += &format!("trouble    {trouble}\n");
    }
    text += "\n";
    text += &table(
        ["CONTAINER", "STATE", "HEALTH", "RESTARTS", "IMAGE"],
        view.containers.iter().map(|container| {
            let (state, more) = container_state(container);
            let seen = container.observed.clone().unwrap_or_default();
            [
                container.name.clone(),
                more.map_or_else(|| state.to_owned(), |more| format!("{state}, {more}")),
                or_dash(seen.healthy.map(|healthy| if healthy { "healthy" } else { "unhealthy" })),
                seen.restarts.to_string(),
                container.image.clone(),
            ]
        }),
    );
    if !view.services.is_empty() {
        text += "\n";
        text += &table(
            ["SERVICE", "EVERY NODE'S", "CONTAINER"],
            view.services.iter().map(|service| {
                let host = service.host_ip.as_ref().map(|ip| format!("{ip}:")).unwrap_or_default();
                [
                    service.name.clone(),
                    format!("{host}{}", service.port),
                    format!("{}:{}", service.container, service.container_port),
                ]
            }),
        );
    }
    text
}

pub(super) fn app_json(view: &v1::AppView) -> Value {
    let app = view.app.clone().unwrap_or_default();
    let containers = view.containers.iter().map(|container| {
        let seen = container.observed.clone().unwrap_or_default();
        let (state, detail) = container_state(container);
        json!({
            "name": container.name,
            "image": container.image,
            "state": state,
            "detail": detail,
            "healthy": seen.healthy,
            "restarts": seen.restarts,
        })
    });
    let services = view.services.iter().map(|service| {
        json!({
            "name": service.name,
            "container": service.container,
            "host_ip": service.host_ip,
            "port": service.port,
            "container_port": service.container_port,
        })
    });
    json!({
        "name": app.name,
        "state": state(&app),
        "node": app.owner,
        "epoch": app.epoch,
        "placed_ms": app.placed_ms,
        "operation": app.operation,
        "containers": containers.collect::<Vec<_>>(),
        "services": services.collect::<Vec<_>>(),
        "volumes": view.volumes,
        "trouble": view.trouble,
    })
}

fn inspect_json(view: &v1::AppView) -> Value {
    let mut json = app_json(view);
    json["manifest"] = json!(view.app.as_ref().map(|app| app.manifest.as_str()));
    json
}
