//! What an operator lets a storage backend have. A backend gets what it asks for *and* was granted, nothing else.

pub(crate) mod device;
pub(crate) mod url;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    str::FromStr,
};

use flocker_model::ByteSize;

pub use device::DeviceGrant;
pub use url::UrlGrant;

/// One thing that an operator grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A directory of this machine, which the plugin sees as `/NAME`.
    Directory {
        /// What the plugin knows it by.
        name: String,
        /// Where it is.
        path: PathBuf,
    },
    /// A durable store of its own for keys and values of at most so many bytes together.
    Kv(ByteSize),
    /// URLs that it may send requests to.
    Http(UrlGrant),
    /// Certificates of authorities that vouch for a host, in place of those that this machine trusts.
    Authorities {
        /// As URLs write it.
        host: String,
        /// A file of certificates.
        path: PathBuf,
    },
    /// A program of this machine that it may run.
    Command(PathBuf),
    /// Block devices that this host may mount for it.
    Device(DeviceGrant),
    /// A file whose content this host puts into headers of its requests.
    Secret {
        /// What the plugin knows it by.
        name: String,
        /// Where it is.
        path: PathBuf,
    },
}

/// The forms of a grant, for hints.
const FORMS: &str = "`directory=NAME:/PATH`, `kv=SIZE`, `http=URL`, `ca=HOST:/PATH`, `command=/PATH`, `device=/dev/NAME*` or `secret=NAME:/PATH`";

/// A grant that was not understood, or cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It has another form.
    #[error("`{text}` is no grant: {reason}\nhint: a grant is {FORMS}")]
    Form { text: String, reason: String },
    /// Two grants by one name.
    #[error(
        "`{0}` is granted twice\nhint: give each directory and each secret a name of its own, each host one file of authorities, and `kv` once"
    )]
    Twice(String),
    /// Authorities for a host that no request may go to.
    #[error(
        "`ca={0}` is for a host that no other grant names\nhint: grant `http=https://{0}` as well, with its port and path"
    )]
    NoSuchHost(String),
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let refuse =
            |reason: &str| GrantError::Form { text: text.to_owned(), reason: reason.to_owned() };
        let (kind, what) = text.split_once('=').unwrap_or((text, ""));
        match kind {
            "directory" => {
                let (name, path) = named(what).map_err(refuse)?;
                Ok(Self::Directory { name, path })
            }
            "secret" => {
                let (name, path) = named(what).map_err(refuse)?;
                Ok(Self::Secret { name, path })
            }
            "kv" => Ok(Self::Kv(
                what.parse().map_err(|e: flocker_model::InvalidQuantity| refuse(&e.to_string()))?,
            )),
            "http" => UrlGrant::parse(what).map(Self::Http).map_err(refuse),
            "ca" => {
                let (host, path) = url::host_and_path(what).map_err(refuse)?;
                Ok(Self::Authorities { host, path: absolute(path).map_err(refuse)? })
            }
            "command" => absolute(what).map(Self::Command).map_err(refuse),
            "device" => DeviceGrant::parse(what).map(Self::Device).map_err(refuse),
            _ => Err(refuse("this kind is not known")),
        }
    }
}

/// `NAME:/PATH`.
fn named(text: &str) -> Result<(String, PathBuf), &'static str> {
    let (name, path) = text.split_once(':').ok_or("it has no name and path")?;
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(fine) {
        return Err("a name has lower-case letters, digits and `-`");
    }
    Ok((name.to_owned(), absolute(path)?))
}

fn absolute(path: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(path);
    if path.is_absolute() { Ok(path) } else { Err("the path must be absolute") }
}

/// All grants of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// By the name that the plugin knows them by.
    pub(crate) directories: BTreeMap<String, PathBuf>,
    pub(crate) kv: Option<ByteSize>,
    pub(crate) http: Vec<UrlGrant>,
    /// By hosts.
    pub(crate) authorities: BTreeMap<String, PathBuf>,
    pub(crate) commands: BTreeSet<PathBuf>,
    pub(crate) devices: Vec<DeviceGrant>,
    /// By the name that the plugin knows them by.
    pub(crate) secrets: BTreeMap<String, PathBuf>,
}

impl Grants {
    /// Puts grants together.
    ///
    /// # Errors
    /// [`GrantError::Twice`], [`GrantError::NoSuchHost`].
    pub fn new(grants: impl IntoIterator<Item = Grant>) -> Result<Self, GrantError> {
        let mut all = Self::default();
        for grant in grants {
            match grant {
                Grant::Directory { name, path } => {
                    if all.directories.insert(name.clone(), path).is_some() {
                        return Err(GrantError::Twice(format!("directory={name}")));
                    }
                }
                Grant::Kv(bytes) => {
                    if all.kv.replace(bytes).is_some() {
                        return Err(GrantError::Twice("kv".to_owned()));
                    }
                }
                Grant::Secret { name, path } => {
                    if all.secrets.insert(name.clone(), path).is_some() {
                        return Err(GrantError::Twice(format!("secret={name}")));
                    }
                }
                Grant::Authorities { host, path } => {
                    if all.authorities.insert(host.clone(), path).is_some() {
                        return Err(GrantError::Twice(format!("ca={host}")));
                    }
                }
                Grant::Http(url) => all.http.push(url),
                Grant::Device(device) => all.devices.push(device),
                // One that is named twice is the same one.
                Grant::Command(path) => drop(all.commands.insert(path)),
            }
        }
        let is_used = |host: &String| all.http.iter().any(|url| url.is_proved_by(host));
        match all.authorities.keys().find(|host| !is_used(host)) {
            Some(host) => Err(GrantError::NoSuchHost(host.clone())),
            None => Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_as_operators_write_them() {
        let directory = Grant::Directory { name: "pool".into(), path: "/srv/a:b".into() };
        assert_eq!("directory=pool:/srv/a:b".parse(), Ok(directory));
        let secret = Grant::Secret { name: "token".into(), path: "/etc/array/token".into() };
        assert_eq!("secret=token:/etc/array/token".parse(), Ok(secret));
        assert_eq!("command=/usr/sbin/lvs".parse(), Ok(Grant::Command("/usr/sbin/lvs".into())));
        assert!(matches!("device=/dev/loop*".parse(), Ok(Grant::Device(_))));
        assert!(matches!("http=http://array.example/api".parse(), Ok(Grant::Http(_))));
        assert_eq!("kv=1MiB".parse(), Ok(Grant::Kv(ByteSize::mib(1))));
        for (text, word) in [
            ("directory=pool", "no name and path"),
            ("directory=:/srv", "a name has"),
            ("directory=../x:/srv", "a name has"),
            ("directory=pool:srv", "absolute"),
            ("kv=much", "size"),
            ("root", "not known"),
            ("ca=array.example", "no host and path"),
            ("ca=array.example:ca.pem", "no host and path"),
            ("ca=array.example:8443:/ca.pem", "without a port"),
            ("ca=root@array.example:/ca.pem", "user"),
            ("http=array.example", "no URL"),
            ("http=ftp://array.example", "does not begin"),
            ("http=http://root@array.example", "user"),
            ("command=lvs", "absolute"),
            ("device=/etc/passwd", "below `/dev`"),
            ("secret=/etc/token", "no name and path"),
        ] {
            let said = text.parse::<Grant>().unwrap_err().to_string();
            assert!(said.contains(word) && said.contains("hint:"), "{text}: {said}");
        }
    }

    #[test]
    fn authorities_are_for_a_host_that_is_reached_by_https() {
        let granted = |texts: &[&str]| Grants::new(texts.iter().map(|text| text.parse().unwrap()));
        for (host, url) in [
            ("array.example", "https://array.example:8443/api"),
            ("Array.Example", "https://array.example/"),
            ("10.0.0.5", "https://10.0.0.5/api"),
            ("[fd00::1]", "https://[fd00::1]:8443/"),
        ] {
            let ca = format!("ca={host}:/etc/array/ca.pem");
            let grants = granted(&[&format!("http={url}"), &ca]).unwrap();
            let [path] = grants.authorities.values().collect::<Vec<_>>()[..] else { panic!() };
            assert_eq!(path, &PathBuf::from("/etc/array/ca.pem"));
            for other in ["http=https://other.example", "http=http://array.example", "kv=1MiB"] {
                let said = granted(&[other, &ca]).unwrap_err().to_string();
                assert!(said.contains("no other grant names") && said.contains("hint:"), "{said}");
            }
            assert!(matches!(granted(&[&ca, &ca]), Err(GrantError::Twice(_))));
        }
    }

    #[test]
    fn a_name_stands_for_one_directory() {
        let twice = ["directory=a:/x", "directory=a:/y"].map(|text| text.parse().unwrap());
        assert_eq!(Grants::new(twice), Err(GrantError::Twice("directory=a".into())));
    }
}
