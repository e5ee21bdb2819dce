//! TLS to arrays: whoever answers proves that it is the granted host, to authorities that this machine trusts or to those
//! that the operator named for that host. Nothing is asked of us, and no way leads around a certificate.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustls::{
    CertificateError, ClientConfig, Error as TlsError, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::{Host, Url};

use flocker_system::secrets;

/// The longest file of certificates: more than the whole store of a system has.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Who vouches for servers.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    /// Files of certificates, by hosts: their authorities alone count there.
    pub(crate) authorities: BTreeMap<String, PathBuf>,
    /// The system's store, read when it is needed first: it is large, and changes with the system.
    system: OnceLock<Arc<RootCertStore>>,
}

impl Tls {
    /// Whoever answers proves that it is the URL's host.
    pub(crate) async fn shake(
        &self,
        url: &Url,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = match url.host() {
            Some(Host::Domain(name)) => {
                ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?
            }
            Some(Host::Ipv4(address)) => ServerName::from(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => ServerName::from(IpAddr::V6(address)),
            None => return Err("it has no host".to_owned()),
        };
        let host = url.host_str().unwrap_or_default();
        let connector = connector(self.roots(host)?)?;
        connector.connect(name, stream).await.map_err(|error| explained(&error, host))
    }

    fn roots(&self, host: &str) -> Result<Arc<RootCertStore>, String> {
        if let Some(path) = self.authorities.get(host) {
            let unusable =
                |error| format!("the authorities in `{}` cannot be used: {error}", path.display());
            // Read each time: whoever replaces the file expects it to count from then on.
            return read(path).map(Arc::new).map_err(unusable);
        }
        if let Some(ready) = self.system.get() {
            return Ok(Arc::clone(ready));
        }
        let mut roots = RootCertStore::empty();
        // A certificate that is not understood vouches for nobody.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(format!(
                "this machine trusts no authority\nhint: install `ca-certificates`, or name the array's own with `--grant ca={host}:/PATH`"
            ));
        }
        Ok(Arc::clone(self.system.get_or_init(|| Arc::new(roots))))
    }
}

fn connector(roots: Arc<RootCertStore>) -> Result<TlsConnector, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The certificates of a file, each of which must be one. It is no secret, but whoever can write to it decides whom this
/// host believes.
pub(crate) fn read(path: &Path) -> io::Result<RootCertStore> {
    let content = secrets::read_owned(path, 0o022, FILE_BYTES_MAX)?;
    let wrong = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&content) {
        let certificate = certificate.map_err(|error| wrong(format!("it is no PEM: {error}")))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong(
            "it has no certificate\nhint: it must be PEM, with `-----BEGIN CERTIFICATE-----`"
                .to_owned(),
        ));
    }
    Ok(roots)
}

/// What an operator can do about it.
fn explained(error: &io::Error, host: &str) -> String {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let hint = match of_tls {
        Some(TlsError::InvalidCertificate(wrong)) => of_certificate(wrong, host),
        Some(TlsError::InvalidMessage(_)) => {
            "it does not speak TLS at this port; grant `http://` only in a network that you trust"
                .to_owned()
        }
        Some(TlsError::AlertReceived(_) | TlsError::PeerIncompatible(_)) => {
            "it must speak TLS 1.2 or 1.3, and ask for no certificate of ours".to_owned()
        }
        _ => return error.to_string(),
    };
    format!("{error}\nhint: {hint}")
}

fn of_certificate(wrong: &CertificateError, host: &str) -> String {
    use CertificateError as Wrong;
    if matches!(wrong, Wrong::NotValidForName | Wrong::NotValidForNameContext { .. }) {
        return "its certificate must name the host of the granted URL".to_owned();
    }
    if matches!(wrong, Wrong::Expired | Wrong::ExpiredContext { .. })
        || matches!(wrong, Wrong::NotValidYet | Wrong::NotValidYetContext { .. })
    {
        return "renew its certificate, or set the clock of this machine".to_owned();
    }
    // Nobody's, or of one who only has the name of somebody known.
    if matches!(wrong, Wrong::UnknownIssuer | Wrong::BadSignature) {
        return format!("`--grant ca={host}:/PATH` names authorities that vouch for this host");
    }
    "its certificate must be in order".to_owned()
}

#[cfg(test)]
mod tests;
