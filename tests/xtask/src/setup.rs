//! `cargo xtask setup`: installs what is missing on Debian 12. Says each thing before it does it, and is silent about
//! what is there. Without root it prints the command instead, and does what can be done.

use std::{fs, path::Path};

use anyhow::Result;

use crate::{go, guest, interrupt, machine, say, shell, wasm_target};

/// A program that we need (or a file, by its whole path), and Debian's package that brings it.
pub(crate) struct Need {
    program: &'static str,
    package: &'static str,
    why: &'static str,
    /// A service of that package that Debian would start, and nobody here wants.
    service: Option<&'static str>,
}

impl Need {
    pub(crate) const fn new(
        program: &'static str,
        package: &'static str,
        why: &'static str,
    ) -> Self {
        Self { program, package, why, service: None }
    }
}

const NEEDS: [Need; 5] = [
    Need::new("dockerd", "docker.io", "runs the apps' containers"),
    Need::new("iptables", "iptables", "Docker does not start without it"),
    Need::new("ip", "iproute2", "looks after the nodes' bridges"),
    Need::new("mkfs.btrfs", "btrfs-progs", "the embedded default keeps volumes on btrfs"),
    Need::new("busybox", "busybox-static", "the containers of the tests"),
];

/// What only tests need.
const NEEDS_OF_TESTS: [Need; 7] = [
    Need {
        // As a service it would be open to the network.
        service: Some("docker-registry.service"),
        ..Need::new("docker-registry", "docker-registry", "plugins are pushed to it, by tests")
    },
    Need::new("openssl", "openssl", "makes a certificate for that registry"),
    Need::new("clang", "clang", "compiles policies in C"),
    Need::new("wasm-ld", "lld", "links policies in C"),
    Need::new("/usr/lib/wasm32-wasi/libc.a", "wasi-libc", "the C library of policies in C"),
    Need::new(
        "/usr/lib/llvm-14/lib/clang/14.0.6/lib/wasi/libclang_rt.builtins-wasm32.a",
        "libclang-rt-14-dev-wasm32",
        "what clang 14 adds to policies in C",
    ),
    Need::new("python3", "python3-venv", "environments for policies in Python"),
];

/// Installs all that is missing; returns what still is.
pub(crate) fn everything(yes: bool) -> Result<Vec<String>> {
    let mut missing = packages(NEEDS.iter().chain(&NEEDS_OF_TESTS).collect(), yes)?;
    missing.extend(tools(yes)?);
    if let Err(error) = go::ensure(&mut |text| say::line(text)) {
        interrupt::check()?;
        say::line(&format!("there is no Go for the SDK: {error:#}"));
        missing.push("go".to_owned());
    }
    // Where guests cannot be, the tests that need one are skipped by name.
    if guest::possible().is_ok()
        && let Err(error) = guest::ensure_built(yes)
    {
        interrupt::check()?;
        say::line(&format!("there is no guest with OpenZFS: {error:#}"));
        missing.push("a guest with OpenZFS".to_owned());
    }
    Ok(missing)
}

/// Installs what the demo needs, which runs no tests; returns what is still missing.
pub(crate) fn for_demo(yes: bool) -> Result<Vec<String>> {
    let mut missing = packages(NEEDS.iter().collect(), yes)?;
    missing.extend(guests()?);
    Ok(missing)
}

/// Installs what needs no root: cargo-nextest and the WebAssembly standard library. Returns what is still missing.
pub(crate) fn tools(yes: bool) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    if shell::find("cargo-nextest").is_none() {
        say::line(
            "cargo-nextest is missing (it runs the tests): building it takes about ten minutes on two cores",
        );
        if say::confirm("build it?", yes)? {
            shell::run(shell::cargo(Path::new("/")).args([
                "install",
                "--locked",
                "cargo-nextest",
            ]))?;
        } else {
            missing.push("cargo-nextest".to_owned());
        }
    }
    missing.extend(guests()?);
    Ok(missing)
}

/// Gives the toolchain the WebAssembly standard library, which needs no root; returns what is still missing.
pub(crate) fn guests() -> Result<Vec<String>> {
    match wasm_target::ensure(&mut |text| say::line(text)) {
        Ok(()) => Ok(Vec::new()),
        Err(error) => {
            interrupt::check()?;
            say::line(&format!("the WebAssembly standard library is missing: {error:#}"));
            Ok(vec!["wasm32-unknown-unknown".to_owned()])
        }
    }
}

/// Installs what is not here; returns the packages that still are missing.
pub(crate) fn packages(mut needs: Vec<&Need>, yes: bool) -> Result<Vec<String>> {
    needs.retain(|need| !is_here(need));
    if needs.is_empty() {
        return Ok(Vec::new());
    }
    let packages: Vec<&str> = needs.iter().map(|need| need.package).collect();
    let install = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    for need in &needs {
        say::line(&format!("{} is missing: {}", need.package, need.why));
    }
    let still = || packages.iter().map(|package| (*package).to_owned()).collect();
    if !machine::is_root() {
        say::line(&format!("not root; to install them: sudo apt-get update && sudo {install}"));
        return Ok(still());
    }
    if shell::find("apt-get").is_none() {
        say::line("this is not Debian; install them with the package manager of this system");
        return Ok(still());
    }
    if !say::confirm(&format!("run `apt-get update` and `{install}`?"), yes)? {
        return Ok(still());
    }
    needs.iter().filter_map(|need| need.service).try_for_each(keep_down)?;
    // The lists of a fresh machine are empty or old. Sources of others may fail here; whether Debian's work, the
    // installation tells.
    let _ = apt(&["update", "-q"]);
    interrupt::check()?;
    apt(&[&["install", "-y", "-q", "--no-install-recommends"], &*packages].concat())?;
    needs.retain(|need| !is_here(need));
    Ok(needs.iter().map(|need| need.package.to_owned()).collect())
}

/// Lets systemd not start a service when its package is installed, nor later.
fn keep_down(service: &str) -> Result<()> {
    // Where systemd does not run nobody starts services.
    if !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    say::line(&format!(
        "`{service}` is not to run; `systemctl unmask {service}` if you want it to"
    ));
    shell::run(shell::command("systemctl").args(["mask", service]))
}

/// Runs apt, which is not ended by us: Ctrl-C reaches it as well, and it knows when it may end.
fn apt(words: &[&str]) -> Result<()> {
    let mut command = shell::command("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    interrupt::shielded(|| shell::run(command.args(words)))?;
    interrupt::check()
}

fn is_here(need: &Need) -> bool {
    match (shell::find(need.program), need.program) {
        // Another Docker than Debian's is as good, once it runs.
        (None, "dockerd") => machine::docker_answers(),
        // Debian's other busybox is linked dynamically, and is of no use in an otherwise empty container.
        (Some(path), "busybox") => is_static(&path),
        (Some(_), "python3") => machine::python().is_some(),
        (found, _) => found.is_some(),
    }
}

fn is_static(program: &Path) -> bool {
    let loader = b"/ld-linux";
    fs::read(program).is_ok_and(|bytes| !bytes.windows(loader.len()).any(|window| window == loader))
}
