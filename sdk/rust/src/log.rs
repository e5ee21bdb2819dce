//! The node's log. Lines appear there with the plugin's name; a few per decision are kept, a flood is not.

/// For whoever looks for what happened.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// For whoever may have to do something.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something is wrong.
pub fn error(message: &str) {
    write(Level::Error, message);
}

enum Level {
    Info,
    Warn,
    Error,
}

#[cfg(target_arch = "wasm32")]
fn write(level: Level, message: &str) {
    use crate::bindings::policy::flocker::plugin::log;
    let at = match level {
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    };
    log::write(at, message, &[]);
}

/// In tests on the author's machine the log is standard error.
#[cfg(not(target_arch = "wasm32"))]
fn write(level: Level, message: &str) {
    let level = match level {
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    eprintln!("{level}: {message}");
}

/// A panic on this target prints nothing by itself.
pub(crate) fn install_panic_hook() {
    use std::sync::Once;
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| error(&panic.to_string()))));
}
