//! The programs under test: those that cargo built beside this test, and the app, which is compiled here.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// The app's source. It uses nothing but std, so the compiler alone makes a static program of it.
const NOTEBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin/notebook.rs");

/// The daemon.
///
/// # Errors
/// When it was not built.
pub fn flocker_runtime() -> Result<PathBuf> {
    beside("flocker-runtime", "flocker-runtime")
}

/// The operator's command.
pub(crate) fn flocker() -> Result<PathBuf> {
    beside("flocker", "flocker-cli")
}

/// The gate, static.
///
/// # Errors
/// When it was not built and cannot be.
pub fn flocker_gate() -> Result<PathBuf> {
    flocker_docker::testing::gate().context("could not build flocker-gate")
}

/// A component of `plugins/`.
///
/// # Errors
/// When it was not built.
pub fn plugin(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../plugins/target/wasm32-unknown-unknown/release");
    let component = folder.join(format!("{name}.wasm"));
    component.canonicalize().with_context(|| {
        format!(
            "there is no plugin at `{}`\nhint: cd plugins && cargo build --release",
            component.display()
        )
    })
}

/// Tests lie one folder below the programs of the same profile.
fn beside(program: &str, package: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("this test does not know its own path")?;
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(program)).find(|p| p.is_file());
    let Some(found) = found else {
        bail!(
            "`{program}` is not beside `{}`\nhint: `cargo build -p {package}`, or run the tests with `cargo xtask test`",
            own.display()
        );
    };
    Ok(found)
}

/// Compiles the app into `folder`, for images that hold nothing else.
pub(crate) fn notebook(folder: &Path) -> Result<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let program = folder.join("notebook");
    let built = Command::new(rustc)
        .args(["--edition", "2024", "-C", "target-feature=+crt-static", "-o"])
        .args([program.as_os_str(), NOTEBOOK.as_ref()])
        .output()
        .context("could not run rustc")?;
    if !built.status.success() {
        bail!("rustc refused `{NOTEBOOK}`: {}", String::from_utf8_lossy(&built.stderr));
    }
    Ok(program)
}
