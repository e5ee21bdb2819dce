//! Compiles every file of `proto/` with a protobuf compiler written in Rust: no `protoc` has to be installed.

use std::{error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut files = Vec::new();
    for entry in fs::read_dir("proto")? {
        let path: PathBuf = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    // The order decides the order of generated code; a folder's own order would make builds differ.
    files.sort();
    let descriptors = protox::compile(files, ["proto"])?;
    // Content is handed on without copying.
    tonic_prost_build::configure().bytes(".").btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
