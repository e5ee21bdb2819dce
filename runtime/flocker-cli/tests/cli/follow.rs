//! Commands that begin something and stay until it has ended.

use expect_test::expect;

use crate::{Cluster, check, run, run_with_stdin};

#[test]
fn a_move_is_followed_to_its_report() {
    check(
        &["move", "shop", "--to", "n2"],
        &expect![[r#"
            operation o-move (why: operator)

            PHASE  TIME
            seed   1m 5s
            park   20ms
            delta  300ms
            start  410ms

            ROUND  SNAPSHOT   BYTES     RESUMED  TIME
            1      move-o1-1  3.0 GiB   0 B      1m 5s
            2      move-o1-2  12.1 KiB  0 B      290ms

            move shop from n1 to n2: done in 1m 6s, 3.0 GiB in 2 rounds, blackout 845ms
            stderr: move shop from n1 to n2: seed
            stderr: move shop from n1 to n2: delta
            stderr: move shop from n1 to n2: reverse
        "#]],
    );
}

#[test]
fn a_move_against_a_policy_is_begun_with_a_warning() {
    check(
        &["move", "shop", "--to", "n3", "--detach"],
        &expect![[r#"
        operation o-move has begun; `flocker operation watch o-move` follows it
        stderr: warning: node `n3` is no place for app `shop`: it is full
    "#]],
    );
    check(
        &["move", "shop", "--to", "n3", "--detach", "--json"],
        &expect![[r#"
        {"operation":"o-move","warning":"node `n3` is no place for app `shop`: it is full"}
        stderr: warning: node `n3` is no place for app `shop`: it is full
    "#]],
    );
}

#[test]
fn a_container_that_may_stop_slower_than_a_move_waits_is_named() {
    let cluster = Cluster::start();
    let file = "services:\n  db:\n    image: redis\n    stop_grace_period: 30s\n  web:\n    image: nginx\n";
    let arguments = ["app", "deploy", "-", "--name", "same"];
    expect![[r#"
        app same is what the file says already
        stderr: warning: a move holds clients for 20s at most, and is undone if `db` needs more than about 15s to stop (`stop_grace_period`)
    "#]].assert_eq(&run_with_stdin(cluster.address(), &arguments, file));
}

#[test]
fn a_detached_move_returns_its_operation() {
    check(
        &["move", "shop", "--detach"],
        &expect![[r#"
        operation o-move has begun; `flocker operation watch o-move` follows it
    "#]],
    );
    check(
        &["move", "shop", "--detach", "--json"],
        &expect![[r#"
        {"operation":"o-move"}
    "#]],
    );
}

#[test]
fn a_move_that_fails_says_why_and_is_status_1() {
    check(
        &["move", "old"],
        &expect![[r#"
            operation o-failed (why: operator)

            PHASE      TIME
            undo seed  900ms

            move shop from n1 to n2: failed in 1m 6s: the pool of n2 is full
            stderr: move shop from n1 to n2: seed
            stderr: move shop from n1 to n2: delta
            stderr: move shop from n1 to n2: seed
            stderr: error: could not move shop from n1 to n2: the pool of n2 is full
            stderr: hint: free space on it
            exit status: 1
        "#]],
    );
}

#[test]
fn an_operation_that_failed_is_an_error_for_programs_too() {
    check(
        &["--json", "move", "old"],
        &expect![[r#"
            {"app":"shop","blackout_ms":null,"bytes":0,"error":{"code":"operation-failed","hint":"free space on it","message":"could not move shop from n1 to n2: the pool of n2 is full"},"finished_ms":1795340177500,"id":"o-failed","kind":"move","parked_ms":1795340176000,"phase":"seed","phases":[{"ms":900,"phase":"seed","trouble":null,"undo":true}],"purpose":"operator","reason":"the pool of n2 is full\nhint: free space on it","rounds":[],"source":"n1","started_ms":1795340111000,"state":"failed","target":"n2","trouble":null}
            stderr: move shop from n1 to n2: seed
            stderr: move shop from n1 to n2: delta
            stderr: move shop from n1 to n2: seed
            stderr: error: could not move shop from n1 to n2: the pool of n2 is full
            stderr: hint: free space on it
            exit status: 1
        "#]],
    );
}

#[test]
fn following_survives_the_loss_of_the_leader() {
    check(
        &["operation", "watch", "o-cut"],
        &expect![[r#"
            operation o-cut (why: operator)

            PHASE  TIME
            seed   1m 5s
            park   20ms
            delta  300ms
            start  410ms

            ROUND  SNAPSHOT   BYTES     RESUMED  TIME
            1      move-o1-1  3.0 GiB   0 B      1m 5s
            2      move-o1-2  12.1 KiB  0 B      290ms

            move shop from n1 to n2: done in 1m 6s, 3.0 GiB in 2 rounds, blackout 845ms
            stderr: move shop from n1 to n2: seed
            stderr: move shop from n1 to n2: delta
            stderr: move shop from n1 to n2: reverse
        "#]],
    );
}

#[test]
fn following_ends_when_its_time_is_over() {
    check(
        &["operation", "watch", "o-endless", "--timeout", "200ms"],
        &expect![[r#"
            stderr: move shop from n1 to n2: seed: waiting: n2 does not answer
            stderr: error: operation `o-endless` has not ended after 200ms; it goes on
            stderr: hint: `flocker operation watch o-endless` follows it again
            exit status: 1
        "#]],
    );
}

#[test]
fn an_operation_that_was_aborted_as_asked_is_no_error() {
    check(
        &["operation", "abort", "o-abort"],
        &expect![[r#"
            operation o-abort (why: operator)

            PHASE      TIME
            undo seed  900ms

            move shop from n1 to n2: aborted in 1m 6s: an operator asked for it
            stderr: move shop from n1 to n2: going back, seed
            stderr: move shop from n1 to n2: going back, delta
            stderr: move shop from n1 to n2: going back, reverse
        "#]],
    );
}

#[test]
fn a_drain_is_followed_until_the_node_is_empty() {
    check(
        &["node", "drain", "n1"],
        &expect![[r#"
            OPERATION  WHAT                     WHY       STATE    PHASE    STARTED               TOOK
            o-drain    move shop from n1 to n2  drain     done     reverse  2026-11-22T09:35:11Z  1m 6s
            o-endless  move shop from n1 to n2  operator  waiting  seed     2026-11-22T09:35:11Z  -

            no app is on node n1; `flocker node undrain n1` lets it take apps again, `flocker node rm n1` removes it
            volumes of no app stay on it: shop.data
            stderr: move shop from n1 to n2: seed: waiting: n2 does not answer
            stderr: move shop from n1 to n2: seed
            stderr: move shop from n1 to n2: done in 1m 6s, 3.0 GiB in 2 rounds, blackout 845ms
        "#]],
    );
}

#[test]
fn a_drain_that_is_given_up_says_what_it_waits_for() {
    check(
        &["node", "drain", "n1", "--timeout", "200ms"],
        &expect![[r#"
        stderr: move shop from n1 to n2: seed: waiting: n2 does not answer
        stderr: error: node `n1` is not empty after 200ms
        stderr: app shop: move shop from n1 to n2 waits: n2 does not answer
        stderr: hint: the drain goes on: `flocker node drain n1` waits again, longer with `--timeout`, and `flocker node undrain n1` ends it
        exit status: 1
    "#]],
    );
}

#[test]
fn an_app_is_deployed_with_its_variables_replaced() {
    let cluster = Cluster::start();
    let file = "services:\n  db:\n    image: redis:${TAG}\n";
    let deploy =
        |name| run_with_stdin(cluster.address(), &["app", "deploy", "-", "--name", name], file);
    expect![[r#"
        operation o-deploy (why: operator)

        PHASE  TIME
        start  900ms

        deploy shop on n2: done in 1m 6s
        stderr: deploy shop on n2: seed
        stderr: deploy shop on n2: delta
        stderr: deploy shop on n2: reverse
    "#]]
    .assert_eq(&deploy("shop"));
    expect![[r#"
        app same is what the file says already
    "#]]
    .assert_eq(&deploy("same"));
    expect![[r#"
        stderr: error: app `homeless` is written down and waits for a place: `n1` is draining
        stderr: hint: it starts as soon as a node may hold it; `flocker app rm homeless` takes it back
        exit status: 1
    "#]].assert_eq(&deploy("homeless"));
}

#[test]
fn an_app_is_removed_with_its_volumes() {
    let cluster = Cluster::start();
    expect![[r#"
        operation o-remove (why: operator)

        remove shop and its volumes: done in 1m 6s
        stderr: remove shop and its volumes: seed
        stderr: remove shop and its volumes: delta
        stderr: remove shop and its volumes: reverse
    "#]]
    .assert_eq(&run(cluster.address(), &["app", "rm", "shop", "--volumes", "--yes"]));
}
