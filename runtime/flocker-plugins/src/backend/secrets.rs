//! Secrets that the host puts into requests. A plugin knows their names only.

use std::{collections::BTreeMap, io, path::PathBuf};

use flocker_system::secrets::read;

/// Files by the names that the plugin knows.
#[derive(Debug, Default)]
pub(crate) struct Secrets(pub(crate) BTreeMap<String, PathBuf>);

impl Secrets {
    /// What a header gets. Read each time: whoever replaces the file expects it to count from then on.
    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let path = self.0.get(name).ok_or_else(|| {
            io::Error::new(io::ErrorKind::PermissionDenied, "this secret was not granted")
        })?;
        read(path)
            .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_found_by_its_name_and_an_error_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "first\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let secrets = Secrets([("token".to_owned(), path.clone())].into());
        assert_eq!(secrets.read("token").unwrap(), b"first");

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(secrets.read("token").unwrap_err().to_string().contains("token"));
        assert!(secrets.read("other").unwrap_err().to_string().contains("not granted"));
    }
}
