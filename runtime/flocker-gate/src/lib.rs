//! What the engine and the gate agree on: where the gate lives, the order that opens it, and the proof that it asks for.
//! Mounts nothing and starts nothing.

mod order;
mod proof;

pub use order::{InvalidOrder, Order};
pub use proof::{Proof, Unproved};

/// Where a container sees the gate's folder.
pub const FOLDER: &str = "/.flocker";

/// The gate's own file in its folder.
pub const PROGRAM: &str = "gate";

/// The FIFO in its folder, through which the gate gets its order.
pub const FIFO: &str = "order";

/// The gate ends with this status when it did not get what it needs to let the app run.
pub const STATUS_REFUSED: u8 = 117;

/// As shells and Docker have it: the app's command exists and cannot be executed.
pub const STATUS_NOT_EXECUTABLE: u8 = 126;

/// As shells and Docker have it: the app's command does not exist.
pub const STATUS_NOT_FOUND: u8 = 127;

/// Begins the last line of a gate that did not let the app run, so that it can be told from an app of the same status.
pub const REFUSAL: &str = "flocker-gate: ";
