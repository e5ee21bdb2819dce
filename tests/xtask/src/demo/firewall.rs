//! Lets the demo's containers reach each other where an earlier Docker left the machine's FORWARD chain closed. One
//! rule, for the demo's addresses alone, that goes with everything else of the demo; touches no other rule.

use std::process::Stdio;

use anyhow::{Result, ensure};

use crate::shell;

/// Packets between the demo's nodes and containers.
const RULE: [&str; 7] = ["FORWARD", "-s", "10.213.0.0/16", "-d", "10.213.0.0/16", "-j", "ACCEPT"];

/// Puts the rule in front of all others, once.
pub(super) fn open() -> Result<()> {
    if !iptables("-C")? {
        ensure!(iptables("-I")?, "`iptables -I {}` failed", RULE.join(" "));
    }
    Ok(())
}

/// Takes the rule out, however often it is there; says so.
pub(super) fn close(found: &mut Vec<String>) -> Result<()> {
    // Without iptables nobody put it in.
    if shell::find("iptables").is_none() || !iptables("-C")? {
        return Ok(());
    }
    while iptables("-D")? {}
    found.push("a rule of iptables".to_owned());
    Ok(())
}

fn iptables(what: &str) -> Result<bool> {
    let mut iptables = shell::command("iptables");
    iptables.args(["-w", what]).args(RULE).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(shell::status(&mut iptables)?.success())
}
