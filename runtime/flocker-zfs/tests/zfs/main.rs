//! Tests on real pools in files of their own. They need root and `/dev/zfs`, and leave nothing behind.
//!
//! The helper is `$FLOCKER_ZFS_HELPER`, or where `cargo build` in its own folder puts it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod live_zfs_guest;
