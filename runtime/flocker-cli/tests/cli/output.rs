//! Tables and JSON of commands that only look.

use expect_test::expect;

use crate::{Cluster, check, command, run};

#[test]
fn status_shows_everything_at_a_glance() {
    check(
        &["status"],
        &expect![[r#"
            answered by n1, version 0.1.0

            NODE  STATE             APPS  VOLUMES  MEMORY AVAILABLE    PROMISED  POOL FREE              CPUS   LOAD  LABELS     ADDRESS
            n1    draining, leader  1     1        5.0 GiB of 8.0 GiB  2.0 GiB   60.0 GiB of 100.0 GiB  4.000  1.25  disk=nvme  10.0.0.1:4521
            n2    ready             1     1        5.0 GiB of 8.0 GiB  2.0 GiB   60.0 GiB of 100.0 GiB  4.000  1.25  disk=nvme  10.0.0.2:4521
            n3    down              0     0        -                   2.0 GiB   -                      -      -     disk=nvme  10.0.0.3:4521

            APP   STATE     NODE  EPOCH  PORTS  CONTAINERS      OPERATION
            shop  deployed  n1    4      8080   1 of 2 running  o-endless
            blog  deployed  -     1      -      0 of 1 running  -

            OPERATION  WHAT                     WHY       STATE    PHASE  STARTED               TOOK
            o-endless  move shop from n1 to n2  operator  waiting  seed   2026-11-22T09:35:11Z  -

            trouble: the store has no second copy
            trouble: node n3: it does not answer since 09:30
            trouble: app blog: no node has 64.0 GiB of memory
        "#]],
    );
}

#[test]
fn nodes_are_listed() {
    check(
        &["node", "ls"],
        &expect![[r#"
            NODE  STATE          APPS  VOLUMES  MEMORY AVAILABLE    PROMISED  POOL FREE              CPUS   LOAD  LABELS     ADDRESS
            n1    ready, leader  1     1        5.0 GiB of 8.0 GiB  2.0 GiB   60.0 GiB of 100.0 GiB  4.000  1.25  disk=nvme  10.0.0.1:4521
            n2    ready          1     1        5.0 GiB of 8.0 GiB  2.0 GiB   60.0 GiB of 100.0 GiB  4.000  1.25  disk=nvme  10.0.0.2:4521
            n3    down           0     0        -                   2.0 GiB   -                      -      -     disk=nvme  10.0.0.3:4521
        "#]],
    );
    check(
        &["node", "ls", "--json"],
        &expect![[r#"
            {"nodes":[{"alive":true,"api":"10.0.0.1:4521","apps":1,"configured":["disk"],"draining":false,"labels":{"disk":"nvme"},"leader":true,"memory_promised":2147483648,"mesh":"10.0.0.1:4522","name":"n1","replication":"10.0.0.1:4523","stats":{"at_ms":1795340111000,"cpu_millis":4000,"load_millis":1250,"memory":{"free":5368709120,"total":8589934592},"pool":{"free":64424509440,"total":107374182400},"streams":"btrfs"},"stream_key":"1                                                               ","troubles":[],"volumes":1},{"alive":true,"api":"10.0.0.2:4521","apps":1,"configured":["disk"],"draining":false,"labels":{"disk":"nvme"},"leader":false,"memory_promised":2147483648,"mesh":"10.0.0.2:4522","name":"n2","replication":"10.0.0.2:4523","stats":{"at_ms":1795340111000,"cpu_millis":4000,"load_millis":1250,"memory":{"free":5368709120,"total":8589934592},"pool":{"free":64424509440,"total":107374182400},"streams":"btrfs"},"stream_key":"2                                                               ","troubles":[],"volumes":1},{"alive":false,"api":"10.0.0.3:4521","apps":0,"configured":["disk"],"draining":false,"labels":{"disk":"nvme"},"leader":false,"memory_promised":2147483648,"mesh":"10.0.0.3:4522","name":"n3","replication":"10.0.0.3:4523","stats":null,"stream_key":"3                                                               ","troubles":["it does not answer since 09:30"],"volumes":0}]}
        "#]],
    );
}

#[test]
fn labels_are_changed_together() {
    check(
        &["node", "label", "n1", "rack=7", "disk-"],
        &expect![[r#"
        node n1 has the labels rack=7
    "#]],
    );
    check(
        &["node", "undrain", "n1", "--json"],
        &expect![[r#"
            {"api":"10.0.0.1:4521","configured":["disk"],"draining":false,"labels":{"disk":"nvme"},"mesh":"10.0.0.1:4522","name":"n1","replication":"10.0.0.1:4523","stream_key":"1                                                               "}
        "#]],
    );
}

#[test]
fn a_node_is_removed_when_nothing_needs_it() {
    check(
        &["node", "rm", "n3", "--yes"],
        &expect![[r#"
        node n3 was removed; on its machine `docker network rm flocker-n3`, unmount `pool` in its state directory, and remove that
    "#]],
    );
    check(
        &["node", "rm", "n1", "--yes"],
        &expect![[r#"
        stderr: error: node `n1` is still needed: app `shop`, volume `shop.data`
        stderr: hint: `flocker node drain n1` moves its apps away
        exit status: 1
    "#]],
    );
    check(
        &["node", "rm", "n3"],
        &expect![[r#"
        stderr: error: removing node `n3` from the cluster cannot be taken back, and nobody can be asked
        stderr: hint: add `--yes` if that is meant
        exit status: 1
    "#]],
    );
}

#[test]
fn a_volume_that_a_dead_node_still_has_is_removed_later() {
    check(
        &["volume", "rm", "old", "--yes"],
        &expect![[r#"
        volume old was removed
        what n3 still has of it goes as soon as that answers
    "#]],
    );
}

#[test]
fn volumes_are_listed_and_inspected() {
    check(
        &["volume", "ls"],
        &expect![[r#"
            VOLUME     APP   NODE  EPOCH  USED     SIZE      COPIES ON  TROUBLE
            shop.data  shop  n1    4      3.0 GiB  10.0 GiB  n2         -
            photos     -     -     1      -        1.0 GiB   -          it has 500 snapshots
        "#]],
    );
    check(
        &["volume", "ls", "--json"],
        &expect![[r#"
            {"volumes":[{"app":"shop","compression":null,"epoch":4,"id":"v-1","name":"shop.data","node":"n1","owner":"999:999","record_size":null,"replicas":[{"guid":"g2","node":"n2","snapshot":"move-o1-2"}],"reserved":false,"secret":null,"size":10737418240,"trouble":null,"used":3221225472},{"app":null,"compression":null,"epoch":1,"id":"v-2","name":"photos","node":null,"owner":null,"record_size":null,"replicas":[],"reserved":false,"secret":null,"size":1073741824,"trouble":"it has 500 snapshots","used":null}]}
        "#]],
    );
    check(
        &["volume", "inspect", "shop.data"],
        &expect![[r#"
            volume shop.data (v-1)
            app     shop
            node    n1
            epoch   4
            size    10.0 GiB
            owner   999:999

            COPY ON  ROLE     EPOCH  USED     NEWEST SNAPSHOT
            n1       live     4      3.0 GiB  before-upgrade
            n2       replica  4      3.0 GiB  move-o1-2
        "#]],
    );
    check(
        &["volume", "inspect", "shop.data", "--json"],
        &expect![[r#"
            {"app":"shop","compression":null,"copies":[{"epoch":4,"newest":{"guid":"guid-before-upgrade","referenced":1048576,"snapshot":"before-upgrade","taken_ms":1795340111000},"node":"n1","role":"live","size":10737418240,"used":3221225472},{"epoch":4,"newest":null,"node":"n2","role":"replica","size":10737418240,"used":3221225472}],"epoch":4,"id":"v-1","name":"shop.data","node":"n1","owner":"999:999","record_size":null,"replicas":[{"guid":"g2","node":"n2","snapshot":"move-o1-2"}],"reserved":false,"secret":null,"size":10737418240}
        "#]],
    );
}

#[test]
fn volumes_are_made_and_removed() {
    check(
        &["volume", "create", "photos", "--size", "20GiB", "--owner", "1000:1000"],
        &expect![[r#"
            volume photos was made, 20.0 GiB
        "#]],
    );
    check(
        &["volume", "create", "photos", "--size", "1g", "--node", "n2", "--json"],
        &expect![[r#"
            {"app":null,"compression":null,"epoch":1,"id":"v-3","name":"photos","node":"n2","owner":null,"record_size":null,"replicas":[],"reserved":false,"secret":null,"size":1073741824}
        "#]],
    );
    check(
        &["volume", "rm", "photos", "--yes"],
        &expect![[r#"
        volume photos was removed
    "#]],
    );
}

#[test]
fn snapshots_are_taken_and_listed() {
    check(
        &["volume", "snapshot", "shop.data", "--tag", "before-upgrade"],
        &expect![[r#"
        snapshot before-upgrade of volume shop.data was taken
    "#]],
    );
    check(
        &["volume", "snapshots", "shop.data"],
        &expect![[r#"
        SNAPSHOT   TAKEN                 REFERS TO  GUID
        hourly-1   2026-11-22T09:35:11Z  1.0 MiB    guid-hourly-1
        move-o1-2  2026-11-22T09:35:11Z  1.0 MiB    guid-move-o1-2
    "#]],
    );
    check(
        &["volume", "snapshots", "shop.data", "--json"],
        &expect![[r#"
        {"snapshots":[{"guid":"guid-hourly-1","referenced":1048576,"snapshot":"hourly-1","taken_ms":1795340111000},{"guid":"guid-move-o1-2","referenced":1048576,"snapshot":"move-o1-2","taken_ms":1795340111000}]}
    "#]],
    );
}

#[test]
fn replicas_are_listed_with_how_they_stand() {
    check(
        &["replica", "ls"],
        &expect![[r#"
        VOLUME     APP   FROM  REPLICA ON  WHY     EVERY  STATE     SNAPSHOT
        shop.data  shop  n1    n2          named   10.0s  current   repl-7
        shop.data  shop  n1    n3          chosen  10.0s  trouble   repl-7
        shop.data  shop  n1    n4          left    -      not kept  repl-7
    "#]],
    );
    check(
        &["replica", "status", "shop"],
        &expect![[r#"
            VOLUME     REPLICA ON  STATE     BEHIND  LACKS    ON ITS WAY  SENT      SNAPSHOTS  LAST TOOK  TROUBLE
            shop.data  n2          current   8.20s   3.0 MiB  -           40.0 MiB  12         350ms      -
            shop.data  n3          trouble   2h      3.0 MiB  -           40.0 MiB  12         350ms      the replica has diverged
            shop.data  n4          not kept  1m      -        -           -         -          -          -
        "#]],
    );
    check(
        &["replica", "ls", "--json"],
        &expect![[r#"
            {"replicas":[{"app":"shop","behind_ms":8200,"every_ms":10000,"from":"n1","guid":"guid-repl-7","lacks":3145728,"last_ms":350,"node":"n2","rate":20971520,"rate_windows":[{"from":"22:00","rate":52428800,"until":"06:00"}],"sending":null,"sent":41943040,"snapshot":"repl-7","snapshots":12,"state":"current","trouble":null,"volume":"shop.data","why":"named"},{"app":"shop","behind_ms":7200000,"every_ms":10000,"from":"n1","guid":"guid-repl-7","lacks":3145728,"last_ms":350,"node":"n3","rate":20971520,"rate_windows":[{"from":"22:00","rate":52428800,"until":"06:00"}],"sending":null,"sent":41943040,"snapshot":"repl-7","snapshots":12,"state":"trouble","trouble":"the replica has diverged","volume":"shop.data","why":"chosen"},{"app":"shop","behind_ms":60000,"every_ms":10000,"from":"n1","guid":"guid-repl-7","lacks":null,"last_ms":null,"node":"n4","rate":20971520,"rate_windows":[{"from":"22:00","rate":52428800,"until":"06:00"}],"sending":null,"sent":null,"snapshot":"repl-7","snapshots":null,"state":"not kept","trouble":null,"volume":"shop.data","why":"left"}]}
        "#]],
    );
}

#[test]
fn replicas_come_and_go() {
    check(
        &["replica", "add", "shop"],
        &expect![[r#"
        the nodes for the replicas are being chosen; `flocker replica status` follows them
    "#]],
    );
    check(
        &["replica", "rm", "shop", "--on", "n2", "--yes"],
        &expect![[r#"
        no replicas of shop are kept on n2 any more; the copies are removed as soon as the nodes answer
    "#]],
    );
    check(
        &["replica", "rm", "shop"],
        &expect![[r#"
        stderr: error: removing all replicas of `shop` cannot be taken back, and nobody can be asked
        stderr: hint: add `--yes` if that is meant
        exit status: 1
    "#]],
    );
}

#[test]
fn apps_are_listed_and_inspected() {
    check(
        &["app", "ls"],
        &expect![[r#"
            APP   STATE     NODE  EPOCH  PORTS  CONTAINERS      OPERATION
            shop  deployed  n1    4      8080   1 of 2 running  o-endless
            blog  deployed  -     1      -      0 of 1 running  -

            trouble: app blog: no node has 64.0 GiB of memory
        "#]],
    );
    check(
        &["app", "ls", "--json"],
        &expect![[r#"
        {"apps":[{"containers":[{"detail":"since 2026-11-22T09:34:11Z","healthy":true,"image":"redis:7.2","name":"db","restarts":2,"state":"running"},{"detail":"status 137, out of memory","healthy":true,"image":"shop:1","name":"web","restarts":2,"state":"exited"}],"epoch":4,"name":"shop","node":"n1","operation":"o-endless","placed_ms":1795336511000,"services":[{"container":"web","container_port":80,"host_ip":null,"name":"web","port":8080}],"state":"deployed","trouble":null,"volumes":["shop.data"]},{"containers":[{"detail":null,"healthy":null,"image":"blog:1","name":"web","restarts":0,"state":"unknown"}],"epoch":1,"name":"blog","node":null,"operation":null,"placed_ms":1795336511000,"services":[],"state":"deployed","trouble":"no node has 64.0 GiB of memory","volumes":[]}]}
    "#]],
    );
    check(
        &["app", "inspect", "shop"],
        &expect![[r#"
        app shop, deployed
        node       n1
        epoch      4
        placed     2026-11-22T08:35:11Z
        operation  o-endless
        volumes    shop.data

        CONTAINER  STATE                                HEALTH   RESTARTS  IMAGE
        db         running, since 2026-11-22T09:34:11Z  healthy  2         redis:7.2
        web        exited, status 137, out of memory    healthy  2         shop:1

        SERVICE  EVERY NODE'S  CONTAINER
        web      8080          web:80
    "#]],
    );
}

#[test]
fn logs_of_all_containers_are_whole_lines_with_their_container() {
    check(
        &["app", "logs", "shop"],
        &expect![[r#"
        db | warning
        web | GET /
        db | ok
    "#]],
    );
    check(
        &["app", "logs", "shop", "--json"],
        &expect![[r#"
        {"container":"web","stream":"stdout","text":"GET "}
        {"container":"db","stream":"stderr","text":"warning\n"}
        {"container":"web","stream":"stdout","text":"/\n"}
        {"container":"db","stream":"stdout","text":"ok"}
    "#]],
    );
}

#[test]
fn logs_of_one_container_are_its_bytes() {
    check(
        &["app", "logs", "shop", "db"],
        &expect![[r#"
        okstderr: warning
    "#]],
    );
}

#[test]
fn operations_are_listed_and_shown() {
    check(
        &["operation", "ls"],
        &expect![[r#"
        OPERATION  WHAT                     WHY       STATE    PHASE  STARTED               TOOK
        o-endless  move shop from n1 to n2  operator  waiting  seed   2026-11-22T09:35:11Z  -
    "#]],
    );
    check(
        &["operation", "ls", "--all"],
        &expect![[r#"
        OPERATION  WHAT                     WHY       STATE    PHASE    STARTED               TOOK
        o-endless  move shop from n1 to n2  operator  waiting  seed     2026-11-22T09:35:11Z  -
        o-move     move shop from n1 to n2  operator  done     reverse  2026-11-22T09:35:11Z  1m 6s
        o-failed   move shop from n1 to n2  operator  failed   seed     2026-11-22T09:35:11Z  1m 6s
    "#]],
    );
    check(
        &["operation", "show", "o-mo"],
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
        "#]],
    );
    check(
        &["operation", "show", "o-move", "--json"],
        &expect![[r#"
        {"app":"shop","blackout_ms":845,"bytes":3221237817,"finished_ms":1795340177500,"id":"o-move","kind":"move","parked_ms":1795340176000,"phase":"reverse","phases":[{"ms":65000,"phase":"seed","trouble":null,"undo":false},{"ms":20,"phase":"park","trouble":null,"undo":false},{"ms":300,"phase":"delta","trouble":null,"undo":false},{"ms":410,"phase":"start","trouble":null,"undo":false}],"purpose":"operator","reason":null,"rounds":[{"bytes":3221225472,"ms":65000,"resumed":0,"snapshot":"move-o1-1"},{"bytes":12345,"ms":290,"resumed":0,"snapshot":"move-o1-2"}],"source":"n1","started_ms":1795340111000,"state":"done","target":"n2","trouble":null}
    "#]],
    );
}

#[test]
fn decisions_are_explained() {
    check(
        &["explain", "shop"],
        &expect![[r#"
        shop is on n2: spread 0.1.0 gave it 9000 of 10000, n1 7000
    "#]],
    );
    check(
        &["explain", "shop", "--json"],
        &expect![[r#"
        {"chosen":"n2","subject":"shop"}
    "#]],
    );
}

#[test]
fn plugins_are_listed() {
    check(
        &["plugin", "ls"],
        &expect![[r#"
            PLUGIN    VERSION  NODE  STATE        HOOKS      WEIGHT  LIMITS            CALLS  FAILURES  DIGEST        TROUBLE
            spread    0.1.0    n1    quarantined  placement  100     fuel=4G, wall=5s  12     3         0123456789ab  trapped three times in a row
            binpack   0.1.0    n1    active       placement  100     fuel=4G, wall=5s  12     3         0123456789ab  -
            built-in  0.1.0    n1    active       placement  100     -                 12     0         -             -

            spread: the new build 0.2.0 (fedcba987654) is asked in shadow: 3 of 20 decisions, of which it would have changed 1; it counts from 2026-11-22T09:36:11Z at the latest
            binpack: the new build 0.2.0 (fedcba987654) failed in shadow and is not used: trap: unreachable in `evaluate`
            hint: put a better file in its place and send the daemon SIGHUP
        "#]],
    );
}

#[test]
fn every_json_answer_is_one_document_on_one_line() {
    let cluster = Cluster::start();
    for arguments in [
        ["status"].as_slice(),
        &["app", "inspect", "shop"],
        &["plugin", "ls"],
        &["volume", "rm", "photos", "--yes"],
        &["node", "drain", "n1"],
        &["move", "shop"],
        &["move", "old"],
        &["completions", "bash"],
        &["app", "inspect", "nothing"],
    ] {
        let output = command(cluster.address(), arguments).arg("--json").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
}

#[test]
fn completions_are_made_for_every_shell_without_a_cluster() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run("unix:///nowhere.sock", &["completions", shell]);
        assert!(script.contains("flocker") && script.contains("undrain"), "{shell}: {script}");
    }
}

#[test]
fn every_command_explains_itself() {
    for arguments in [
        "",
        "status",
        "node",
        "node ls",
        "node drain",
        "node undrain",
        "node label",
        "node rm",
        "volume",
        "volume ls",
        "volume create",
        "volume clone",
        "volume rollback",
        "volume rm",
        "volume inspect",
        "volume snapshot",
        "volume snapshots",
        "replica",
        "replica ls",
        "replica add",
        "replica rm",
        "replica status",
        "app",
        "app deploy",
        "app ls",
        "app inspect",
        "app rm",
        "app logs",
        "move",
        "operation",
        "operation ls",
        "operation show",
        "operation abort",
        "operation watch",
        "explain",
        "plugin",
        "plugin ls",
        "completions",
    ] {
        let arguments: Vec<&str> = arguments.split_whitespace().chain(["--help"]).collect();
        let help = run("unix:///nowhere.sock", &arguments);
        assert!(help.contains("Usage: flocker"), "{arguments:?}: {help}");
        assert!(
            !help.contains("stderr:") && !help.contains("exit status:"),
            "{arguments:?}: {help}"
        );
    }
}

#[test]
fn the_first_help_is_enough_to_begin() {
    check(
        &["--help"],
        &expect![[r#"
            Look at a Flocker cluster and change it

            Usage: flocker [OPTIONS] <COMMAND>

            Commands:
              status       Show nodes, apps, running operations and troubles
              node         List nodes, empty them, label them, remove them
              volume       List, make, clone and remove volumes, and take snapshots
              replica      Keep copies of volumes up to date on other nodes
              app          Deploy apps, list and remove them, read their output
              move         Move an app with its data to another node
              operation    List operations, look at them, abort them
              explain      Say why an app is where it is, or why an operation was started
              plugin       List the policies and backends that are loaded; make, test and sign new ones
              completions  Print completions for a shell
              help         Print this message or the help of the given subcommand(s)

            Options:
                  --address <ADDRESS>  The node to ask: `unix:///PATH` or `tcp://IP:PORT` [env: FLOCKER_ADDRESS]
                                       [default: unix:///run/flocker/flocker.sock]
                  --json               Print JSON, for programs
              -h, --help               Print help
              -V, --version            Print version

            Examples:
              flocker status                          the cluster at a glance
              flocker app deploy compose.yaml         deploy an app, and wait until it runs
              flocker move shop --to n2               move it with its data, and watch
              flocker replica add shop                keep a copy of its data on another node
              flocker explain shop                    why it is where it is

            Exit status:
              0  it was done
              1  it failed; stderr says why, and what can be done
              2  the command line makes no sense
              3  the node could not be reached, or did not answer

            With --json, stdout is one JSON document; an error is one with the key `error`.
            `app logs` alone prints one document per piece of output. Progress goes to stderr.
        "#]],
    );
}
