//! One function per command: asks the node, and says what to print.

mod app;
mod logs;
mod node;
mod operation;
mod plugin;
mod replica;
mod status;
mod upgrade;
mod volume;

use clap::CommandFactory;
use flocker_api::{Client, Code, Failure, v1};
use serde_json::{Value, json};

use crate::{
    args::{Arguments, Command, Follow, PluginCommand},
    follow,
    show::{or_dash, table},
    terminal::{self, Answer},
};

/// Does what the command line says.
pub(crate) async fn run(arguments: Arguments) -> Result<Answer, Failure> {
    let connect = || Client::connect(&arguments.address);
    match arguments.command {
        Command::Completions { shell } => Ok(completions(shell)),
        Command::Status => status::status(&mut connect().await?).await,
        // Asks, where that is needed, and checks files before it connects.
        Command::Node(command) => node::run(connect, command).await,
        Command::Volume(command) => volume::run(connect, command).await,
        Command::Replica(command) => replica::run(connect, command).await,
        Command::App(command) => app::run(connect, command, arguments.json).await,
        Command::Move { app, to, follow } => {
            let mut client = connect().await?;
            let request = v1::MoveAppRequest {
                app: app.to_string(),
                target: to.map(|node| node.to_string()),
            };
            let started = client.move_app(request).await?;
            begun(&mut client, &started, follow).await
        }
        Command::Operation(command) => operation::run(&mut connect().await?, command).await,
        Command::Explain { subject } => explain(&mut connect().await?, subject).await,
        Command::Plugin(PluginCommand::Ls) => plugins(&mut connect().await?).await,
        Command::Plugin(PluginCommand::Author(command)) => plugin::run(command).await,
    }
}

async fn begun(
    client: &mut Client,
    started: &v1::OperationStarted,
    follow: Follow,
) -> Result<Answer, Failure> {
    started.warning.iter().for_each(|warning| terminal::warn(warning));
    let answer = follow::begun(client, &started.operation, follow).await?;
    Ok(answer.with_warning(started.warning.clone()))
}

fn completions(shell: clap_complete::Shell) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "flocker", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Answer::new(json!({"shell": shell.to_string(), "script": script}), script)
}

async fn explain(client: &mut Client, subject: String) -> Result<Answer, Failure> {
    let reply = client.explain(v1::ExplainRequest { subject }).await?;
    let document: Value = serde_json::from_str(&reply.json).map_err(|error| {
        Failure::new(Code::MALFORMED, format!("the node's explanation is not JSON: {error}"))
    })?;
    Ok(Answer::new(document, format!("{}\n", reply.text.trim_end())))
}

async fn plugins(client: &mut Client) -> Result<Answer, Failure> {
    let plugins = client.list_plugins(v1::ListPluginsRequest {}).await?.plugins;
    let header = [
        "PLUGIN", "VERSION", "NODE", "STATE", "HOOKS", "WEIGHT", "LIMITS", "CALLS", "FAILURES",
        "DIGEST", "TROUBLE",
    ];
    let text = table(
        header,
        plugins.iter().map(|plugin| {
            [
                plugin.name.clone(),
                plugin.version.clone(),
                or_dash(Some(plugin.node.as_str()).filter(|node| !node.is_empty())),
                plugin.state.clone(),
                plugin.hooks.join(", "),
                plugin.weight.to_string(),
                or_dash(Some(plugin.limits.as_str()).filter(|limits| !limits.is_empty())),
                plugin.n_calls.to_string(),
                plugin.n_failures.to_string(),
                // As much of it as people compare.
                or_dash(
                    plugin
                        .digest
                        .get(..12)
                        .or(Some(&plugin.digest))
                        .filter(|digest| !digest.is_empty()),
                ),
                or_dash(plugin.trouble.as_deref()),
            ]
        }),
    );
    let json = plugins.iter().map(|plugin| {
        json!({
            "name": plugin.name,
            "version": plugin.version,
            "node": plugin.node,
            "digest": plugin.digest,
            "hooks": plugin.hooks,
            "weight": plugin.weight,
            "limits": plugin.limits,
            "state": plugin.state,
            "trouble": plugin.trouble,
            "calls": plugin.n_calls,
            "failures": plugin.n_failures,
            "disagreements": plugin.n_disagreements,
            "next": upgrade::next_json(plugin),
        })
    });
    Ok(Answer::list(
        json!({"plugins": json.collect::<Vec<_>>()}),
        text + &upgrade::next_builds(&plugins),
        plugins.len(),
        "no plugins are loaded: the built-in policy places apps; `flocker-runtime --plugin FILE` loads one",
    ))
}
