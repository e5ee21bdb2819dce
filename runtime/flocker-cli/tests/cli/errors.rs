//! What goes wrong: messages, hints, exit statuses.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use expect_test::expect;

use crate::{Cluster, check, command, run, run_with_stdin};

#[test]
fn a_refusal_says_why_and_what_can_be_done() {
    check(
        &["volume", "rm", "shop.data", "--yes"],
        &expect![[r#"
        stderr: error: volume `shop.data` is used by app `shop`
        stderr: hint: `flocker app rm shop --volumes` removes both
        exit status: 1
    "#]],
    );
    check(
        &["move", "nothing"],
        &expect![[r#"
        stderr: error: there is no app `nothing`
        stderr: hint: `flocker app ls` lists them
        exit status: 1
    "#]],
    );
    check(
        &["operation", "abort", "o-move"],
        &expect![[r#"
        stderr: error: operation `o-move` has passed its commit
        stderr: hint: it can only go forward; move the app back afterwards
        exit status: 1
    "#]],
    );
    check(
        &["operation", "abort", "o-"],
        &expect![[r#"
            stderr: error: `o-` is the beginning of 3 ids:
            stderr:   o-endless  move shop from n1 to n2
            stderr:   o-move  move shop from n1 to n2
            stderr:   o-failed  move shop from n1 to n2
            stderr: hint: write more of the id
            exit status: 1
        "#]],
    );
    check(
        &["operation", "abort", "o-move", "--json"],
        &expect![[r#"
        {"error":{"code":"point-of-no-return","hint":"it can only go forward; move the app back afterwards","message":"operation `o-move` has passed its commit"}}
        stderr: error: operation `o-move` has passed its commit
        stderr: hint: it can only go forward; move the app back afterwards
        exit status: 1
    "#]],
    );
}

#[test]
fn nobody_there_is_status_3() {
    expect![[r#"
        stderr: error: could not connect to `unix:///nowhere/flocker.sock`: No such file or directory (os error 2)
        stderr: hint: is flocker-runtime running, and does it listen at `/nowhere/flocker.sock`? It listens at `/run/flocker/flocker.sock` unless it was told otherwise
        exit status: 3
    "#]].assert_eq(&run("unix:///nowhere/flocker.sock", &["status"]));
    expect![[r#"
        {"error":{"code":"unreachable","hint":"is flocker-runtime running there? It would listen at `tcp://127.0.0.1:1`","message":"could not connect to `tcp://127.0.0.1:1`: Connection refused (os error 111)"}}
        stderr: error: could not connect to `tcp://127.0.0.1:1`: Connection refused (os error 111)
        stderr: hint: is flocker-runtime running there? It would listen at `tcp://127.0.0.1:1`
        exit status: 3
    "#]].assert_eq(&run("tcp://127.0.0.1:1", &["status", "--json"]));
}

#[test]
fn a_command_line_that_makes_no_sense_is_status_2() {
    check(
        &["move", "Shop"],
        &expect![[r#"
        stderr: error: invalid value 'Shop' for '<APP>': `Shop` is not a valid app name: it must start with a lower-case letter or a digit
        stderr: 
        stderr: For more information, try '--help'.
        exit status: 2
    "#]],
    );
    check(
        &["volume", "create", "photos", "--size", "much"],
        &expect![[r#"
        stderr: error: invalid value 'much' for '--size <SIZE>': `much` is not a size such as `512m` or `10GiB`
        stderr: 
        stderr: For more information, try '--help'.
        exit status: 2
    "#]],
    );
    check(
        &["status", "--address", "localhost"],
        &expect![[r#"
        stderr: error: invalid value 'localhost' for '--address <ADDRESS>': `localhost` is not an address: expected `unix:///PATH` or `tcp://IP:PORT`
        stderr: 
        stderr: For more information, try '--help'.
        exit status: 2
    "#]],
    );
}

#[test]
fn a_command_line_that_makes_no_sense_is_json_for_programs() {
    for arguments in [
        ["--json", "move", "Shop"].as_slice(),
        &["--json", "frobnicate"],
        &["move", "--json"],
        &["--json"],
        &["--json", "node"],
    ] {
        let output = command("unix:///nowhere.sock", arguments).output().unwrap();

        let text = String::from_utf8(output.stdout).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["error"]["code"], "invalid-argument", "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    check(
        &["--json", "frobnicate"],
        &expect![[r#"
        {"error":{"code":"invalid-argument","hint":"`flocker --help` lists the commands, and each has `--help` of its own","message":"unrecognized subcommand 'frobnicate'"}}
        stderr: error: unrecognized subcommand 'frobnicate'
        stderr: 
        stderr: Usage: flocker [OPTIONS] <COMMAND>
        stderr: 
        stderr: For more information, try '--help'.
        exit status: 2
    "#]],
    );
    check(
        &["--json", "move"],
        &expect![[r#"
        {"error":{"code":"invalid-argument","hint":"`flocker --help` lists the commands, and each has `--help` of its own","message":"the following required arguments were not provided:\n  <APP>"}}
        stderr: error: the following required arguments were not provided:
        stderr:   <APP>
        stderr: 
        stderr: Usage: flocker move --address <ADDRESS> <APP>
        stderr: 
        stderr: For more information, try '--help'.
        exit status: 2
    "#]],
    );
}

#[test]
fn what_cannot_be_taken_back_needs_a_yes() {
    check(
        &["volume", "rm", "photos"],
        &expect![[r#"
            stderr: error: removing volume `photos` with all its snapshots and copies cannot be taken back, and nobody can be asked
            stderr: hint: add `--yes` if that is meant
            exit status: 1
        "#]],
    );
    check(
        &["app", "rm", "shop", "--volumes"],
        &expect![[r#"
            stderr: error: removing app `shop` with its volumes cannot be taken back, and nobody can be asked
            stderr: hint: add `--yes` if that is meant
            exit status: 1
        "#]],
    );
}

#[test]
fn a_file_that_cannot_be_deployed_is_refused_by_line_before_anybody_is_asked() {
    let file = "services:\n  web:\n    image: nginx\n    build: .\n    privileged: true\n";
    let shown =
        run_with_stdin("unix:///nowhere.sock", &["app", "deploy", "-", "--name", "shop"], file);
    assert!(shown.contains("stderr: error: `stdin` cannot be deployed: 2 problems\n"), "{shown}");
    assert!(shown.contains("stderr: stdin:4: services.web.build: "), "{shown}");
    assert!(shown.contains("stderr: stdin:5: services.web.privileged: "), "{shown}");
    assert!(shown.ends_with("exit status: 1\n"), "{shown}");

    let file = "services:\n  web:\n    image: nginx:${NOT_SET}\n";
    let shown =
        run_with_stdin("unix:///nowhere.sock", &["app", "deploy", "-", "--name", "shop"], file);
    assert!(shown.contains("stdin:3: ") && shown.contains("NOT_SET"), "{shown}");

    let shown = run("unix:///nowhere.sock", &["app", "deploy", "/nowhere/compose.yaml"]);
    expect![[r#"
        stderr: error: could not read `/nowhere/compose.yaml`: No such file or directory (os error 2)
        exit status: 1
    "#]].assert_eq(&shown);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let cluster = Cluster::start();
    let mut child = command(cluster.address(), &["app", "logs", "-f", "shop"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "db | tick\n");
    drop(stdout);

    let output = child.wait_with_output().unwrap();

    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
