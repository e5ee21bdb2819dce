//! Commands inside a running container, and its output.

use std::{collections::VecDeque, time::Duration};

use bollard::{
    Docker,
    container::LogOutput,
    exec::{CreateExecOptions, StartExecResults},
    query_parameters::LogsOptions,
};
use flocker_model::ContainerName;
use flocker_ports::{ContainerId, ContainerState, EngineError, ExecResult, LogChunk, LogStream};
use futures::StreamExt;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{DockerEngine, connection::is_status, process::Process, state::Seen};

/// What is kept of a command's output: enough for the last lines of an error message.
const OUTPUT_MAX: usize = 4096;

/// Time between two looks at a command whose output has ended.
const LOOK: Duration = Duration::from_millis(2);

impl DockerEngine {
    pub(crate) async fn execute(
        &self,
        id: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<ExecResult, EngineError> {
        let seen = self.existing(id).await?;
        match seen.container.state {
            ContainerState::Running { .. } => {}
            // The gate is not the app, and its volumes are not there.
            ContainerState::Gated | ContainerState::Created | ContainerState::Exited { .. } => {
                let reason = "does not run, so nothing can be executed in it".to_owned();
                return Err(EngineError::Conflict { container: seen.name, reason });
            }
        }
        let docker = self.connection.docker().await?;
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            working_dir: seen.folder.clone(),
            ..CreateExecOptions::default()
        };
        let made = docker.create_exec(&seen.container.id.0, options).await;
        let exec = made.map_err(|error| self.exec_failed(&seen, error))?.id;
        let deadline = Instant::now() + limit;
        match timeout_at(deadline, self.follow_exec(&docker, &seen, &exec)).await {
            Ok(result) => result,
            Err(_) => {
                self.end_exec(&docker, &seen, &exec).await?;
                Err(EngineError::Timeout {
                    action: format!("a command in container `{}`", seen.name),
                    limit,
                })
            }
        }
    }

    async fn follow_exec(
        &self,
        docker: &Docker,
        seen: &Seen,
        exec: &str,
    ) -> Result<ExecResult, EngineError> {
        let started =
            docker.start_exec(exec, None).await.map_err(|error| self.exec_failed(seen, error))?;
        let mut tail = VecDeque::new();
        if let StartExecResults::Attached { mut output, .. } = started {
            while let Some(chunk) = output.next().await {
                tail.extend(chunk.map_err(|error| self.exec_failed(seen, error))?.into_bytes());
                tail.drain(..tail.len().saturating_sub(OUTPUT_MAX));
            }
        }
        // The output ends a moment before the status is known.
        loop {
            let state =
                docker.inspect_exec(exec).await.map_err(|error| self.exec_failed(seen, error))?;
            if let (Some(false), Some(status)) = (state.running, state.exit_code) {
                let output = String::from_utf8_lossy(tail.make_contiguous()).into_owned();
                return Ok(ExecResult { status, output });
            }
            sleep(LOOK).await;
        }
    }

    /// Docker itself cannot end a command: its process is killed.
    async fn end_exec(&self, docker: &Docker, seen: &Seen, exec: &str) -> Result<(), EngineError> {
        let state = match docker.inspect_exec(exec).await {
            Ok(state) => state,
            Err(error) if is_status(&error, 404) => return Ok(()),
            Err(error) => return Err(self.exec_failed(seen, error)),
        };
        let pid = state
            .pid
            .filter(|_| state.running == Some(true))
            .and_then(|pid| i32::try_from(pid).ok());
        let killed = match pid {
            Some(pid) => Process::open(pid, &seen.container.id.0)
                .and_then(|process| process.map_or(Ok(()), |process| process.signal(Signal::KILL))),
            None => Ok(()),
        };
        killed.map_err(|error| EngineError::Failed {
            action: format!("could not end a command in container `{}`", seen.name),
            reason: error.to_string(),
        })
    }

    fn exec_failed(&self, seen: &Seen, error: bollard::errors::Error) -> EngineError {
        self.connection.error(format!("execute a command in container `{}`", seen.name), error)
    }

    pub(crate) async fn output(
        &self,
        id: &ContainerId,
        name: &ContainerName,
        follow: bool,
        tail: Option<u32>,
    ) -> Result<LogStream, EngineError> {
        let seen = self.existing(id).await?;
        let docker = self.connection.docker().await?;
        let options = LogsOptions {
            follow,
            stdout: true,
            stderr: true,
            tail: tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
            ..LogsOptions::default()
        };
        let chunks = docker.logs(&seen.container.id.0, Some(options));
        let (connection, name) = (self.connection.clone(), name.clone());
        Ok(Box::pin(chunks.map(move |chunk| match chunk {
            Ok(chunk) => Ok(LogChunk {
                container: name.clone(),
                stderr: matches!(chunk, LogOutput::StdErr { .. }),
                bytes: chunk.into_bytes(),
            }),
            Err(error) => Err(
                connection.error(format!("read the output of container `{}`", seen.name), error),
            ),
        })))
    }
}
