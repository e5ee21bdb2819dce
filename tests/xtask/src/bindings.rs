//! `cargo xtask bindings`: makes anew what the SDKs keep of the contract, after `wit/` was changed. What every policy would
//! export is taken out of it: an author's macro exports the hooks that a policy has.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{say, shell};

/// The version whose output is in the repository. Another one writes other code.
const WIT_BINDGEN: &str = "0.63.0";
/// The hooks, which a policy has or has not.
const HOOKS: [&str; 4] = ["placement", "rebalance", "backup-schedule", "failover"];
/// What follows would make the linker want a file that we do not need: `flocker plugin componentize` knows the types.
const END: &str = "// Ensure that the *_component_type.o object is linked in";

/// Writes `sdk/c/gen`.
pub(crate) fn make() -> Result<bool> {
    let hint = format!("hint: cargo install wit-bindgen-cli@{WIT_BINDGEN} --locked (four minutes)");
    if shell::find("wit-bindgen").is_none() {
        bail!("wit-bindgen is not installed\n{hint}");
    }
    let version = shell::output(shell::command("wit-bindgen").arg("--version"))?;
    let is_ours = version.split_whitespace().any(|word| word == WIT_BINDGEN);
    ensure!(is_ours, "this is {}, not {WIT_BINDGEN}\n{hint}", version.trim());
    let root = crate::root();
    let folder = root.join("sdk/c/gen");
    let mut generate = shell::command("wit-bindgen");
    generate.args(["c", "--world", "policy", "--rename-world", "wit", "--no-object-file"]);
    generate.args(["--autodrop-borrows", "yes", "--out-dir"]).arg(&folder).arg(root.join("wit"));
    shell::run(&mut generate)?;
    change(&folder.join("wit.c"), |text| Ok(without_exports(text)))?;
    change(&folder.join("wit.h"), |text| {
        Ok(format!("// wit: {}\n{text}", tidy::contract_of_policies()))
    })?;
    say::line("sdk/c/gen is made anew; `cargo xtask test -- -p tidy` compares it");
    Ok(true)
}

fn change(path: &Path, change: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("could not read `{}`", path.display()))?;
    fs::write(path, change(&text)?).with_context(|| format!("could not write `{}`", path.display()))
}

/// The same functions; those of hooks are exported no more.
fn without_exports(text: &str) -> String {
    let text = text.split(END).next().unwrap_or_default().trim_end();
    let lines = text.lines().map(|line| {
        let of_hook = HOOKS.iter().any(|hook| line.contains(&format!("flocker:plugin/{hook}@")));
        match line.split_once("__export_name__(") {
            // Whatever else it says, that the function is weak, stays.
            Some((before, _)) if of_hook => match before.trim_end_matches([',', ' ']) {
                "__attribute__((" => String::new(),
                attributes => format!("{attributes}))"),
            },
            Some(_) | None => line.to_owned(),
        }
    });
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hooks_are_exported_no_more() {
        let text = r#"__attribute__((__weak__, __export_name__("cabi_post_flocker:plugin/placement@0.1.0#evaluate")))
void a(void) {}
__attribute__((__export_name__("flocker:plugin/failover@0.1.0#decide")))
void b(void) {}
__attribute__((__export_name__("flocker:plugin/lifecycle@0.1.0#describe")))
void c(void) {}

// Ensure that the *_component_type.o object is linked in
more"#;
        let changed = r#"__attribute__((__weak__))
void a(void) {}

void b(void) {}
__attribute__((__export_name__("flocker:plugin/lifecycle@0.1.0#describe")))
void c(void) {}
"#;
        assert_eq!(without_exports(text), changed);
    }
}
