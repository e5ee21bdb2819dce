//! The demo's images. redis comes from a registry where one answers, and otherwise from Debian's packages, unpacked
//! into an image; the web service is a static program of ours. Both are kept between runs.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::docker::Docker;
use crate::{artifacts, say, shell};

/// A registry that has not delivered by then is not worth waiting for: the packages are quicker.
const PULL_MAX: Duration = Duration::from_secs(90);

/// The web service's image in the cache.
const WEB: &str = "demo-web.tar";

/// The images, as Docker knows them. They go when the demo ends, from the system's Docker as well.
pub(super) const NAMES: [&str; 2] = ["demo-redis", "demo-web"];

/// Sees to it that both are in the cache. Only a Docker can pull.
pub(super) fn prepare(cache: &Path, docker: Option<&Docker>) -> Result<()> {
    fs::create_dir_all(cache).with_context(|| format!("could not create `{}`", cache.display()))?;
    let (pulled, packed) = redis(cache);
    if !pulled.exists() && !packed.exists() {
        let is_pulled = docker.map(|docker| pull(docker, &pulled)).transpose()?.unwrap_or(false);
        if !is_pulled {
            from_packages(cache, &packed)?;
        }
    }
    web(cache)
}

/// Makes both images known to this Docker, from the cache.
pub(super) fn load(docker: &Docker, cache: &Path) -> Result<()> {
    let (pulled, packed) = redis(cache);
    if pulled.exists() {
        shell::output(docker.command().args(["load", "--quiet", "--input"]).arg(&pulled))?;
        say::line("image demo-redis is ready");
    } else {
        let changes = ["ENV PATH=/usr/bin:/bin", "WORKDIR /data", "CMD [\"redis-server\"]"];
        import(docker, &packed, "demo-redis", &changes)?;
    }
    import(docker, &cache.join(WEB), "demo-web", &["CMD [\"/web\"]"])
}

/// redis as it was pulled, and as it was made of packages.
fn redis(cache: &Path) -> (PathBuf, PathBuf) {
    (cache.join("demo-redis-pulled.tar"), cache.join("demo-redis.tar"))
}

/// Pulls redis and keeps it in the cache, since a Docker of our own is gone after the demo; false without a registry.
fn pull(docker: &Docker, kept: &Path) -> Result<bool> {
    say::line("image demo-redis: trying `docker pull redis:7`");
    let was_here = docker.has_image("redis:7");
    let pulled =
        shell::output_within(docker.command().args(["pull", "--quiet", "redis:7"]), Some(PULL_MAX));
    if let Err(error) = pulled {
        crate::interrupt::check()?;
        let reason = format!("{error:#}");
        say::line(&format!(
            "no registry answers ({})",
            reason.lines().next_back().unwrap_or_default()
        ));
        return Ok(false);
    }
    shell::output(docker.command().args(["tag", "redis:7", "demo-redis"]))?;
    if !was_here {
        shell::output(docker.command().args(["image", "rm", "redis:7"]))?;
    }
    let half = kept.with_extension("half");
    shell::output(docker.command().args(["save", "demo-redis", "--output"]).arg(&half))?;
    fs::rename(&half, kept).with_context(|| format!("could not rename `{}`", half.display()))?;
    Ok(true)
}

fn web(cache: &Path) -> Result<()> {
    let program = artifacts::static_program("demo-web")?;
    let tree = fresh(&cache.join("web"))?;
    fs::copy(&program, tree.join("web"))
        .with_context(|| format!("could not copy `{}`", program.display()))?;
    // Without this file names are asked of DNS first, and a link's name is in /etc/hosts only.
    fs::create_dir(tree.join("etc")).context("could not create the image's `/etc`")?;
    fs::write(tree.join("etc/nsswitch.conf"), "hosts: files dns\n")
        .context("could not write the image's files")?;
    pack(&tree, &cache.join(WEB))
}

fn import(docker: &Docker, archive: &Path, name: &str, changes: &[&str]) -> Result<()> {
    let mut import = docker.command();
    import.arg("import");
    for change in changes {
        import.args(["--change", change]);
    }
    shell::output(import.arg(archive).arg(name))
        .with_context(|| format!("could not import image `{name}`"))?;
    say::line(&format!("image {name} is ready"));
    Ok(())
}

/// Makes an image's content from Debian's packages of redis.
fn from_packages(cache: &Path, archive: &Path) -> Result<()> {
    say::line("image demo-redis: making it from Debian's packages");
    let packages = match closure("redis-server") {
        Ok(packages) => packages,
        Err(_) => {
            shell::run(shell::command("apt-get").args(["update", "-q"]))?;
            closure("redis-server")?
        }
    };
    let downloads = fresh(&cache.join("packages"))?;
    let mut download = shell::command("apt-get");
    download
        .current_dir(&downloads)
        .args(["download", "-q", "-o", "APT::Sandbox::User=root"])
        .args(&packages);
    say::line(&format!("$ {}", shell::shown(&download)));
    shell::output(&mut download)?;

    let tree = fresh(&cache.join("redis"))?;
    for package in fs::read_dir(&downloads).context("could not list the packages")? {
        let package = package.context("could not list the packages")?.path();
        shell::output(shell::command("dpkg").arg("-x").args([&package, &tree]))?;
    }
    finish_tree(&tree).context("could not finish the image's files")?;
    pack(&tree, archive)?;
    fs::remove_dir_all(&downloads).context("could not remove the packages")?;
    fs::remove_dir_all(&tree).context("could not remove the unpacked packages")
}

/// The package and the libraries that it needs; nothing of what only its installation needs.
fn closure(package: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::from([package.to_owned()]);
    let mut open = VecDeque::from([package.to_owned()]);
    while let Some(package) = open.pop_front() {
        let said =
            shell::output(shell::command("apt-cache").args(["depends", "--important", &package]))?;
        for name in said.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")) {
            let wanted = ["lib", "redis-", "lua-"].iter().any(|start| name.starts_with(start));
            if wanted && found.insert(name.to_owned()) {
                open.push_back(name.to_owned());
            }
        }
    }
    Ok(found)
}

/// What packages make when they are installed: where everybody may write, and who everybody is.
fn finish_tree(tree: &Path) -> std::io::Result<()> {
    for folder in ["data", "tmp", "etc", "bin"] {
        fs::create_dir_all(tree.join(folder))?;
    }
    fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::write(
        tree.join("etc/passwd"),
        "root:x:0:0:root:/:/bin/sh\nredis:x:999:999:redis:/data:/bin/sh\n",
    )?;
    fs::write(tree.join("etc/group"), "root:x:0:\nredis:x:999:\n")?;
    // For looking around with `docker exec`; the packages bring no shell.
    if let Some(busybox) = shell::find("busybox") {
        fs::copy(busybox, tree.join("bin/busybox"))?;
        symlink("busybox", tree.join("bin/sh"))?;
    }
    for waste in [
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "usr/share/bash-completion",
        "lib/systemd",
    ] {
        let waste = tree.join(waste);
        if waste.exists() {
            fs::remove_dir_all(waste)?;
        }
    }
    Ok(())
}

/// An archive that is there is whole: it gets its name last.
fn pack(tree: &Path, archive: &Path) -> Result<()> {
    let half = archive.with_extension("half");
    let mut tar = shell::command("tar");
    tar.arg("--create").arg("--file").arg(&half).arg("--directory").arg(tree);
    shell::output(tar.args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "."]))?;
    fs::rename(&half, archive).with_context(|| format!("could not rename `{}`", half.display()))
}

fn fresh(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("could not remove `{}`", folder.display()))?;
    }
    fs::create_dir_all(folder)
        .with_context(|| format!("could not create `{}`", folder.display()))?;
    Ok(folder.to_owned())
}
