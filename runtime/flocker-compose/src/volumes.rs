//! Volumes of the app, and where containers mount them.

use flocker_model::{
    AppName, ByteSize, Mount, Profile, VolumeName, VolumeOptions, VolumeSource, VolumeSpec,
};

use crate::{
    hints,
    reader::{Field, Problems},
    values,
    yaml::Value,
};

/// What a volume can hold when the file does not say.
const SIZE_DEFAULT: ByteSize = ByteSize::gib(1);

/// Why only named volumes can be mounted.
const ONE_HOST: &str = "declare a volume under `volumes` at the top and mount it by name: data in a folder of one host \
                        cannot move";

/// The volumes at the top of the file, by key.
pub(crate) fn read(
    entries: &[(&str, Field<'_>)],
    app: Option<&AppName>,
    problems: &mut Problems,
) -> Vec<VolumeSpec> {
    let mut volumes: Vec<VolumeSpec> = Vec::new();
    for (key, field) in entries {
        let Some(volume) = one(key, field, app, problems) else { continue };
        match volumes.iter().find(|v| v.name() == volume.name()) {
            // Two mounts of it would look independent.
            Some(other) => {
                problems.push(field.problem(format!("this is the same volume as `{}`", other.key)))
            }
            None => volumes.push(volume),
        }
    }
    volumes
}

fn one(
    key: &str,
    field: &Field<'_>,
    app: Option<&AppName>,
    problems: &mut Problems,
) -> Option<VolumeSpec> {
    let mut fields = field.map(problems);
    let (external, name, ours) =
        (fields.take("external"), fields.take("name"), fields.take("x-flocker"));
    fields.refuse_rest(problems, hints::volume);
    let external = external.and_then(|f| f.read(problems, values::truth)).unwrap_or(false);
    let (options, owner) = match &ours {
        Some(ours) => options_and_owner(ours, problems),
        None => (SIZE_DEFAULT.into(), None),
    };
    let source = if external {
        if let Some(ours) = ours {
            problems.push(
                ours.problem("an external volume has all of this already")
                    .hint("leave `x-flocker` out here"),
            );
        }
        let name = match name {
            Some(name) => name.parse::<VolumeName>(problems)?,
            None => checked(key, key, field, problems)?,
        };
        VolumeSource::External(name)
    } else {
        if let Some(name) = name {
            problems.push(name.problem("only an external volume can be given a name").hint(
                "leave it out: volumes are named `APP.KEY`; for one that exists already, add `external: true`",
            ));
        }
        VolumeSource::Own(checked(key, &format!("{}.{key}", app?), field, problems)?)
    };
    Some(VolumeSpec { key: key.to_owned(), source, options, owner })
}

/// `name`, if both it and the key that it was made of can be names.
fn checked(
    key: &str,
    name: &str,
    field: &Field<'_>,
    problems: &mut Problems,
) -> Option<VolumeName> {
    match VolumeName::new(key).and_then(|_| VolumeName::new(name)) {
        Ok(name) => Some(name),
        Err(e) => {
            problems.push(field.problem(e.to_string()));
            None
        }
    }
}

fn options_and_owner(
    field: &Field<'_>,
    problems: &mut Problems,
) -> (VolumeOptions, Option<(u32, u32)>) {
    let mut fields = field.map(problems);
    let size = fields.take("size").and_then(|f| f.read(problems, above_zero));
    let owner = fields.take("owner").and_then(|f| f.read(problems, owner));
    let profile = fields.take("profile").and_then(|f| f.parse::<Profile>(problems));
    let (record_size, compression) = profile.unwrap_or(Profile::General).choices();
    let own_record_size = fields.take("record_size").and_then(|f| f.parse(problems));
    let own_compression = fields.take("compression").and_then(|f| f.parse(problems));
    let reserved = fields.take("reserve").and_then(|f| f.read(problems, values::truth));
    let secret = fields.take("secret").and_then(|f| f.parse(problems));
    fields.refuse_rest(problems, |_| {
        Some(
            "`size`, `owner`, `profile`, `record_size`, `compression`, `reserve` and `secret` are known here",
        )
    });
    let options = VolumeOptions {
        size: size.unwrap_or(SIZE_DEFAULT),
        record_size: own_record_size.or(record_size),
        compression: own_compression.or(compression),
        reserved: reserved.unwrap_or(false),
        secret,
    };
    (options, owner)
}

/// A size that is not nothing.
pub(crate) fn above_zero(text: &str) -> Result<ByteSize, String> {
    match text.parse() {
        Ok(ByteSize(0)) => Err("0 bytes hold nothing".to_owned()),
        Ok(size) => Ok(size),
        Err(e) => Err(format!("{e}")),
    }
}

fn owner(text: &str) -> Result<(u32, u32), String> {
    text.split_once(':')
        .and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)))
        .ok_or_else(|| format!("`{text}` is not a user and a group by number, such as `999:999`"))
}

/// The mounts of a container. `declared` are the volumes at the top of the file.
pub(crate) fn mounts(field: &Field<'_>, declared: &[&str], problems: &mut Problems) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for item in field.list(problems) {
        let mount = if let Value::Map(_) = item.node.value {
            long(&item, problems)
        } else {
            short(&item, problems)
        };
        let Some(mount) = mount else { continue };
        if !declared.contains(&mount.volume.as_str()) {
            let problem = item.problem(format!("there is no volume `{}`", mount.volume));
            problems.push(
                problem.hint(format!(
                    "add `{}:` under `volumes` at the top of the file",
                    mount.volume
                )),
            );
        } else if mounts.iter().any(|m| m.path == mount.path) {
            problems.push(item.problem(format!("`{}` has a volume already", mount.path.display())));
        } else {
            mounts.push(mount);
        }
    }
    mounts
}

/// `VOLUME:/PATH[:ro|rw]`.
fn short(item: &Field<'_>, problems: &mut Problems) -> Option<Mount> {
    let text = item.text(problems)?;
    let (volume, rest) = match text.split_once(':') {
        Some((source, _)) if source.starts_with(['/', '.', '~']) => {
            problems.push(
                item.problem(format!("`{text}`: bind mounts are not supported")).hint(ONE_HOST),
            );
            return None;
        }
        Some((volume, rest)) => (volume, rest),
        None => {
            problems.push(
                item.problem(format!("`{text}`: volumes without a name are not supported"))
                    .hint(ONE_HOST),
            );
            return None;
        }
    };
    let (path, mode) = rest.split_once(':').unwrap_or((rest, "rw"));
    let read_only = match mode {
        "ro" => true,
        "rw" => false,
        other => {
            problems.push(item.problem(format!(
                "the mount option `{other}` is not supported, only `ro` and `rw`"
            )));
            return None;
        }
    };
    let path = mount_point(path).map_err(|what| problems.push(item.problem(what))).ok()?;
    Some(Mount { volume: volume.to_owned(), path, read_only })
}

fn long(item: &Field<'_>, problems: &mut Problems) -> Option<Mount> {
    let mut fields = item.map(problems);
    let (kind, source, target) =
        (fields.take("type"), fields.take("source"), fields.take("target"));
    let read_only =
        fields.take("read_only").and_then(|f| f.read(problems, values::truth)).unwrap_or(false);
    let kind = match kind {
        Some(kind) => kind.text(problems)?,
        None => {
            problems.push(item.problem("`type: volume` is missing"));
            return None;
        }
    };
    if kind != "volume" {
        problems.push(
            item.problem(format!("mounts of type `{kind}` are not supported")).hint(ONE_HOST),
        );
        return None;
    }
    fields.refuse_rest(problems, hints::none);
    let Some(source) = source else {
        problems.push(
            item.problem("`source` is missing: volumes without a name are not supported")
                .hint(ONE_HOST),
        );
        return None;
    };
    let Some(target) = target else {
        problems.push(item.problem("`target`, the path in the container, is missing"));
        return None;
    };
    Some(Mount {
        volume: source.text(problems)?,
        path: target.read(problems, mount_point)?,
        read_only,
    })
}

fn mount_point(text: &str) -> Result<std::path::PathBuf, String> {
    let path = values::absolute_path(text)?;
    if path.parent().is_none() {
        return Err(
            "a volume cannot take the place of the container's whole file system".to_owned()
        );
    }
    Ok(path)
}
