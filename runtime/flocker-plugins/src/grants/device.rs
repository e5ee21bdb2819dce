//! Which block devices a grant permits, by their paths. Whether a path leads to one is seen when it is opened.

use std::fmt;

/// `/dev/…`, where `*` stands for any characters of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceGrant(String);

impl fmt::Display for DeviceGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DeviceGrant {
    /// Reads what an operator wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if !is_plain(text) {
            return Err("a device has a path below `/dev`, without `.` and `..`");
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn permits(&self, path: &str) -> bool {
        let (mine, theirs) = (self.0.split('/'), path.split('/'));
        is_plain(path)
            && mine.clone().count() == theirs.clone().count()
            && mine.zip(theirs).all(|(pattern, name)| matches(pattern, name))
    }
}

/// Below `/dev`, every step a name.
fn is_plain(path: &str) -> bool {
    let rest = path.strip_prefix("/dev/");
    rest.is_some_and(|rest| rest.split('/').all(|step| !matches!(step, "" | "." | "..")))
        && !path.contains('\0')
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(start) else { return false };
    // Whatever `*` stands for, the rest has to match from there.
    (0..=name.len()).filter(|at| name.is_char_boundary(*at)).any(|at| matches(rest, &name[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_a_part_of_one_name() {
        for (grant, path, permitted) in [
            ("/dev/loop*", "/dev/loop7", true),
            ("/dev/loop*", "/dev/loop", true),
            ("/dev/loop*", "/dev/loop/7", false),
            ("/dev/loop*", "/dev/loop7/../sda", false),
            ("/dev/loop*", "/dev/sda", false),
            ("/dev/loop*", "/dev//loop7", false),
            ("/dev/loop*", "dev/loop7", false),
            ("/dev/disk/by-id/array-*-data", "/dev/disk/by-id/array-7-data", true),
            ("/dev/disk/by-id/array-*-data", "/dev/disk/by-id/array-7-log", false),
            ("/dev/*/*", "/dev/a/b", true),
            ("/dev/sdb", "/dev/sdb1", false),
        ] {
            assert_eq!(
                DeviceGrant::parse(grant).unwrap().permits(path),
                permitted,
                "{grant} {path}"
            );
        }
        for wrong in ["/dev", "/dev/", "loop*", "/etc/*", "/dev/../etc/*"] {
            assert!(DeviceGrant::parse(wrong).is_err(), "{wrong}");
        }
    }
}
