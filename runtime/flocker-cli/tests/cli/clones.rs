//! Volumes that are made out of others.

use expect_test::expect;

use crate::check;

#[test]
fn volumes_are_cloned() {
    check(
        &["volume", "clone", "shop.data", "test-data"],
        &expect![[r#"
        volume test-data was made on n1, a clone of shop.data
    "#]],
    );
    check(
        &["volume", "clone", "shop.data", "test-data", "--at", "hourly-1", "--json"],
        &expect![[r#"
            {"app":null,"compression":null,"epoch":1,"id":"v-3","name":"test-data","node":"n1","owner":"999:999","record_size":null,"replicas":[],"reserved":false,"secret":null,"size":10737418240}
        "#]],
    );
    check(
        &["volume", "clone", "shop.data", "test-data", "--at", "never"],
        &expect![[r#"
        stderr: error: volume `shop.data` has no snapshot `never`
        stderr: hint: `flocker volume snapshots shop.data` lists them
        exit status: 1
    "#]],
    );
    check(
        &["volume", "clone", "-h"],
        &expect![[r#"
        Make a volume with the content of another one, on the same node

        Usage: flocker volume clone [OPTIONS] <VOLUME> <NAME>

        Arguments:
          <VOLUME>  The volume that is cloned
          <NAME>    The new volume's name

        Options:
              --address <ADDRESS>  The node to ask: `unix:///PATH` or `tcp://IP:PORT` [env: FLOCKER_ADDRESS]
                                   [default: unix:///run/flocker/flocker.sock]
              --at <SNAPSHOT>      One of its snapshots [default: as it is now]
              --json               Print JSON, for programs
          -h, --help               Print help (see more with '--help')

        Examples:
          flocker volume clone shop.data test-data
          flocker volume clone shop.data last-night --at auto-1795340111000-daily
    "#]],
    );
}

#[test]
fn volumes_go_back_to_a_snapshot() {
    check(
        &["volume", "rollback", "photos", "--to", "hourly-1"],
        &expect![[r#"
        volume photos is what it was at hourly-1
        what it was until now is volume photos-before-1795340111000
    "#]],
    );
    check(
        &["volume", "rollback", "photos", "--to", "hourly-1", "--json"],
        &expect![[r#"
        {"kept":{"app":null,"compression":null,"epoch":1,"id":"v-4","name":"photos-before-1795340111000","node":null,"owner":null,"record_size":null,"replicas":[],"reserved":false,"secret":null,"size":1073741824},"snapshot":"hourly-1","volume":"photos"}
    "#]],
    );
    check(
        &["volume", "rollback", "shop.data", "--to", "hourly-1"],
        &expect![[r#"
        stderr: error: app `shop` uses volume `shop.data`
        stderr: hint: `flocker app rm shop` ends it and keeps its volumes; deploy it again afterwards
        exit status: 1
    "#]],
    );
    check(
        &["volume", "rollback", "-h"],
        &expect![[r#"
        Put a volume that no app uses back to a snapshot

        Usage: flocker volume rollback [OPTIONS] --to <SNAPSHOT> <VOLUME>

        Arguments:
          <VOLUME>  The volume

        Options:
              --address <ADDRESS>  The node to ask: `unix:///PATH` or `tcp://IP:PORT` [env: FLOCKER_ADDRESS]
                                   [default: unix:///run/flocker/flocker.sock]
              --to <SNAPSHOT>      One of its snapshots
              --json               Print JSON, for programs
          -h, --help               Print help (see more with '--help')

        Example:
          flocker app rm shop
          flocker volume rollback shop.data --to auto-1795340111000-daily
          flocker app deploy shop.yaml
    "#]],
    );
}
