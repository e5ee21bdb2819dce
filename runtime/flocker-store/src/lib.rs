//! The cluster store: one file on one node ([`EmbeddedStore`]), which serves it ([`serve`]) to the others
//! ([`RemoteStore`]) over gRPC.
//!
//! What the records mean is nobody's business here.

mod convert;
mod embedded;
mod remote;
mod serve;

pub use embedded::{EmbeddedStore, History};
pub use remote::{RemoteStore, endpoint};
pub use serve::{StoreService, serve};
