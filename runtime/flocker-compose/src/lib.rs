//! Compose files: what is supported becomes a [`flocker_model::App`], everything else is refused by name and line.
//!
//! Nothing is ignored silently: a key that is not understood is a [`Problem`], and all problems of a file are reported
//! at once. Only `x-*` keys (but `x-flocker`, which is ours) and the obsolete `version` are passed over.
//!
//! The way of a file: the CLI calls [`interpolate`] where the operator's variables are, and sends and stores the result;
//! [`parse`] reads it on any node and always gets the same app out of it.

mod app;
mod container;
mod depends;
mod hints;
mod interpolate;
mod placement;
mod ports;
mod problem;
mod reader;
mod shell;
#[cfg(test)]
mod tests;
mod values;
mod variables;
mod volumes;
mod yaml;

pub use interpolate::interpolate;
pub use problem::Problem;

use flocker_model::{App, AppName};

/// The longest Compose file that is read. It is stored with the app and sent in one message, and people write less.
pub const TEXT_MAX: usize = 1 << 20;

/// Reads a Compose file. `name` is what the operator called the app; it goes before the file's own `name`.
///
/// Variables must have been resolved by [`interpolate`]: a `$` that is not doubled is refused, and `$$` means one `$`.
///
/// # Errors
/// Every problem of the file, in the order of its lines; never an empty list.
pub fn parse(text: &str, name: Option<&AppName>) -> Result<App, Vec<Problem>> {
    let mut problems = Vec::new();
    let app = match yaml::load(text) {
        Ok(root) => app::read(&root, name, &mut problems),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    match app {
        Some(app) if problems.is_empty() => Ok(app),
        Some(_) | None => {
            problems.sort_by_key(|p| p.line);
            Err(problems)
        }
    }
}
