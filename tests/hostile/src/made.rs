//! Cases that are too large or too broken to be written down.

use std::fmt::Write as _;

use crate::forge::policy;

/// What every component begins with.
const PREAMBLE: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// The section that holds a component.
const COMPONENT: u8 = 4;

fn healthy(name: &str) -> Vec<u8> {
    policy(name, "")
}

pub(crate) fn nothing() -> Vec<u8> {
    Vec::new()
}

pub(crate) fn a_script() -> Vec<u8> {
    b"#!/bin/sh\nrm -rf /\n".to_vec()
}

pub(crate) fn a_core_module() -> Vec<u8> {
    b"\0asm\x01\0\0\0".to_vec()
}

/// Machine code, as wasmtime keeps it: an ELF file.
pub(crate) fn machine_code() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\xc8".to_vec();
    bytes.resize(4096, 0xcc);
    bytes
}

pub(crate) fn half_of_a_policy() -> Vec<u8> {
    let mut bytes = healthy("half_of_a_policy");
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// Every 97th byte has another bit flipped.
pub(crate) fn a_policy_with_flipped_bits() -> Vec<u8> {
    let mut bytes = healthy("a_policy_with_flipped_bits");
    for (n, byte) in bytes.iter_mut().skip(PREAMBLE.len()).step_by(97).enumerate() {
        *byte ^= 1 << (n % 8);
    }
    bytes
}

pub(crate) fn a_hundred_megabytes() -> Vec<u8> {
    let mut bytes = PREAMBLE.to_vec();
    bytes.resize(100 << 20, 0);
    bytes
}

/// Both versions have as many letters, so nothing else of the file changes.
pub(crate) fn built_for_another_contract() -> Vec<u8> {
    let mut bytes = healthy("built_for_another_contract");
    let (ours, theirs) = (b"@0.1.0", b"@0.2.0");
    let at: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(ours)).collect();
    assert!(!at.is_empty(), "it names no version");
    for at in at {
        bytes[at..at + theirs.len()].copy_from_slice(theirs);
    }
    bytes
}

/// A component in a component, two thousand times.
pub(crate) fn two_thousand_in_each_other() -> Vec<u8> {
    (0..2000).fold(PREAMBLE.to_vec(), |inner, _| {
        let mut outer = PREAMBLE.to_vec();
        outer.push(COMPONENT);
        let mut left = inner.len();
        while left > 0x7f {
            outer.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        outer.push((left & 0x7f) as u8);
        outer.extend(inner);
        outer
    })
}

/// Types that double forty times: a few hundred bytes that describe a value of a trillion fields.
pub(crate) fn types_that_double() -> Vec<u8> {
    let mut text = String::from("(component (type $t0 (tuple u8 u8))");
    for n in 0..40 {
        write_to(&mut text, &format!("(type $t{} (tuple $t{n} $t{n}))", n + 1));
    }
    text.push_str("(import \"flocker:plugin/cluster@0.1.0\" (instance (export \"f\" (func (param \"x\" $t40))))))");
    assembled(&text)
}

/// Ten thousand functions that nobody asked for, beside no hook.
pub(crate) fn ten_thousand_exports() -> Vec<u8> {
    let mut text = String::from(
        "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m))
         (func $f (canon lift (core func $i \"f\")))",
    );
    for n in 0..10_000 {
        write_to(&mut text, &format!("(export \"f{n}\" (func $f))"));
    }
    text.push(')');
    assembled(&text)
}

/// A thousand core instances, where a Python interpreter has 38.
pub(crate) fn a_thousand_instances() -> Vec<u8> {
    let mut text = String::from("(component (core module $m)");
    for _ in 0..1000 {
        text.push_str("(core instance (instantiate $m))");
    }
    text.push(')');
    assembled(&text)
}

/// A policy with a function whose blocks stand five thousand deep in each other.
pub(crate) fn blocks_in_blocks() -> Vec<u8> {
    let (begin, end) = ("block ".repeat(5000), "end ".repeat(5000));
    policy("blocks_in_blocks", &format!("(func $deep {begin} {end})"))
}

/// A policy with a function of more local variables than are allowed.
pub(crate) fn too_many_variables() -> Vec<u8> {
    let fields = format!("(func $wide (local {}))", "i64 ".repeat(50_001));
    let text = format!("(component (core module {fields}))");
    assembled(&text)
}

/// A policy with two thousand functions, for the compiler.
pub(crate) fn two_thousand_functions() -> Vec<u8> {
    let fields = "(func (param i32) (result i32) (i32.mul (local.get 0) (i32.add (local.get 0) (i32.const 7))))\n";
    policy("two_thousand_functions", &fields.repeat(2000))
}

fn write_to(text: &mut String, more: &str) {
    // Writing to a string does not fail.
    let _ = text.write_str(more);
}

fn assembled(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("no WebAssembly text: {error}"))
}
