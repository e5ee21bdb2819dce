//! Published ports: `8080:80`, and the long form.

use std::net::IpAddr;

use flocker_model::{ContainerName, Service, ServiceName};

use crate::{
    hints,
    reader::{Field, Problems},
    yaml::Value,
};

/// A published port and where it stands.
pub(crate) struct Port<'a> {
    pub(crate) field: Field<'a>,
    pub(crate) service: Service,
}

/// The ports of a container, as services named after it.
pub(crate) fn read<'a>(
    field: &Field<'a>,
    container: &ContainerName,
    problems: &mut Problems,
) -> Vec<Port<'a>> {
    let mut ports: Vec<Port<'a>> = Vec::new();
    for item in field.list(problems) {
        let published = if let Value::Map(_) = item.node.value {
            long(&item, problems)
        } else {
            item.read(problems, short)
        };
        let Some(published) = published else { continue };
        let name = match ports.is_empty() {
            true => container.as_str().to_owned(),
            false => format!("{container}-{}", published.port),
        };
        match ServiceName::new(name) {
            Ok(name) => ports.push(Port { field: item, service: published.of(name, container) }),
            Err(e) => {
                problems.push(item.problem(e.to_string()).hint("give the container a shorter name"))
            }
        }
    }
    ports
}

#[derive(Debug, Clone, Copy)]
struct Published {
    host_ip: Option<IpAddr>,
    port: u16,
    container_port: u16,
}

impl Published {
    fn of(self, name: ServiceName, container: &ContainerName) -> Service {
        let Self { host_ip, port, container_port } = self;
        Service { name, container: container.clone(), host_ip, port, container_port }
    }
}

/// `[[HOST_IP:]PORT:]CONTAINER_PORT[/tcp]`. One port alone is published as itself: a port that the machine picks, as
/// Compose has it, would be another one on each node.
fn short(text: &str) -> Result<Published, String> {
    let ports = match text.split_once('/') {
        Some((ports, name)) => {
            protocol(name)?;
            ports
        }
        None => text,
    };
    let (front, container_port) = match ports.rsplit_once(':') {
        None => {
            let port = number(ports)?;
            return Ok(Published { host_ip: None, port, container_port: port });
        }
        Some((front, container_port)) => (front, number(container_port)?),
    };
    match front.rsplit_once(':') {
        None => Ok(Published { host_ip: None, port: number(front)?, container_port }),
        Some((ip, port)) => {
            Ok(Published { host_ip: Some(address(ip)?), port: number(port)?, container_port })
        }
    }
}

fn long(item: &Field<'_>, problems: &mut Problems) -> Option<Published> {
    let mut fields = item.map(problems);
    let (target, published) = (fields.take("target"), fields.take("published"));
    let (ip, kind) = (fields.take("host_ip"), fields.take("protocol"));
    fields.refuse_rest(problems, hints::none);

    let n_problems = problems.len();
    if target.is_none() {
        problems.push(item.problem("`target`, the port in the container, is missing"));
    }
    kind.and_then(|f| f.read(problems, protocol));
    let host_ip = ip.and_then(|f| f.read(problems, address));
    let target = target.and_then(|f| f.read(problems, number));
    let published = published.map_or(target, |f| f.read(problems, number));
    match (target, published) {
        (Some(container_port), Some(port)) if problems.len() == n_problems => {
            Some(Published { host_ip, port, container_port })
        }
        _ => None,
    }
}

fn number(text: &str) -> Result<u16, String> {
    if text.contains('-') {
        return Err(format!("`{text}`: ranges of ports are not supported, name each port"));
    }
    match text.parse() {
        Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
        _ => Err(format!("`{text}` is not a port from 1 to 65535")),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| format!("`{text}` is not an IP address"))
}

fn protocol(text: &str) -> Result<(), String> {
    match text {
        "tcp" => Ok(()),
        "udp" => {
            Err("udp is not supported, only tcp: the proxies cannot hold datagrams during a move"
                .to_owned())
        }
        other => Err(format!("`{other}` is not supported, only tcp")),
    }
}
