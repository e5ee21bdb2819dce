//! A real registry, Debian's `docker-registry`, on loopback and with a folder of its own; and a client that knows nothing
//! of ours.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

/// How it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By everybody, in the clear.
    Plain,
    /// In the clear, by those who know that the password of `me` is `open sesame`.
    Login,
    /// With TLS, under a certificate of its own.
    Tls,
}

/// `open sesame`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "me:$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";

/// It ends with its test.
pub(crate) struct Registry {
    process: Child,
    folder: TempDir,
    /// IP:PORT.
    pub(crate) address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    pub(crate) fn start(way: Way) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().display();
        let more = match way {
            Way::Plain => String::new(),
            Way::Login => {
                fs::write(folder.path().join("htpasswd"), HTPASSWD).unwrap();
                format!("auth: {{htpasswd: {{realm: tests, path: '{own}/htpasswd'}}}}\n")
            }
            Way::Tls => {
                certificate(folder.path());
                format!("  tls: {{certificate: '{own}/cert.pem', key: '{own}/key.pem'}}\n")
            }
        };
        let config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: '{own}/data'}}}}\nhttp:\n  addr: 127.0.0.1:0\n{more}"
        );
        fs::write(folder.path().join("config.yml"), config).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(folder.path().join("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`docker-registry` cannot be started; `cargo xtask setup` installs it");
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let address = listening(&mut log);
        // It would wait for ever if nobody read what it says.
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Self { process, folder, address }
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Where it keeps a blob.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// What it answers to anybody: the headers, and the body.
    pub(crate) fn get(&self, path: &str) -> (String, Vec<u8>) {
        self.ask("GET", path, "", b"")
    }

    /// One request, and the answer to it.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: &[u8],
    ) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let path = path.strip_prefix(&format!("http://{}", self.address)).unwrap_or(path);
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\
             Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end + 4..].to_vec())
    }

    pub(crate) fn manifest(&self, name: &str, tag: &str) -> Value {
        let (head, body) = self.get(&format!("/v2/{name}/manifests/{tag}"));
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        serde_json::from_slice(&body).unwrap()
    }

    /// Pushes as any other client would.
    pub(crate) fn put_blob(&self, name: &str, bytes: &[u8]) -> String {
        let digest = flocker_plugins::digest(bytes);
        let (head, _) = self.ask("POST", &format!("/v2/{name}/blobs/uploads/"), "", b"");
        let location = head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
        let path = format!("{location}&digest={digest}");
        let (head, _) = self.ask("PUT", &path, "application/octet-stream", bytes);
        assert!(head.starts_with("HTTP/1.0 201"), "{head}");
        digest
    }

    pub(crate) fn put_manifest(&self, name: &str, tag: &str, manifest: &Value) {
        let media_type = manifest["mediaType"].as_str().unwrap();
        let path = format!("/v2/{name}/manifests/{tag}");
        let (head, body) = self.ask("PUT", &path, media_type, manifest.to_string().as_bytes());
        assert!(head.starts_with("HTTP/1.0 201"), "{head} {}", String::from_utf8_lossy(&body));
    }
}

/// The address that it chose.
fn listening(log: &mut impl BufRead) -> String {
    let mut said = String::new();
    for line in log.lines() {
        let line = line.unwrap();
        if let Some((_, rest)) = line.split_once("listening on ") {
            let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c));
            return rest[..end.unwrap_or(rest.len())].to_owned();
        }
        said += &format!("{line}\n");
    }
    panic!("the registry did not start:\n{said}");
}

fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=tests", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .expect("`openssl` cannot be started; `cargo xtask setup` installs it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
