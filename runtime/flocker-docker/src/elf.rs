//! What can be seen of a program's file before it is brought into a container: whether it runs where nothing but itself
//! is there. Starts nothing.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::Path,
};

use flocker_ports::EngineError;

/// What a path has at most; an interpreter's name is one.
const PATH_MAX: u64 = 4096;
/// The kind of a program header that names an interpreter.
const INTERPRETER: u32 = 3;

/// Whether the gate can run in every container: it must not need a dynamic linker, which images need not have, and then
/// Docker says that there is no such file as the gate.
///
/// # Errors
/// [`EngineError::Failed`] when it needs one, is no program, or cannot be read.
pub fn check_gate(program: &Path) -> Result<(), EngineError> {
    let failed = |reason: String| {
        Err(EngineError::Failed {
            action: format!("the gate `{}` cannot run in containers", program.display()),
            reason,
        })
    };
    let hint = "hint: `cargo xtask build` links one statically; `--gate FILE` names it";
    match File::open(program).and_then(|file| interpreter(&file)) {
        Ok(None) => Ok(()),
        Ok(Some(needed)) => failed(format!(
            "it is linked dynamically, and needs `{needed}`, which images need not have\n{hint}"
        )),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            failed(format!("it is no program of 64 bits, or damaged\n{hint}"))
        }
        Err(error) => failed(format!("{error}\n{hint}")),
    }
}

/// The dynamic linker that a program names; none where it is static.
fn interpreter(file: &File) -> io::Result<Option<String>> {
    let header: [u8; 64] = read(file, 0)?;
    // The magic; 64 bits; the least significant byte first, as on the machines that this is built for.
    if header[..6] != *b"\x7fELF\x02\x01" {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let (table, entry) = (number(&header[32..40]), number(&header[54..56]));
    for idx in 0..number(&header[56..58]) {
        let segment: [u8; 56] = read(file, table.saturating_add(idx * entry))?;
        if number(&segment[..4]) == u64::from(INTERPRETER) {
            let (offset, size) = (number(&segment[8..16]), number(&segment[32..40]));
            let mut path = vec![0; usize::try_from(size.min(PATH_MAX)).unwrap_or_default()];
            file.read_exact_at(&mut path, offset)?;
            let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
            return Ok(Some(String::from_utf8_lossy(path).into_owned()));
        }
    }
    Ok(None)
}

fn read<const N: usize>(file: &File, offset: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// A number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn said(program: &Path) -> String {
        check_gate(program).unwrap_err().to_string()
    }

    #[test]
    fn a_gate_that_needs_a_dynamic_linker_is_refused() {
        // This test is linked as `cargo build` links a gate.
        let this = std::env::current_exe().unwrap();
        let said = said(&this);
        assert!(said.contains("linked dynamically, and needs `/lib"), "{said}");
        assert!(said.contains(".so.") && said.contains("\nhint: "), "{said}");
    }

    #[test]
    fn a_gate_that_stands_alone_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let gate = folder.path().join("gate");
        // One segment, which is loaded.
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (bytes[32], bytes[54], bytes[56], bytes[64]) = (64, 56, 1, 1);
        fs::write(&gate, &bytes).unwrap();
        check_gate(&gate).unwrap();

        fs::write(&gate, &bytes[..100]).unwrap();
        assert!(said(&gate).contains("or damaged"), "{}", said(&gate));
        fs::write(&gate, "#!/bin/sh\n").unwrap();
        assert!(said(&gate).contains("no program"), "{}", said(&gate));
        fs::remove_file(&gate).unwrap();
        assert!(said(&gate).contains("No such file"), "{}", said(&gate));
    }
}
