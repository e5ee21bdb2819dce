//! Write a placement policy for `flocker-runtime`: implement [`Placement`], name it in [`export!`], build for
//! `wasm32-unknown-unknown`. The README beside this crate goes through it step by step.
//!
//! ```
//! use flocker_sdk::{Node, Placement, Request, Score};
//!
//! /// Prefers the node with the most free memory.
//! #[derive(Default)]
//! struct MostMemory;
//!
//! impl Placement for MostMemory {
//!     fn score(&self, node: &Node, request: &Request) -> Score {
//!         if node.memory_free() < request.memory() {
//!             return Score::refuse("too little memory");
//!         }
//!         Score::share(node.memory_free(), node.memory())
//!     }
//! }
//!
//! flocker_sdk::export!(MostMemory);
//! ```

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod glue;
pub mod log;
mod node;
mod request;
mod score;

pub use node::Node;
pub use request::Request;
pub use score::{SCORE_MAX, Score};

/// Says where an app should be. One value answers many questions, one after the other; its answers must follow from the
/// question alone, so that a decision can be replayed.
pub trait Placement: Default + 'static {
    /// Takes the operator's settings, a JSON document. Called once, before the first question.
    ///
    /// # Errors
    /// What is wrong with them; the plugin is then not loaded. Unless overridden, anything but `{}` is refused, so that
    /// nobody believes a setting works that nothing reads.
    fn configure(&mut self, settings: &str) -> Result<(), String> {
        match settings.trim() {
            "" | "{}" => Ok(()),
            _ => Err("this policy has no settings".into()),
        }
    }

    /// How good a node would be.
    fn score(&self, node: &Node, request: &Request) -> Score;

    /// The same for all candidates at once, for policies that compare nodes. As many scores as nodes, in their order.
    fn score_all(&self, nodes: &[Node], request: &Request) -> Vec<Score> {
        nodes.iter().map(|node| self.score(node, request)).collect()
    }
}

/// Reads settings into a type of your own (feature `settings`).
///
/// # Errors
/// What is wrong with them, and where.
#[cfg(feature = "settings")]
pub fn settings<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|e| e.to_string())
}

/// Makes a component of a type that implements [`Placement`]. Once per crate.
#[macro_export]
macro_rules! export {
    ($policy:ty) => {
        // Only a component has these symbols; tests run on the author's machine.
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Glue;

            impl $crate::glue::Author for Glue {
                type Policy = $policy;
                const NAME: &'static str = env!("CARGO_PKG_NAME");
                const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            }

            type Component = $crate::glue::Component<Glue>;
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
