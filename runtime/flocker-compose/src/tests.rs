//! Whole files, good and bad.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use flocker_model::{App, AppName, VolumeOptions};
use proptest::prelude::*;

use crate::parse;

/// The only function here that knows how an app is read.
#[track_caller]
fn check(text: &str, want: Expect) {
    let out = match parse(text, Some(&AppName::new("shop").unwrap())) {
        Ok(app) => describe(&app),
        Err(problems) => problems.iter().fold(String::new(), |out, p| out + &format!("{p}\n")),
    };
    want.assert_eq(&out);
}

/// The same, for one container: `body` is what stands under it.
#[track_caller]
fn check_container(body: &str, want: Expect) {
    let body: String = body.lines().map(|line| format!("    {line}\n")).collect();
    check(&format!("services:\n  web:\n    image: i\n{body}volumes: {{ data: }}\n"), want);
}

fn describe(app: &App) -> String {
    let mut out = format!("app {} placement {:?}\n", app.name, app.placement);
    for container in &app.containers {
        // One field a line. The names are those of the model, so nothing that it has can be forgotten here.
        for line in format!("{container:#?}").lines() {
            let is_field =
                line.starts_with("    ") && !line.starts_with("     ") && line.contains(": ");
            let _ = write!(out, "{}{}", if is_field { "\n    " } else { "" }, line.trim());
        }
        out.push('\n');
    }
    for service in &app.services {
        let _ = writeln!(
            out,
            "service {} {} {:?} {}->{}",
            service.name, service.container, service.host_ip, service.port, service.container_port
        );
    }
    for volume in &app.volumes {
        let _ = writeln!(
            out,
            "volume {} {:?} {} {:?}",
            volume.key, volume.source, volume.options.size, volume.owner
        );
        let VolumeOptions { record_size, compression, reserved, secret, .. } = &volume.options;
        if volume.options != volume.options.size.into() {
            let _ = writeln!(out, "  {record_size:?} {compression:?} {reserved} {secret:?}");
        }
    }
    out
}

const FULL: &str = r#"
version: "3.8"
name: other
x-common: &common
  restart: unless-stopped
  labels: [tier=back, plain]
x-flocker:
  placement: { nodes: [n1, n2], labels: { disk: ssd }, pinned: true }
services:
  redis:
    <<: *common
    image: redis:7
    command: redis-server --appendonly yes --save ""
    user: "999:999"
    volumes:
      - data:/data
    healthcheck: { test: [CMD, redis-cli, ping], interval: 1s, timeout: 500ms, retries: 5, start_period: 1m30s }
    stop_grace_period: 30s
    mem_limit: 512m
    cpus: 0.5
    ports: ["6379:6379"]
  web:
    image: example.org/web@sha256:00
    entrypoint: [/bin/web]
    environment: { PORT: 80, DEBUG: true, PRICE: 5$$, EMPTY: "" }
    working_dir: /srv
    depends_on: { redis: { condition: service_healthy } }
    links: ["redis:cache"]
    external_links: [mail, "auth:login"]
    labels: { a: b }
    ports:
      - "127.0.0.1:8080:80"
      - 81
      - { target: 90, published: "9090", host_ip: "::1", protocol: tcp }
    volumes:
      - { type: volume, source: shared, target: /mnt, read_only: true }
volumes:
  data:
    x-flocker: { size: 2GiB, owner: "999:999", profile: postgres, compression: zstd, reserve: true, secret: shop }
  shared:
    external: true
    name: library.books
"#;

#[test]
fn a_full_file_becomes_an_app() {
    check(
        FULL,
        expect![[r#"
            app shop placement PlacementRules { nodes: ["n1", "n2"], labels: {"disk": "ssd"}, pinned: true }
            ContainerSpec {
                name: "redis",
                image: "redis:7",
                entrypoint: None,
                command: Some(["redis-server","--appendonly","yes","--save","",],),
                environment: {},
                user: Some("999:999",),
                working_dir: None,
                mounts: [Mount {volume: "data",path: "/data",read_only: false,},],
                depends_on: [],
                healthcheck: Some(Healthcheck {test: ["redis-cli","ping",],interval: 1s,timeout: 500ms,retries: 5,start_period: 90s,},),
                restart: UnlessStopped,
                stop_grace_period: 30s,
                memory: Some(ByteSize(536870912,),),
                cpu: Some(CpuMillis(500,),),
                labels: {"plain": "","tier": "back",},
                links: [],}
            ContainerSpec {
                name: "web",
                image: "example.org/web@sha256:00",
                entrypoint: Some(["/bin/web",],),
                command: None,
                environment: {"DEBUG": "true","EMPTY": "","PORT": "80","PRICE": "5$",},
                user: None,
                working_dir: Some("/srv",),
                mounts: [Mount {volume: "shared",path: "/mnt",read_only: true,},],
                depends_on: [Dependency {on: "redis",condition: Healthy,},],
                healthcheck: None,
                restart: No,
                stop_grace_period: 10s,
                memory: None,
                cpu: None,
                labels: {"a": "b",},
                links: [Link {alias: "cache",target: Container("redis",),},Link {alias: "mail",target: App("mail",),},Link {alias: "login",target: App("auth",),},],}
            service redis redis None 6379->6379
            service web web Some(127.0.0.1) 8080->80
            service web-81 web None 81->81
            service web-9090 web Some(::1) 9090->90
            volume data Own("shop.data") 2.0 GiB Some((999, 999))
              Some(RecordSize(ByteSize(32768))) Some(Zstd) true Some("shop")
            volume shared External("library.books") 1.0 GiB None
        "#]],
    );
}

#[test]
fn the_least_file_has_the_defaults_of_compose() {
    check(
        "services: { web: { image: nginx } }",
        expect![[r#"
        app shop placement PlacementRules { nodes: [], labels: {}, pinned: false }
        ContainerSpec {
            name: "web",
            image: "nginx",
            entrypoint: None,
            command: None,
            environment: {},
            user: None,
            working_dir: None,
            mounts: [],
            depends_on: [],
            healthcheck: None,
            restart: No,
            stop_grace_period: 10s,
            memory: None,
            cpu: None,
            labels: {},
            links: [],}
    "#]],
    );
}

#[test]
fn the_name_may_stand_in_the_file() {
    assert_eq!(
        parse("name: mine\nservices: { a: { image: i } }", None).unwrap().name.as_str(),
        "mine"
    );
    let missing = parse("services: { a: { image: i } }", None).unwrap_err();
    assert_eq!(missing.len(), 1, "{missing:?}");
    let bad = parse("name: Mine\nservices: { a: { image: i } }", None).unwrap_err();
    assert_eq!(bad.len(), 1, "{bad:?}");
}

#[test]
fn all_problems_are_reported_at_once_with_their_lines() {
    check(
        "services:\n  web:\n    build: .\n    image: [a]\n    ports:\n      - 80-90:80\n      - 53:53/udp\n  Bad:\n    \
         image: i\n    hostname: h\n    depends_on: [nobody]\nvolumes:\n  data:\n    driver: nfs\nnetworks: {}\n",
        expect![[r#"
            compose.yaml:3: services.web.build: `build` is not supported
            hint: build the image, load it on the nodes or push it, and name it under `image`
            compose.yaml:4: services.web.image: a single value is expected here, not a list
            compose.yaml:6: services.web.ports[0]: `80-90`: ranges of ports are not supported, name each port
            compose.yaml:7: services.web.ports[1]: udp is not supported, only tcp: the proxies cannot hold datagrams during a move
            compose.yaml:8: services.Bad: `Bad` is not a valid container name: it must start with a lower-case letter or a digit
            compose.yaml:10: services.Bad.hostname: `hostname` is not supported
            hint: leave it out: containers of one app reach each other by their keys under `services`
            compose.yaml:11: services.Bad.depends_on[0]: there is no container `nobody` in this file
            hint: there are: web, Bad
            compose.yaml:14: volumes.data.driver: `driver` is not supported
            hint: leave it out: every volume is kept, replicated and moved by flocker
            compose.yaml:15: networks: `networks` is not supported
            hint: leave it out: the containers of an app reach each other by name
        "#]],
    );
}

#[test]
fn what_is_not_yaml_is_refused() {
    for (text, want) in [
        (
            "",
            expect![[r#"
            compose.yaml:1: the file is empty
            hint: it needs at least `services:` with one container
        "#]],
        ),
        (
            "services: [",
            expect![[r#"
            compose.yaml:2: this is not valid YAML: while parsing a node, did not find expected node content
        "#]],
        ),
        (
            "just text",
            expect![[r#"
            compose.yaml:1: a mapping (`key: value`) is expected here
            compose.yaml:1: `services` is missing: an app needs at least one container
        "#]],
        ),
        (
            "services:\n  a: { image: i }\nservices: {}",
            expect![[r#"
            compose.yaml:3: `services` is given twice, first on line 1
        "#]],
        ),
        (
            "x-a: &a {}\nservices:\n  a:\n    <<: *a\n    <<: *a\n    image: i",
            expect![[r#"
            compose.yaml:5: `<<` is given twice
            hint: merge several with `<<: [*a, *b]`
        "#]],
        ),
        (
            "services: {}\n---\nservices: {}",
            expect![[r#"
            compose.yaml:3: a second document in the same file
        "#]],
        ),
        (
            "services: !reset {}",
            expect![[r#"
            compose.yaml:1: the YAML tag `!reset` is not supported
        "#]],
        ),
        (
            "services:\n  a: *nowhere",
            expect![[r#"
            compose.yaml:2: this is not valid YAML: while parsing node, found unknown anchor
        "#]],
        ),
        (
            "services:\n  a: &x { image: *x }",
            expect![[r#"
            compose.yaml:2: this alias leads to nothing that stands before it
        "#]],
        ),
    ] {
        check(text, want);
    }
}

#[test]
fn what_is_not_compose_is_refused() {
    for (text, want) in [
        (
            "services:\n  a: 5",
            expect![[r#"
            compose.yaml:2: services.a: a mapping (`key: value`) is expected here
            compose.yaml:2: services.a: `image` is missing
        "#]],
        ),
        (
            "services:\n  a: { image: '${I}' }",
            expect![[r#"
            compose.yaml:2: services.a.image: `${I}` holds a variable that was not resolved
            hint: deploy the file with `flocker app deploy`, which resolves variables, or write `$$` for a `$`
        "#]],
        ),
        (
            "services:\n  ? [a]\n  : { image: i }",
            expect![[r#"
            compose.yaml:2: a key must be text
        "#]],
        ),
    ] {
        check(text, want);
    }
}

#[test]
fn files_without_measure_are_refused() {
    let deep = format!("x-a: {}{}", "[".repeat(5000), "]".repeat(5000));
    check(
        &deep,
        expect![[r#"
        compose.yaml:1: this is not valid YAML: recursion limit exceeded
    "#]],
    );
    let mut laughs = "x-0: &a0 [l, l, l, l, l, l, l, l, l, l]\n".to_owned();
    for n in 1..10 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        let _ = writeln!(laughs, "x-{n}: &a{n} [{aliases}]");
    }
    check(
        &laughs,
        expect![[r#"
            compose.yaml:5: with its aliases the file has more than 20000 values
        "#]],
    );
}

#[test]
fn mounts_other_than_named_volumes_are_refused() {
    check_container(
        "volumes:\n  - ./data:/data\n  - /data\n  - /etc/passwd:/etc/passwd:ro\n  - nowhere:/x\n  - data:x\n  - \
         data:/a/../b\n  - data:/\n  - data:/d:z\n  - { type: bind, source: /a, target: /b }\n  - { type: tmpfs, target: /t }\n  \
         - { type: volume, target: /t }\n  - { type: volume, source: data, target: /t, volume: {nocopy: true} }\n  - \
         data:/twice\n  - data:/twice/:ro",
        expect![[r#"
            compose.yaml:5: services.web.volumes[0]: `./data:/data`: bind mounts are not supported
            hint: declare a volume under `volumes` at the top and mount it by name: data in a folder of one host cannot move
            compose.yaml:6: services.web.volumes[1]: `/data`: volumes without a name are not supported
            hint: declare a volume under `volumes` at the top and mount it by name: data in a folder of one host cannot move
            compose.yaml:7: services.web.volumes[2]: `/etc/passwd:/etc/passwd:ro`: bind mounts are not supported
            hint: declare a volume under `volumes` at the top and mount it by name: data in a folder of one host cannot move
            compose.yaml:8: services.web.volumes[3]: there is no volume `nowhere`
            hint: add `nowhere:` under `volumes` at the top of the file
            compose.yaml:9: services.web.volumes[4]: `x` is not an absolute path
            compose.yaml:10: services.web.volumes[5]: `/a/../b` must not hold `..`
            compose.yaml:11: services.web.volumes[6]: a volume cannot take the place of the container's whole file system
            compose.yaml:12: services.web.volumes[7]: the mount option `z` is not supported, only `ro` and `rw`
            compose.yaml:13: services.web.volumes[8]: mounts of type `bind` are not supported
            hint: declare a volume under `volumes` at the top and mount it by name: data in a folder of one host cannot move
            compose.yaml:14: services.web.volumes[9]: mounts of type `tmpfs` are not supported
            hint: declare a volume under `volumes` at the top and mount it by name: data in a folder of one host cannot move
            compose.yaml:15: services.web.volumes[10]: `source` is missing: volumes without a name are not supported
            hint: declare a volume under `volumes` at the top and mount it by name: data in a folder of one host cannot move
            compose.yaml:16: services.web.volumes[11].volume: `volume` is not supported
            compose.yaml:18: services.web.volumes[13]: `/twice` has a volume already
        "#]],
    );
}

#[test]
fn ports_that_cannot_be_published_are_refused() {
    check_container(
        "ports:\n  - 0\n  - 70000\n  - x:80\n  - 1.2.3:80:80\n  - 80:81/sctp\n  - { published: 80 }\n  - { target: 80, mode: \
         host }\n  - { target: 53, protocol: udp }\n  - 80\n  - 80:90",
        expect![[r#"
            compose.yaml:5: services.web.ports[0]: `0` is not a port from 1 to 65535
            compose.yaml:6: services.web.ports[1]: `70000` is not a port from 1 to 65535
            compose.yaml:7: services.web.ports[2]: `x` is not a port from 1 to 65535
            compose.yaml:8: services.web.ports[3]: `1.2.3` is not an IP address
            compose.yaml:9: services.web.ports[4]: `sctp` is not supported, only tcp
            compose.yaml:10: services.web.ports[5]: `target`, the port in the container, is missing
            compose.yaml:11: services.web.ports[6].mode: `mode` is not supported
            compose.yaml:12: services.web.ports[7].protocol: udp is not supported, only tcp: the proxies cannot hold datagrams during a move
            compose.yaml:13: services.web.ports[8]: port 80 is published already, by `web`
            compose.yaml:14: services.web.ports[9]: port 80 is published already, by `web`
        "#]],
    );
    check(
        "services:\n  a: { image: i, ports: ['80:1', '81:1'] }\n  b: { image: i, ports: ['127.0.0.1:80:2'] }\n  a-81: { \
         image: i, ports: [90] }",
        expect![[r#"
            compose.yaml:3: services.b.ports[0]: port 80 is published already, by `a`
            compose.yaml:4: services.a-81.ports[0]: the service `a-81` exists already, of container `a`
            hint: give one of the containers another name
        "#]],
    );
}

#[test]
fn texts_that_compose_would_change_must_be_quoted() {
    check_container(
        "environment:\n  UMASK: 0022\n  VERSION: 1.10\n  QUOTED: \"0022\"\n  PORT: 8080\nlabels: { since: 2026-11-22 }\n\
         x-of-mine: { any: thing }",
        expect![[r#"
            compose.yaml:5: services.web.environment.UMASK: without quotes, Compose takes `0022` for a number, a truth value or a date, and passes on another text
            hint: write `"0022"`
            compose.yaml:6: services.web.environment.VERSION: without quotes, Compose takes `1.10` for a number, a truth value or a date, and passes on another text
            hint: write `"1.10"`
            compose.yaml:9: services.web.labels.since: without quotes, Compose takes `2026-11-22` for a number, a truth value or a date, and passes on another text
            hint: write `"2026-11-22"`
        "#]],
    );
}

#[test]
fn circles_and_unknown_names_are_refused() {
    check(
        "services:\n  a: { image: i, depends_on: [b] }\n  b: { image: i, links: [c] }\n  c:\n    image: i\n    depends_on: { \
         a: { condition: service_started } }\n  d: { image: i, depends_on: [a] }",
        expect![[r#"
            compose.yaml:2: services.a.depends_on: waits for itself: a → b → c → a
            hint: remove one of these from `depends_on` or `links`
        "#]],
    );
    check(
        "services:\n  a: { image: i, depends_on: [a] }",
        expect![[r#"
        compose.yaml:2: services.a.depends_on: waits for itself: a → a
        hint: remove one of these from `depends_on` or `links`
    "#]],
    );
    check(
        "services:\n  a:\n    image: i\n    links: [x, 'b:b c']\n    external_links: [shop, UP, 'mail:b']\n  b:\n    image: i\n    \
         depends_on:\n      a: { condition: service_healthy, required: false }\n      c: { condition: ready }\n      a2: {}\n",
        expect![[r#"
            compose.yaml:4: services.a.links[0]: there is no container `x` in this file
            hint: there are: a, b
            compose.yaml:4: services.a.links[1]: `b c` cannot be a host name
            compose.yaml:4: services.a.links: `b` leads to two places
            hint: choose another alias: `NAME:ALIAS`
            compose.yaml:5: services.a.external_links[0]: `shop` is this app itself
            hint: use `links`
            compose.yaml:5: services.a.external_links[1]: `UP` is not a valid app name: it must start with a lower-case letter or a digit
            compose.yaml:6: services.b.depends_on.a: `a` has no `healthcheck`, so it never becomes healthy
            hint: give it one, or wait for `service_started`; health checks inside images are not run
            compose.yaml:9: services.b.depends_on.a.required: `required` is not supported
            hint: only `condition` is known here
            compose.yaml:10: services.b.depends_on.c.condition: `ready` is not `service_started`, `service_healthy` or `service_completed_successfully`
            compose.yaml:10: services.b.depends_on.c: there is no container `c` in this file
            hint: there are: a, b
            compose.yaml:11: services.b.depends_on.a2: there is no container `a2` in this file
            hint: there are: a, b
        "#]],
    );
}

#[test]
fn values_that_make_no_sense_are_refused() {
    check_container(
        "command: a | b\nentrypoint: { a: b }\nenvironment: [A, =x, B=1, B=2]\nhealthcheck: { interval: 0s, timeout: \
         soon, retries: 0, start_interval: 1s }\nrestart: sometimes\nstop_grace_period: 10\nuser: ''\nworking_dir: \
         srv\nmem_limit: lots\ncpus: 0\nlabels: 7\nx-flocker: {}",
        expect![[r#"
            compose.yaml:4: services.web.command: `|` needs a shell, and none runs here
            hint: quote it, or write a list: `["sh", "-c", "…"]`
            compose.yaml:5: services.web.entrypoint: a single value is expected here, not a mapping
            compose.yaml:6: services.web.environment[0]: `A` has no value
            hint: `${A}` takes it from where you deploy, `""` leaves it empty
            compose.yaml:6: services.web.environment[1]: `` cannot be a name
            compose.yaml:6: services.web.environment[3]: `B` is given twice
            compose.yaml:7: services.web.healthcheck.interval: `0s` is no time at all
            compose.yaml:7: services.web.healthcheck.timeout: `soon` is not a duration such as `1m30s` or `500ms`
            compose.yaml:7: services.web.healthcheck.retries: `0` is not a number of failures from 1
            compose.yaml:7: services.web.healthcheck.start_interval: `start_interval` is not supported
            compose.yaml:7: services.web.healthcheck: `test`, the command that checks, is missing
            compose.yaml:8: services.web.restart: `sometimes` is not `no`, `always`, `on-failure`, `on-failure:5` or `unless-stopped`
            compose.yaml:9: services.web.stop_grace_period: `10` is not a duration such as `1m30s` or `500ms`
            compose.yaml:10: services.web.user: `` is not a user, such as `redis` or `999:999`
            compose.yaml:11: services.web.working_dir: `srv` is not an absolute path
            compose.yaml:12: services.web.mem_limit: `lots` is not a size such as `512m` or `10GiB`
            compose.yaml:13: services.web.cpus: `0` is not a number of CPUs such as `0.5`, from 0.001 to 10000
            compose.yaml:14: services.web.labels: a mapping (`key: value`) is expected here
            compose.yaml:15: services.web.x-flocker: `x-flocker` is not supported
        "#]],
    );
    check(
        "x-flocker: { placement: { nodes: [N1], where: x, pinned: maybe }, size: 1g }\nservices:\n  a: { image: 'i \
         j' }\nvolumes:\n  ok: { name: other }\n  UP:\n  big: { x-flocker: { size: 0, owner: redis, mode: 7, profile: fast, record_size: 3k } }\n  ext: { \
         external: true, x-flocker: { size: 1g } }\n  ext2: { external: true, name: ext }",
        expect![[r#"
            compose.yaml:1: x-flocker.placement.nodes[0]: `N1` is not a valid node name: it must start with a lower-case letter or a digit
            compose.yaml:1: x-flocker.placement.pinned: `maybe` is not `true` or `false`
            compose.yaml:1: x-flocker.placement.where: `where` is not supported
            hint: `nodes`, `labels` and `pinned` are known here
            compose.yaml:1: x-flocker.size: `size` is not supported
            hint: `placement` is known here; `size` and `owner` belong to a volume
            compose.yaml:3: services.a.image: `i j` is not the name of an image
            compose.yaml:5: volumes.ok.name: only an external volume can be given a name
            hint: leave it out: volumes are named `APP.KEY`; for one that exists already, add `external: true`
            compose.yaml:6: volumes.UP: `UP` is not a valid volume name: it must start with a lower-case letter or a digit
            compose.yaml:7: volumes.big.x-flocker.size: 0 bytes hold nothing
            compose.yaml:7: volumes.big.x-flocker.owner: `redis` is not a user and a group by number, such as `999:999`
            compose.yaml:7: volumes.big.x-flocker.profile: `fast` is not a profile: `general`, `postgres`, `mysql`, `media` or `archive`
            compose.yaml:7: volumes.big.x-flocker.record_size: `3.0 KiB` is not a record size: a power of two from 4KiB to 1MiB
            compose.yaml:7: volumes.big.x-flocker.mode: `mode` is not supported
            hint: `size`, `owner`, `profile`, `record_size`, `compression`, `reserve` and `secret` are known here
            compose.yaml:8: volumes.ext.x-flocker: an external volume has all of this already
            hint: leave `x-flocker` out here
            compose.yaml:9: volumes.ext2: this is the same volume as `ext`
        "#]],
    );
}

#[test]
fn restart_and_health_checks_have_their_short_forms() {
    for (body, want) in [
        ("restart: 'no'", "restart: No"),
        ("restart: no", "restart: No"),
        ("restart: always", "restart: Always"),
        ("restart: on-failure", "retries_max: None"),
        ("restart: on-failure:3", "retries_max: Some"),
        ("healthcheck: { disable: true }", "healthcheck: None"),
        ("healthcheck: { test: [NONE] }", "healthcheck: None"),
        ("healthcheck: { test: NONE }", "healthcheck: None"),
        ("healthcheck: { test: curl x }", "\"curl x\""),
        ("healthcheck: { test: [CMD-SHELL, curl y] }", "\"curl y\""),
        ("command:", "command: None"),
        ("command: []", "command: Some([],)"),
    ] {
        let text = format!("name: a\nservices:\n  web:\n    image: i\n    {body}\n");
        let app = parse(&text, None).unwrap_or_else(|e| panic!("{body}: {e:?}"));
        assert!(describe(&app).contains(want), "{body}: {}", describe(&app));
    }
}

#[test]
fn files_that_are_too_long_are_refused() {
    let many: String = (0..101).map(|n| format!("  c{n}: {{ image: i }}\n")).collect();
    for text in [" ".repeat(crate::TEXT_MAX + 1), format!("name: a\nservices:\n{many}")] {
        let problems = parse(&text, None).unwrap_err();

        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A good file with a few characters changed, removed or put in.
    #[test]
    fn no_damaged_file_panics(
        edits in prop::collection::vec((0..FULL.len(), 0..3usize, "[\\-a-z0-9:{}\\[\\]&*#'\" $\n|>!?,.%@`]{0,3}"), 1..6),
    ) {
        let mut text = FULL.to_owned();
        for (at, drop, put) in edits {
            let at = at.min(text.len());
            text.replace_range(at..(at + drop).min(text.len()), &put);
        }
        if let Err(problems) = parse(&text, None) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|p| p.line > 0), "{problems:?}");
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse(&text, None);
    }

    #[test]
    fn no_soup_of_yaml_panics(text in "[a-c0-9:{}\\[\\]&*#'\" \n|>!?,.%@\\-\t]{0,80}") {
        let _ = parse(&text, None);
    }
}
