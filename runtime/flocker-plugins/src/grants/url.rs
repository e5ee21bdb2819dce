//! Which URLs a grant permits, and which addresses may stand behind its host's name.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use url::{Host, Position, Url};

/// `SCHEME://HOST[:PORT][/PATH]`: all URLs there, the path's own subpaths included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlGrant(Url);

impl fmt::Display for UrlGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl UrlGrant {
    /// Reads what an operator wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = read(text)?;
        if url.query().is_some() {
            return Err("it has a query; a grant ends with a path");
        }
        Ok(Self(url))
    }

    /// Whether the URL is at the granted place: same scheme, host and port, and the path or one below.
    pub(crate) fn permits(&self, asked: &Url) -> bool {
        let place = |url: &Url| url[..Position::BeforePath].to_owned();
        let top = self.0.path().trim_end_matches('/');
        let below = asked.path().strip_prefix(top);
        place(&self.0) == place(asked)
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether its server has to prove who it is, by this host's name.
    pub(crate) fn is_proved_by(&self, host: &str) -> bool {
        self.0.scheme() == "https" && self.0.host_str() == Some(host)
    }

    /// Whether a connection to this address, which the host's name led to, is what the operator meant: a name in public
    /// must not lead into the private network, where nobody expects a plugin.
    pub(crate) fn may_reach(&self, address: IpAddr) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(granted)) => address == granted,
            Some(Host::Ipv6(granted)) => address == granted,
            Some(Host::Domain("localhost")) => address.is_loopback(),
            Some(Host::Domain(_)) => is_public(address),
            None => false,
        }
    }
}

/// `HOST:/PATH`: the host as URLs write it, and what comes after it.
pub(crate) fn host_and_path(text: &str) -> Result<(String, &str), &'static str> {
    let (host, _) = text.split_once(":/").ok_or("it has no host and path")?;
    let url = read(&format!("https://{host}/"))?;
    if url.port().is_some() || url.path() != "/" || url.query().is_some() {
        return Err("it is `ca=HOST:/PATH`, without a port");
    }
    let path = &text[host.len() + 1..];
    Ok((url.host_str().unwrap_or_default().to_owned(), path))
}

/// Reads a URL that can mean one thing only, for us and for the server: what is read differently by different programs
/// is refused.
pub(crate) fn read(text: &str) -> Result<Url, &'static str> {
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
        return Err("it has a space, a control character or a `\\`");
    }
    let path = text.split(['?', '#']).next().unwrap_or(text);
    let is_dots = |step: &str| matches!(step.split(';').next(), Some("." | ".."));
    if path.split('/').any(is_dots) {
        return Err("its path has a step `.` or `..`");
    }
    let lower = path.to_ascii_lowercase();
    if ["%2e", "%2f", "%5c", "%25", "%00"].iter().any(|code| lower.contains(code)) {
        return Err("its path has an encoded `.`, `/`, `\\`, `%` or NUL");
    }
    let url = Url::parse(text).map_err(|_| "it is no URL")?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("it does not begin with `http://HOST` or `https://HOST`");
    }
    if !url.username().is_empty() || url.password().is_some() || path.contains('@') {
        return Err("it has a user or an `@`; secrets go into headers");
    }
    if url.fragment().is_some() {
        return Err("it has a fragment");
    }
    Ok(url)
}

/// Whether an address is one of the whole internet's.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = (a, b, c) == (192, 0, 0);
    let benchmarks = a == 198 && (18..20).contains(&b);
    !(a == 0
        || a >= 224
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || shared
        || protocols
        || benchmarks)
}

/// Global unicast, and no way of writing an address of the older kind that is not public.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    match (a, b, c, d, e, f) {
        (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),
        (0x2002, ..) => v4(b, c),
        // Teredo and other things of the registry, and documentation.
        (0x2001, 0..0x200 | 0xdb8, ..) | (0x3fff, 0..0x1000, ..) => false,
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(grant: &str, asked: &str) -> bool {
        let grant = UrlGrant::parse(grant).unwrap();
        read(asked).is_ok_and(|url| grant.permits(&url))
    }

    #[test]
    fn only_what_is_below_the_granted_url_is_permitted() {
        let grant = "https://array.example:8443/api";
        for asked in ["/api", "/api/", "/api/v1/volumes?after=a/../b", "/api/a%20b"] {
            assert!(permits(grant, &format!("https://array.example:8443{asked}")), "{asked}");
        }
        for asked in [
            "http://array.example:8443/api",
            "https://array.example/api",
            "https://array.example:8444/api",
            "https://other.example:8443/api",
            "https://array.example.evil.example:8443/api",
            "https://array.example:8443@evil.example/api",
            "https://root@array.example:8443/api",
            "https://:@array.example:8443/api",
            "https://array.example:8443/apis",
            "https://array.example:8443/",
            "https://array.example:8443/api/../admin",
            "https://array.example:8443/api/./x",
            "https://array.example:8443/api/..;x/admin",
            "https://array.example:8443/api/%2e%2E/admin",
            "https://array.example:8443/api/..%2fadmin",
            "https://array.example:8443/api/%252e%252e/admin",
            "https://array.example:8443/api\\..\\admin",
            "https://array.example:8443/api\r\nhost: x",
            "https://array.example:8443/api#x",
            "https:array.example:8443/api/../x",
            "file:///api",
            "/api",
        ] {
            assert!(!permits(grant, asked), "{asked}");
        }
        assert!(permits("http://array.example", "http://array.example:80/all"));
        assert!(UrlGrant::parse("http://array.example/?a=b").is_err());
    }

    #[test]
    fn a_name_leads_to_public_addresses_only() {
        let name = UrlGrant::parse("http://array.example").unwrap();
        for address in ["93.184.215.14", "2606:2800:21f:cb07::1", "2002:5db8:d70e::1"] {
            assert!(name.may_reach(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "127.1.2.3",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2002:7f00:1::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "2001::1",
            "2001:db8::1",
        ] {
            assert!(!name.may_reach(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_address_that_the_operator_named_is_reached_and_no_other() {
        for (grant, address, other) in [
            ("http://10.1.2.3:8080/api", "10.1.2.3", "10.1.2.4"),
            ("http://[fd00::1]/", "fd00::1", "fd00::2"),
            ("http://localhost:1", "127.0.0.1", "10.0.0.1"),
            ("http://localhost:1", "::1", "93.184.215.14"),
            // One of its many spellings.
            ("http://0x7f.1/", "127.0.0.1", "127.0.0.2"),
        ] {
            let grant = UrlGrant::parse(grant).unwrap();
            assert!(grant.may_reach(address.parse().unwrap()), "{grant} {address}");
            assert!(!grant.may_reach(other.parse().unwrap()), "{grant} {other}");
        }
    }
}
