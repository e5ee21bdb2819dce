//! The messages and the generated client and server of the cluster store; `flocker-store` converts and uses them.

#[allow(missing_docs, reason = "generated from the .proto file, which says what each is")]
#[allow(unreachable_pub, clippy::too_many_lines, reason = "generated")]
mod pb {
    tonic::include_proto!("flocker.store.v1");
}

pub use pb::*;
