//! Which command a container runs, out of what its image and its author say: Docker's own rules.

use std::path::{Path, PathBuf};

use bollard::models::ImageConfig;
use flocker_model::ContainerSpec;

/// The app's own command, which the gate becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppCommand {
    /// Where it runs.
    pub(crate) folder: PathBuf,
    /// Program and arguments; never empty.
    pub(crate) line: Vec<String>,
}

impl AppCommand {
    /// `None` when neither image nor author name a command.
    pub(crate) fn resolve(spec: &ContainerSpec, image: &ImageConfig) -> Option<Self> {
        let (entrypoint, command) = match (&spec.entrypoint, &spec.command) {
            // Another entrypoint would not understand the image's command.
            (Some(entrypoint), command) => {
                (entrypoint.clone(), command.clone().unwrap_or_default())
            }
            (None, Some(command)) => {
                (image.entrypoint.clone().unwrap_or_default(), command.clone())
            }
            (None, None) => (
                image.entrypoint.clone().unwrap_or_default(),
                image.cmd.clone().unwrap_or_default(),
            ),
        };
        // `entrypoint: ""` is how an author takes the image's away.
        let entrypoint =
            if entrypoint.iter().all(String::is_empty) { Vec::new() } else { entrypoint };
        let line: Vec<String> = entrypoint.into_iter().chain(command).collect();
        let root = Path::new("/");
        let folder = match (&spec.working_dir, image.working_dir.as_deref()) {
            (Some(folder), _) => root.join(folder),
            (None, Some(folder)) => root.join(folder),
            (None, None) => root.to_owned(),
        };
        (!line.is_empty()).then_some(Self { folder, line })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use flocker_model::Restart;

    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        (text != "-").then(|| text.split_terminator(' ').map(str::to_owned).collect())
    }

    fn check(image: (&str, &str), spec: (&str, &str), want: &str) {
        let config = ImageConfig {
            entrypoint: words(image.0),
            cmd: words(image.1),
            ..ImageConfig::default()
        };
        let spec = ContainerSpec {
            name: "c".parse().unwrap(),
            image: "i".to_owned(),
            entrypoint: words(spec.0),
            command: words(spec.1),
            environment: BTreeMap::new(),
            user: None,
            working_dir: None,
            mounts: Vec::new(),
            depends_on: Vec::new(),
            healthcheck: None,
            restart: Restart::No,
            stop_grace_period: Duration::from_secs(10),
            memory: None,
            cpu: None,
            labels: BTreeMap::new(),
            links: Vec::new(),
        };
        let line = AppCommand::resolve(&spec, &config).map(|command| command.line.join(" "));
        assert_eq!(line.unwrap_or_default(), want);
    }

    #[test]
    fn entrypoint_and_command_are_resolved_as_docker_does() {
        check(("e", "c"), ("-", "-"), "e c");
        check(("e", "c"), ("-", "x y"), "e x y");
        check(("e", "c"), ("n", "-"), "n");
        check(("e", "c"), ("n", "x"), "n x");
        check(("e", "c"), ("", "x"), "x");
        check(("-", "c"), ("-", "-"), "c");
        check(("-", "-"), ("-", "-"), "");
        check(("e", "c"), ("", "-"), "");
    }
}
