//! Who we are at a registry: what the command line says, else what `docker login` left.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use docker_credential::{CredentialRetrievalError, DockerCredential};
use flocker_api::{Code, Failure};
use oci_client::{Reference, secrets::RegistryAuth};

use crate::args::RegistryArgs;

pub(super) fn of(reference: &Reference, arguments: &RegistryArgs) -> Result<RegistryAuth, Failure> {
    if let Some(name) = &arguments.username {
        return Ok(RegistryAuth::Basic(name.clone(), password()?));
    }
    match docker_credential::get_credential(key(reference.registry())) {
        Ok(DockerCredential::UsernamePassword(name, password)) => {
            Ok(RegistryAuth::Basic(name, password))
        }
        // What is asked for with it depends on the registry; nobody else's token is worth a guess.
        Ok(DockerCredential::IdentityToken(_)) => {
            let why = "Docker's configuration has an identity token for it, which is not supported";
            Err(refuse(reference, why))
        }
        Err(
            CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::NoCredentialConfigured,
        ) => Ok(RegistryAuth::Anonymous),
        // Also what it says where there is no file.
        Err(CredentialRetrievalError::ConfigReadError) if !is_configured() => {
            Ok(RegistryAuth::Anonymous)
        }
        Err(
            error @ (CredentialRetrievalError::HelperCommunicationError
            | CredentialRetrievalError::MalformedHelperResponse
            | CredentialRetrievalError::HelperFailure { .. }
            | CredentialRetrievalError::CredentialDecodingError
            | CredentialRetrievalError::CredentialMismatchError
            | CredentialRetrievalError::ConfigReadError),
        ) => Err(refuse(reference, &format!("Docker's configuration is of no use: {error}"))),
    }
}

fn refuse(reference: &Reference, why: &str) -> Failure {
    let message = format!("no password for `{}`: {}", reference.registry(), why.trim_end());
    Failure::new(Code::INVALID_ARGUMENT, message)
        .hint("give one with `--username NAME --password-stdin`")
}

/// Whether anybody logged in to anything, where Docker looks for that.
fn is_configured() -> bool {
    let home = || Some(Path::new(&env::var_os("HOME")?).join(".docker"));
    let folder = env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(home);
    folder.is_some_and(|folder| folder.join("config.json").exists())
}

/// Under which name Docker keeps it.
fn key(registry: &str) -> &str {
    if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry }
}

fn password() -> Result<String, Failure> {
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    let password = line.trim_end_matches(['\r', '\n']);
    match read {
        Ok(_) if !password.is_empty() => Ok(password.to_owned()),
        Ok(_) => Err(Failure::new(Code::INVALID_ARGUMENT, "there is no password on stdin")
            .hint("`flocker plugin push … --password-stdin < FILE`")),
        Err(e) => Err(Failure::new(Code::INVALID_ARGUMENT, format!("no password: {e}"))),
    }
}
