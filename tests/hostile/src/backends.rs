//! The table of hostile storage backends.

use std::path::Path;

use crate::{
    backends::Becomes::{Breaks, Does, Lies, Refused, Refuses},
    backends::Verb::{
        AbortReceive, Attach, Create, Destroy, DestroySnapshots, Promote, Receive, Resize, Retire,
        Room, Seal, Send, Snapshot, Snapshots, Stat, Unseal, Volumes,
    },
    forge, text,
};

/// One hostile backend.
#[derive(Debug, Clone, Copy)]
pub struct BackendCase {
    /// What it calls itself; its file is `backends/NAME.wat`, if it has one.
    pub name: &'static str,
    /// How it is made.
    pub made: MadeBackend,
    /// What must become of it.
    pub becomes: Becomes,
}

/// Where a backend comes from.
#[derive(Debug, Clone, Copy)]
pub enum MadeBackend {
    /// From the file of its name, which says in its first line what it does.
    Text,
    /// It traps in the function of this name, which has this type in the frame.
    Traps(&'static str, &'static str),
}

/// What of the port is asked of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// How much room there is.
    Room,
    /// Which volumes there are.
    Volumes,
    /// What one volume is.
    Stat,
    /// A new volume.
    Create,
    /// Another size.
    Resize,
    /// No volume any more.
    Destroy,
    /// A snapshot.
    Snapshot,
    /// Which snapshots there are.
    Snapshots,
    /// One snapshot less.
    DestroySnapshots,
    /// Where the bytes are.
    Attach,
    /// Live to sealed.
    Seal,
    /// Sealed to live.
    Unseal,
    /// Sealed to live, at another epoch.
    Promote,
    /// Sealed to replica.
    Retire,
    /// Bytes for another node.
    Send,
    /// Bytes from another node.
    Receive,
    /// No more of them.
    AbortReceive,
}

/// What must become of a backend, beside others that notice nothing. The words are those of the error, which names the
/// plugin and the function.
#[derive(Debug, Clone, Copy)]
pub enum Becomes {
    /// It is not opened; the operator is told so in these words.
    Refused(&'static str),
    /// It is asked again, as often as the limits say and no more; then this fails.
    Breaks(Verb, &'static str),
    /// It answers, but not what is so or can be: this fails at once, and counts as a failure of it.
    Lies(Verb, &'static str),
    /// It says no in these words, or in the host's: this fails at once, and nothing is counted.
    Refuses(Verb, &'static str),
    /// It does what it is asked, and no harm.
    Does(Verb),
}

impl BackendCase {
    /// What it is asked, once it is open.
    #[must_use]
    pub fn asked(&self) -> Option<Verb> {
        match self.becomes {
            Refused(_) => None,
            Breaks(asked, _) | Lies(asked, _) | Refuses(asked, _) | Does(asked) => Some(asked),
        }
    }

    /// The component.
    ///
    /// # Panics
    /// When the case is none.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let fields = match self.made {
            MadeBackend::Text => text("backends", self.name),
            MadeBackend::Traps(function, kind) => {
                format!("(func ${function} (type ${kind}) (unreachable))")
            }
        };
        forge::backend(self.name, &fields)
    }
}

/// What all of them are granted, those included that say nothing of needing it: a folder, a little store, one URL where
/// nobody answers, a command that does nothing, a secret, and devices that no machine has.
#[must_use]
pub fn grants(pool: &Path, token: &Path) -> Vec<String> {
    vec![
        format!("directory=pool:{}", pool.display()),
        "kv=1MiB".to_owned(),
        "http=http://127.0.0.1:1/api".to_owned(),
        "command=/bin/echo".to_owned(),
        format!("secret=token:{}", token.display()),
        "device=/dev/flocker-hostile*".to_owned(),
    ]
}

const fn text_of(name: &'static str, becomes: Becomes) -> BackendCase {
    BackendCase { name, made: MadeBackend::Text, becomes }
}

const fn traps(
    name: &'static str,
    function: &'static str,
    kind: &'static str,
    becomes: Becomes,
) -> BackendCase {
    BackendCase { name, made: MadeBackend::Traps(function, kind), becomes }
}

const TRAP: &str = "unreachable";
/// Computing time and wall clock are as long in a daemon: either may end it.
const LATE: &str = "(timeout)";

/// Every hostile backend.
pub const BACKENDS: &[BackendCase] = &[
    // Before it is used.
    text_of("start_loops", Refused("while it was asked for its name (timeout)")),
    text_of("describe_loops", Refused("while it was asked for its name (timeout)")),
    traps("describe_traps", "describe", "look", Refused("while it was asked for its name (trap)")),
    text_of("configure_loops", Refused(LATE)),
    text_of("configure_accepts_nothing", Refused("take its settings: never  [31mgood enough")),
    text_of("describe_backend_loops", Refused(LATE)),
    traps("describe_backend_traps", "describe_backend", "look", Refused(TRAP)),
    text_of("asks_for_sockets", Refused("asks for `wasi:sockets`, which was not granted")),
    text_of("needs_what_nobody_granted", Refused("needs a directory called `root`")),
    text_of("needs_a_secret_by_a_path", Refused("needs a secret called `../ [`")),
    text_of("driver_that_commands_a_terminal", Does(Room)),
    text_of("changes_what_it_is", Does(Create)),
    // Traps, wherever it is asked.
    traps("pool_traps", "pool", "look", Breaks(Room, TRAP)),
    traps("volumes_traps", "volumes", "volumes", Breaks(Volumes, TRAP)),
    traps("stat_traps", "stat", "stat", Breaks(Stat, TRAP)),
    traps("create_traps", "create", "create", Breaks(Create, TRAP)),
    traps("resize_traps", "resize", "resize", Breaks(Resize, TRAP)),
    traps("destroy_traps", "destroy", "change", Breaks(Destroy, TRAP)),
    traps("snapshot_traps", "snapshot", "snapshot", Breaks(Snapshot, TRAP)),
    traps("snapshots_traps", "snapshots", "snapshots", Breaks(Snapshots, TRAP)),
    traps(
        "destroy_snapshots_traps",
        "destroy_snapshots",
        "destroy_snapshots",
        Breaks(DestroySnapshots, TRAP),
    ),
    traps("attach_traps", "attach", "change", Breaks(Attach, TRAP)),
    traps("seal_traps", "seal", "change", Breaks(Seal, TRAP)),
    traps("unseal_traps", "unseal", "change", Breaks(Unseal, TRAP)),
    traps("promote_traps", "promote", "at", Breaks(Promote, TRAP)),
    traps("retire_traps", "retire", "at", Breaks(Retire, TRAP)),
    traps("plan_send_traps", "plan_send", "plan_send", Breaks(Send, TRAP)),
    traps("plan_receive_traps", "plan_receive", "plan_receive", Breaks(Receive, TRAP)),
    traps("abort_receive_traps", "abort_receive", "change", Breaks(AbortReceive, TRAP)),
    // Room and volumes, which it is asked for each second.
    text_of("pool_loops", Breaks(Room, LATE)),
    text_of("pool_sleeps", Breaks(Room, LATE)),
    text_of("pool_of_all_numbers", Lies(Room, "18446744073709551615 bytes, which nothing has")),
    text_of("pool_more_free_than_there_is", Lies(Room, "of 1 bytes it says 2 are free")),
    text_of("volumes_never_end", Lies(Volumes, "it lists more than")),
    text_of("volumes_go_round", Lies(Volumes, "it lists `aaaa` out of order")),
    text_of("volumes_go_back", Lies(Volumes, "out of order")),
    text_of("volumes_of_one_name", Lies(Volumes, "it lists `aaaa` out of order")),
    text_of("volumes_slowly", Lies(Volumes, "its list took longer than")),
    text_of("volumes_with_a_novel_each", Lies(Volumes, "bytes of text")),
    text_of("one_volume_too_many", Lies(Volumes, "asked for 500 entries, it gave 501")),
    text_of("volumes_without_end", Breaks(Volumes, "")),
    text_of("volumes_outside_of_memory", Breaks(Volumes, "")),
    text_of("volume_with_a_path", Lies(Volumes, "`../../etc` is not a valid volume id")),
    text_of("volume_that_commands_a_terminal", Lies(Volumes, "is not a valid volume id")),
    text_of("volume_that_turns_text_round", Lies(Volumes, "is not a valid volume id")),
    text_of("volume_of_no_role", Lies(Volumes, "the role 4711, which is none")),
    text_of("volume_at_the_last_epoch", Lies(Volumes, "the epoch 18446744073709551615")),
    text_of("volume_of_all_numbers", Lies(Volumes, "18446744073709551615 bytes")),
    text_of("stat_of_another", Lies(Stat, "it answered about `other`")),
    text_of("stat_of_nobody", Lies(Stat, "it gave 0 answers about one volume")),
    text_of("answers_outside_of_memory", Breaks(Stat, "")),
    // New volumes.
    text_of("create_loops", Breaks(Create, LATE)),
    text_of("create_sleeps", Breaks(Create, LATE)),
    text_of("grows_its_memory", Breaks(Create, "bytes of memory, the limit is")),
    text_of("recurses", Breaks(Create, "call stack exhausted")),
    text_of("answers_neither_yes_nor_no", Breaks(Create, "")),
    text_of("says_done_and_made_nothing", Lies(Create, "but then that it is not")),
    text_of("makes_it_at_an_older_epoch", Lies(Create, "but then that it is live at epoch")),
    text_of("refuses_with_a_megabyte", Refuses(Create, "aaaa")),
    text_of("refuses_in_the_terminals_tongue", Refuses(Create, "no [2J")),
    text_of("refuses_in_no_words", Breaks(Create, "utf-8")),
    text_of("calls_itself_stale", Lies(Create, "cal")),
    text_of("floods_the_log", Does(Create)),
    text_of("floods_the_metrics", Does(Create)),
    text_of("stores_more_than_it_may", Refuses(Create, "1048576")),
    text_of("stores_a_little_for_ever", Refuses(Create, "1048576")),
    text_of("makes_folders_outside", Refuses(Create, "/pool/../../etc/owned")),
    text_of("removes_what_is_not_its_own", Refuses(Create, "`/etc`")),
    text_of("asks_the_metadata_service", Refuses(Create, "it was not granted")),
    text_of("asks_the_metadata_service_in_disguise", Refuses(Create, "it was not granted")),
    text_of("asks_for_what_is_above", Refuses(Create, "a step `.` or `..`")),
    text_of("asks_for_a_file", Refuses(Create, "does not begin with `http://HOST`")),
    text_of("asks_without_any_grant", Refuses(Create, "it was not granted")),
    text_of("asks_with_a_secret_of_others", Refuses(Create, "this secret was not granted")),
    text_of("runs_a_shell", Refuses(Create, "command `/bin/sh` was not granted")),
    text_of("runs_by_another_way", Refuses(Create, "was not granted")),
    text_of("runs_without_any_grant", Refuses(Create, "command `/bin/echo` was not granted")),
    // Where bytes are.
    text_of("attaches_the_machine", Lies(Attach, "`/etc`")),
    text_of("attaches_what_is_above", Lies(Attach, "`/pool/../../etc`")),
    text_of("attaches_itself", Lies(Attach, "`/proc/self/root`")),
    text_of("attaches_nothing_in_particular", Lies(Attach, "`pool`")),
    text_of("attaches_a_disk", Lies(Attach, "device `/dev/sda` was not granted")),
    text_of("attaches_the_wrong_disk", Lies(Create, "device `/dev/mem` was not granted")),
    text_of("attaches_by_way_of_itself", Lies(Attach, "moved through the plugin itself")),
    text_of("sends_the_machine", Lies(Send, "`/pool/../../etc`")),
    text_of("sends_by_a_command", Lies(Send, "moved through a command")),
    text_of("receives_into_the_machine", Lies(Receive, "`/etc/owned`")),
    // Snapshots.
    text_of("snapshots_never_end", Lies(Snapshots, "it lists more than")),
    text_of("snapshots_go_round", Lies(Snapshots, "it lists snapshot `aaaa` twice")),
    text_of("snapshots_twice", Lies(Snapshots, "it lists snapshot `one` twice")),
    text_of("snapshot_with_a_path", Lies(Snapshots, "`../one` is not a valid")),
    text_of("guid_that_commands_a_terminal", Lies(Snapshots, "has a GUID that is none")),
    text_of("takes_another_snapshot", Lies(Snapshot, "it made `other`")),
    text_of("takes_no_snapshot", Lies(Snapshot, "it made 0 snapshots")),
    // Says that it was done.
    text_of("says_sealed_and_is_live", Lies(Seal, "but then that it is live")),
    text_of("seals_at_an_older_epoch", Lies(Seal, "but then that it is sealed at epoch 0")),
    text_of("says_promoted_and_is_sealed", Lies(Promote, "but then that it is sealed")),
    text_of("says_retired_and_is_sealed", Lies(Retire, "but then that it is sealed")),
    text_of("says_gone_and_is_there", Lies(Destroy, "but it is there")),
];
