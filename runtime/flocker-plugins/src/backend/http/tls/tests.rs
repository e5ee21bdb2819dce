//! Against servers of our own, with certificates of our own authorities.

use std::{fs, os::unix::fs::PermissionsExt};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    pki_types::PrivatePkcs8KeyDer,
    server::{ClientHello, ResolvesServerCert},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use super::{
    super::{
        CODE_UNREACHABLE, Http,
        tests::{FINE, Server, Then, client, get},
        wit,
    },
    *,
};

type Issuer = CertifiedIssuer<'static, KeyPair>;
type Certified = (CertificateDer<'static>, KeyPair);

fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn params(host: &str) -> CertificateParams {
    CertificateParams::new(vec![host.to_owned()]).unwrap()
}

fn signed(params: &CertificateParams, issuer: &Issuer) -> Certified {
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, issuer).unwrap().der().clone(), key)
}

/// A server by this certificate, and what it heard in the clear after its handshakes.
struct Secure {
    port: u16,
    _tasks: JoinSet<()>,
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

impl Secure {
    async fn new(
        (certificate, key): Certified,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        Self::with(config).await
    }

    async fn with(config: ServerConfig) -> Self {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // One who does not trust us hangs up.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                stream.write_all(FINE.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self { port, _tasks: tasks }
    }

    /// Asks it by this name, with these authorities or with those of the system.
    async fn ask(&self, host: &str, pem: Option<&str>) -> Result<wit::Response, String> {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("https://{host}:{}/api", self.port);
        let mut client = client(&url);
        if let Some(pem) = pem {
            trust(&mut client, host, &write(folder.path(), pem, 0o644));
        }
        send(&client, &url).await
    }
}

async fn send(client: &Http, url: &str) -> Result<wit::Response, String> {
    client.send(get(url)).await.map_err(|failure| {
        assert_eq!(failure.code, CODE_UNREACHABLE, "{}", failure.message);
        failure.message
    })
}

fn trust(client: &mut Http, host: &str, path: &Path) {
    client.tls.authorities.insert(host.to_owned(), path.to_owned());
}

fn write(folder: &Path, content: &str, mode: u32) -> PathBuf {
    let path = folder.join("ca.pem");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[track_caller]
fn says(answer: Result<wit::Response, String>, words: &[&str]) {
    let said = answer.expect_err("it must be refused");
    for word in words.iter().chain(&["hint: "]) {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

#[tokio::test]
async fn a_server_that_proves_who_it_is_is_asked() {
    let authority = authority("one");
    for (host, versions) in [
        ("localhost", BOTH),
        ("localhost", &[&TLS12]),
        ("localhost", &[&TLS13]),
        // An array in a private network is granted by its address.
        ("127.0.0.1", BOTH),
    ] {
        let server = Secure::new(signed(&params(host), &authority), versions).await;
        let answered = server.ask(host, Some(&authority.pem())).await.unwrap();
        assert_eq!((answered.status, &*answered.body), (200, &b"ok"[..]));
    }
    // A file may name several, and one that signed itself vouches for itself.
    let key = KeyPair::generate().unwrap();
    let own = params("localhost").self_signed(&key).unwrap();
    let both = format!("{}{}", authority.pem(), own.pem());
    let server = Secure::new((own.der().clone(), key), BOTH).await;
    assert_eq!(server.ask("localhost", Some(&both)).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_server_that_is_somebody_else_is_not_asked() {
    let authority = authority("one");
    let pem = authority.pem();
    let server = Secure::new(signed(&params("array.example"), &authority), BOTH).await;
    says(
        server.ask("localhost", Some(&pem)).await,
        &["not valid for name", "must name the host of the granted URL"],
    );

    let mut late = params("localhost");
    late.not_before = date_time_ymd(2001, 1, 1);
    late.not_after = date_time_ymd(2002, 1, 1);
    let server = Secure::new(signed(&late, &authority), BOTH).await;
    says(server.ask("localhost", Some(&pem)).await, &["expired", "renew"]);

    let mut early = params("localhost");
    early.not_before = date_time_ymd(4000, 1, 1);
    early.not_after = date_time_ymd(4001, 1, 1);
    let server = Secure::new(signed(&early, &authority), BOTH).await;
    says(server.ask("localhost", Some(&pem)).await, &["not valid yet", "clock"]);
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_not_asked() {
    let (authority, other) = (authority("one"), self::authority("other"));
    let unknown = ["UnknownIssuer", "--grant ca=localhost:/PATH"];
    let server = Secure::new(signed(&params("localhost"), &authority), BOTH).await;
    says(server.ask("localhost", Some(&other.pem())).await, &unknown);
    let namesake = self::authority("one");
    let not_his = ["BadSignature", "--grant ca=localhost:/PATH"];
    says(server.ask("localhost", Some(&namesake.pem())).await, &not_his);
    // The system does not know it either, if it knows anybody.
    says(server.ask("localhost", None).await, &unknown[1..]);

    let key = KeyPair::generate().unwrap();
    let own = params("localhost").self_signed(&key).unwrap();
    let server = Secure::new((own.der().clone(), key), BOTH).await;
    says(server.ask("localhost", Some(&other.pem())).await, &unknown);
}

/// Nothing of a request, its secret least of all, is sent in the clear.
#[tokio::test]
async fn a_server_without_tls_is_not_asked() {
    let plain = Server::new(FINE, Then::Close).await;
    let url = format!("https://localhost:{}/api", plain.port);
    let folder = tempfile::tempdir().unwrap();
    let mut client = client(&url);
    trust(&mut client, "localhost", &write(folder.path(), &authority("one").pem(), 0o600));
    says(send(&client, &url).await, &["it does not speak TLS at this port"]);
    assert!(!plain.asked().iter().any(|asked| asked.contains("GET")));
}

#[tokio::test]
async fn a_server_that_breaks_off_is_not_asked() {
    #[derive(Debug)]
    struct Nobody;
    impl ResolvesServerCert for Nobody {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
            None
        }
    }
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Nobody));
    let server = Secure::with(config).await;
    says(server.ask("localhost", Some(&authority("one").pem())).await, &["TLS 1.2 or 1.3"]);
}

#[test]
fn a_file_of_authorities_is_one_that_nobody_else_writes_to() {
    let folder = tempfile::tempdir().unwrap();
    let pem = authority("one").pem();
    assert_eq!(read(&write(folder.path(), &pem, 0o644)).unwrap().len(), 1);
    for (content, mode, word) in [
        (pem.as_str(), 0o666, "chmod 644"),
        (&pem, 0o620, "others than its owner"),
        ("", 0o644, "no certificate"),
        ("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", 0o644, "no PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o644, ""),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o644, "no certificate"),
    ] {
        let said = read(&write(folder.path(), content, mode)).unwrap_err().to_string();
        assert!(said.contains(word), "{said}");
    }
    assert!(read(folder.path()).is_err() && read(&folder.path().join("none")).is_err());
}
