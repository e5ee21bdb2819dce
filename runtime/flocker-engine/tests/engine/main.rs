//! The engine in a pretend cluster: what must hold whoever dies, hangs or changes their mind, whenever.

mod aborts;
mod lifecycle;
mod moves;
mod pretend;
mod supervision;
mod trouble;
