//! Gives the Rust toolchain a standard library for WebAssembly: by rustup, or, where rustup cannot download, built from
//! Debian's source package of exactly the compiler's version. Installs nothing into the system.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::interrupt;

const TARGET: &str = "wasm32-unknown-unknown";
/// rustup needs seconds where it can download at all; where it cannot, it would retry for minutes.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(40);
/// Debian suites that may have the compiler's version, after the system's own sources.
const SUITES: [&str; 3] = ["trixie-backports", "trixie", "sid"];
/// The source of the standard library has one of these names; the second is for Debian's own newer compiler.
const PACKAGES: [&str; 2] = ["rust-src", "rust-web-src"];

/// Makes sure that `cargo build --target wasm32-unknown-unknown` works, and says what it does before it does it.
///
/// # Errors
/// What was tried, and what a person can do instead.
pub(crate) fn ensure(say: &mut dyn FnMut(&str)) -> Result<()> {
    let toolchain = Toolchain::find()?;
    if toolchain.has_target() {
        return Ok(());
    }
    if toolchain.is_rustups() {
        say(&format!("adding the Rust target {TARGET} (rustup target add {TARGET})"));
        if rustup(&toolchain) {
            return Ok(());
        }
        interrupt::check()?;
        say("rustup cannot download it");
    }
    say(&format!(
        "building {TARGET} from Debian's source of Rust {} (about a minute)",
        toolchain.release
    ));
    from_source(&toolchain, say).with_context(|| {
        format!(
            "no WebAssembly standard library for Rust {}\nhint: `rustup target add {TARGET}` where there is a network, or \
             set WASM_STD_TARBALL to a tar of that version's `library` folder (with its `vendor`)",
            toolchain.release
        )
    })
}

struct Toolchain {
    sysroot: PathBuf,
    release: String,
    commit: String,
}

impl Toolchain {
    fn find() -> Result<Self> {
        let sysroot =
            PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
        let about = output(Command::new("rustc").arg("-vV"))?;
        let field = |name: &str| {
            let line = about.lines().find_map(|l| l.strip_prefix(name));
            line.map(|l| l.trim().to_owned())
                .with_context(|| format!("`rustc -vV` has no `{name}`"))
        };
        Ok(Self { sysroot, release: field("release:")?, commit: field("commit-hash:")? })
    }

    fn rustlib(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib")
    }

    /// Whether rustup would change this toolchain. With another `rustc` in the path it would change one that nobody
    /// asked about, and two libraries in one folder make every build fail.
    fn is_rustups(&self) -> bool {
        let which = output(Command::new("rustup").args(["which", "rustc"]));
        which.is_ok_and(|path| Path::new(path.trim()).starts_with(&self.sysroot))
    }

    fn has_target(&self) -> bool {
        let Ok(entries) = fs::read_dir(self.rustlib().join(TARGET).join("lib")) else {
            return false;
        };
        entries.flatten().any(|e| e.file_name().to_string_lossy().starts_with("libstd-"))
    }
}

/// Runs a command and gives back what it printed; nothing new is begun once somebody wants us to end.
fn output(command: &mut Command) -> Result<String> {
    interrupt::check()?;
    let out = command.output().with_context(|| format!("could not run {command:?}"))?;
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{command:?} ended with {}: {}", out.status, errors.trim());
    String::from_utf8(out.stdout)
        .with_context(|| format!("{command:?} printed something that is not text"))
}

/// Whether rustup could do it in time.
fn rustup(toolchain: &Toolchain) -> bool {
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let deadline = Instant::now() + RUSTUP_PATIENCE;
    while Instant::now() < deadline && !interrupt::asked() {
        if let Ok(Some(_)) = child.try_wait() {
            return toolchain.has_target();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // Either may fail because it ended just now, which is as good.
    let _ = child.kill();
    let _ = child.wait();
    toolchain.has_target()
}

fn from_source(toolchain: &Toolchain, say: &mut dyn FnMut(&str)) -> Result<()> {
    let cache = cache()?;
    fs::create_dir_all(&cache)
        .with_context(|| format!("could not create `{}`", cache.display()))?;
    let lock = fs::File::create(cache.join("lock"))?;
    lock.lock().context("could not lock the cache of the standard library")?;
    // Somebody else may have built it while this one waited.
    if toolchain.has_target() {
        return Ok(());
    }
    let source = cache.join(format!("src-{}", toolchain.release));
    if !source.join(".complete").exists() {
        unpack(toolchain, &cache, &source, say)?;
    }
    let libraries = build(toolchain, &cache, &source)?;
    install(toolchain, &libraries)?;
    fs::remove_dir_all(cache.join("build")).context("could not remove the build folder")?;
    ensure!(
        toolchain.has_target(),
        "the standard library was built, but `{TARGET}` is still missing"
    );
    Ok(())
}

pub(crate) fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("flocker/wasm-std"))
}

/// Puts the standard library's source, with its vendored crates, at `source`.
fn unpack(
    toolchain: &Toolchain,
    cache: &Path,
    source: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    if source.exists() {
        fs::remove_dir_all(source)?;
    }
    fs::create_dir_all(source)?;
    match env::var_os("WASM_STD_TARBALL") {
        Some(tarball) => {
            output(Command::new("tar").arg("-xf").arg(tarball).arg("-C").arg(source))?;
        }
        None => unpack_package(&download(toolchain, cache, say)?, source)?,
    }
    ensure!(source.join("library/Cargo.lock").exists(), "the source holds no library/Cargo.lock");
    fs::write(source.join(".complete"), "")?;
    Ok(())
}

/// Only `library/` is needed: a sixth of the package.
fn unpack_package(package: &Path, source: &Path) -> Result<()> {
    let mut contents = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()?;
    let stream = contents.stdout.take().context("dpkg-deb has no output")?;
    let mut tar = Command::new("tar");
    tar.arg("-x").arg("-C").arg(source).args([
        "--strip-components=4",
        "--wildcards",
        "./usr/src/rustc-*/library/*",
    ]);
    let unpacked = output(tar.stdin(stream));
    contents.wait()?;
    unpacked.map(drop)
}

/// Downloads the source package, with apt's own check of its signature.
fn download(toolchain: &Toolchain, cache: &Path, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let folder = cache.join("debs");
    fs::create_dir_all(&folder)?;
    let mut tried = Vec::new();
    for suite in std::iter::once(None).chain(SUITES.map(Some)) {
        let name = suite.unwrap_or("the system's sources");
        let found = apt_options(cache, suite).and_then(|options| {
            say(&format!("looking for rust-src {} in {name}", toolchain.release));
            download_from(&options, toolchain, &folder)
        });
        match found {
            Ok(Some(package)) => return Ok(package),
            Ok(None) => tried.push(name.to_owned()),
            Err(error) => tried.push(format!("{name} ({error:#})")),
        }
    }
    bail!("no rust-src {} in: {}", toolchain.release, tried.join(", "))
}

fn download_from(
    options: &[String],
    toolchain: &Toolchain,
    folder: &Path,
) -> Result<Option<PathBuf>> {
    for package in PACKAGES {
        let listed = output(Command::new("apt-cache").args(options).args(["madison", package]))?;
        let versions = listed.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
        let wanted = format!("{}+", toolchain.release);
        let Some(version) = versions.filter(|v| v.starts_with(&wanted)).max() else { continue };
        let exact = format!("{package}={version}");
        output(
            Command::new("apt-get")
                .args(options)
                .args(["download", "-qq", &exact])
                .current_dir(folder),
        )?;
        let prefix = format!("{package}_{wanted}");
        // apt writes `+` as it is, and `:` and `~` escaped.
        let downloaded = fs::read_dir(folder)?.flatten().map(|e| e.path());
        let mut ours = downloaded
            .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&prefix)));
        return Ok(ours.next());
    }
    Ok(None)
}

/// Options that make apt read one suite only, through a folder of its own; none for the system's sources.
pub(crate) fn apt_options(cache: &Path, suite: Option<&str>) -> Result<Vec<String>> {
    let mut options = vec!["-o".to_owned(), "APT::Sandbox::User=root".to_owned()];
    let Some(suite) = suite else { return Ok(options) };
    let folder = cache.join("apt").join(suite);
    for part in ["lists/partial", "archives/partial", "parts"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let line = format!("deb [signed-by={keyring}] {} {suite} main\n", mirror()?);
    fs::write(folder.join("sources.list"), line)?;
    let at = |part: &str| folder.join(part).display().to_string();
    for option in [
        format!("Dir::Etc::SourceList={}", at("sources.list")),
        format!("Dir::Etc::SourceParts={}", at("parts")),
        "Dir::Etc::Preferences=/dev/null".into(),
        format!("Dir::Etc::PreferencesParts={}", at("parts")),
        format!("Dir::State::Lists={}", at("lists")),
        format!("Dir::Cache={}", folder.display()),
        format!("Dir::Cache::archives={}", at("archives")),
        "Acquire::Languages=none".into(),
    ] {
        options.extend(["-o".to_owned(), option]);
    }
    output(Command::new("apt-get").args(&options).args(["update", "-qq"]))?;
    Ok(options)
}

/// The Debian mirror that this machine uses.
fn mirror() -> Result<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|e| e.path()));
    }
    for text in files.iter().filter_map(|f| fs::read_to_string(f).ok()) {
        for line in text.lines().filter(|l| l.starts_with("deb ") || l.starts_with("URIs:")) {
            let uri = line.split_whitespace().find(|w| w.starts_with("http"));
            // Third parties have no `debian` at the end, and the security archive has no Rust.
            if let Some(uri) = uri.filter(|u| u.trim_end_matches('/').ends_with("/debian")) {
                return Ok(uri.to_owned());
            }
        }
    }
    bail!("this machine's apt sources name no Debian mirror")
}

/// Builds the library as the Rust project does, and gives back the folder with the results.
fn build(toolchain: &Toolchain, cache: &Path, source: &Path) -> Result<PathBuf> {
    let root = cache.join("build/root");
    fs::create_dir_all(root.join("src"))?;
    let library = source.join("library");
    // A package of our own depends on the library, so that crates that only its tests need are never asked for.
    fs::write(root.join("src/lib.rs"), "#![no_std]\n")?;
    fs::write(root.join("Cargo.toml"), manifest(&library.display().to_string()))?;
    fs::copy(library.join("Cargo.lock"), root.join("Cargo.lock"))?;
    let vendor = library.join("vendor");
    let replace = [
        "source.crates-io.replace-with='vendored'".to_owned(),
        format!("source.vendored.directory='{}'", vendor.display()),
    ];
    let flags = format!(
        "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes --remap-path-prefix={}=/rustc/{} --remap-path-prefix={}=/rust/deps",
        source.display(),
        toolchain.commit,
        vendor.display()
    );
    let target = cache.join("build/target");
    let mut cargo = Command::new(toolchain.sysroot.join("bin/cargo"));
    for variable in [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_INCREMENTAL",
    ] {
        cargo.env_remove(variable);
    }
    cargo
        .current_dir(&root)
        // Empty, not unset: that overrides a wrapper of the user's configuration too.
        .envs([("RUSTC_WRAPPER", ""), ("RUSTC_WORKSPACE_WRAPPER", ""), ("RUSTC_BOOTSTRAP", "1")])
        .env("RUSTC", toolchain.sysroot.join("bin/rustc"))
        .env("RUSTFLAGS", flags)
        // Files are then named libstd-HASH.rlib, as rustup's are.
        .env("__CARGO_DEFAULT_LIB_METADATA", "wasm-std")
        .args(["build", "-q", "--release", "--offline", "--target", TARGET, "--target-dir"])
        .arg(&target)
        .args(["-p", "std", "-p", "proc_macro", "-p", "test", "-p", "panic_abort"]);
    for setting in &replace {
        cargo.arg("--config").arg(setting);
    }
    output(&mut cargo)?;
    Ok(target.join(TARGET).join("release/deps"))
}

fn manifest(library: &str) -> String {
    format!(
        r#"[package]
name = "wasm-std"
version = "0.0.0"
edition = "2021"

[dependencies]
std = {{ path = "{library}/std", features = ["panic-unwind", "backtrace"] }}
proc_macro = {{ path = "{library}/proc_macro" }}
test = {{ path = "{library}/test" }}

[profile.release]
opt-level = 3
# One intrinsic to an object file, as the library's own workspace has it.
[profile.release.package.compiler_builtins]
codegen-units = 10000

[patch.crates-io]
rustc-std-workspace-core = {{ path = "{library}/rustc-std-workspace-core" }}
rustc-std-workspace-alloc = {{ path = "{library}/rustc-std-workspace-alloc" }}
rustc-std-workspace-std = {{ path = "{library}/rustc-std-workspace-std" }}

[workspace]
"#
    )
}

/// Puts the libraries where rustup would have put them, in one step.
fn install(toolchain: &Toolchain, libraries: &Path) -> Result<()> {
    let rustlib = toolchain.rustlib();
    let new = rustlib.join(format!(".{TARGET}.{}", std::process::id()));
    fs::create_dir_all(new.join("lib/self-contained"))
        .with_context(|| format!("could not write to `{}`", rustlib.display()))?;
    for entry in fs::read_dir(libraries)?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "rlib") {
            fs::copy(&path, new.join("lib").join(entry.file_name()))?;
        }
    }
    let place = rustlib.join(TARGET);
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::rename(&new, &place).with_context(|| format!("could not install `{}`", place.display()))
}
