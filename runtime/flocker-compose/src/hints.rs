//! What to do instead of keys that Compose knows and that are not supported here.

/// For keys of a container (what Compose calls a service).
pub(crate) fn container(key: &str) -> Option<&'static str> {
    Some(match key {
        "build" => "build the image, load it on the nodes or push it, and name it under `image`",
        "configs" | "secrets" => "pass it under `environment`, or put it on a volume",
        "container_name" => {
            "leave it out: containers are named after the app and their key under `services`"
        }
        "cpu_count" | "cpu_percent" | "cpu_period" | "cpu_quota" | "cpu_shares" | "cpuset" => {
            "use `cpus`"
        }
        "deploy" => {
            "use `mem_limit`, `cpus` and `restart` of the container; an app runs once, on one node"
        }
        "env_file" => {
            "write the variables under `environment`; `${NAME}` takes them from where you deploy"
        }
        "expose" => {
            "leave it out: containers of one app reach each other on every port; `ports` is for everybody else"
        }
        "extends" => "use a YAML anchor: `x-base: &base {…}` at the top and `<<: *base` here",
        "hostname" | "domainname" => {
            "leave it out: containers of one app reach each other by their keys under `services`"
        }
        "mem_reservation" | "memswap_limit" | "mem_swappiness" => "use `mem_limit`",
        "networks" | "network_mode" | "dns" | "extra_hosts" => {
            "leave it out: the containers of an app reach each other by name, and other apps through `external_links`"
        }
        "platform" | "runtime" | "devices" | "gpus" => {
            "choose nodes by label: `x-flocker: { placement: { labels: … } }`"
        }
        "privileged" | "cap_add" | "security_opt" | "pid" | "ipc" => {
            "containers that can move run without privileges"
        }
        "profiles" | "scale" => "deploy a second app from a file of its own",
        "stop_signal" => "set it in the image",
        "tmpfs" => "declare a volume and mount it under `volumes`",
        "volumes_from" => "mount the same volume in both containers",
        _ => return None,
    })
}

/// For keys at the top of the file.
pub(crate) fn top(key: &str) -> Option<&'static str> {
    Some(match key {
        "networks" => "leave it out: the containers of an app reach each other by name",
        "configs" | "secrets" => "pass it under `environment`, or put it on a volume",
        "include" => "put all containers of the app into one file",
        _ => return None,
    })
}

/// For keys of a volume.
pub(crate) fn volume(key: &str) -> Option<&'static str> {
    Some(match key {
        "driver" | "driver_opts" => {
            "leave it out: every volume is kept, replicated and moved by flocker"
        }
        "labels" => "leave it out: labels belong to containers",
        _ => return None,
    })
}

/// For keys that have nothing to be used instead.
pub(crate) fn none(_: &str) -> Option<&'static str> {
    None
}
