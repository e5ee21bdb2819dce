//! What two proxies say to each other before they relay: a PROXY protocol v2 header one way, one status frame back.
//! Bytes in, values out; no I/O.
//!
//! The header is a plain PROXY v2 header (TCP over IPv4 or IPv6, command PROXY) with the client's address as source and
//! the address that the client connected to as destination. Two TLVs of the range for custom use are required:
//!
//! | type | value |
//! |---|---|
//! | `0xE0` | the service: `APP/SERVICE`, ASCII |
//! | `0xE1` | the epoch under which the sender was told to lead there: 8 bytes, big endian |
//!
//! The status frame has eight bytes: `flkr`, version 1, the code (0 ok, 1 moved, 2 unavailable), two zeros. Not a byte
//! of the client's follows the header before the code was `ok`; so a sender that hears anything else has lost nothing
//! and may try elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use flocker_model::{AppName, Epoch, ServiceKey, ServiceName};

/// The longest header that is read: the spec's 536 bytes, which fit one packet on every network. Ours have 230 at most.
pub const HEADER_MAX: usize = 536;
/// The length of a status frame.
pub const ANSWER_LENGTH: usize = 8;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;
const VERSION_2_COMMAND_PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const TLV_SERVICE: u8 = 0xE0;
const TLV_EPOCH: u8 = 0xE1;
const ANSWER_PREFIX: [u8; 5] = *b"flkr\x01";

/// A connection that one node hands to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The client.
    pub client: SocketAddr,
    /// What the client connected to.
    pub listener: SocketAddr,
    /// What it wants.
    pub service: ServiceKey,
    /// The epoch of the route that led here.
    pub epoch: Epoch,
}

/// What the other node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The app is connected; bytes follow.
    Ok,
    /// It is not here under that epoch: one of the two tables is old.
    Moved,
    /// It belongs here, but does not answer at the moment.
    Unavailable,
}

/// Why bytes are no header or no answer of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not PROXY protocol v2 at all.
    #[error("it does not start with the signature of PROXY protocol v2")]
    Signature,
    /// A version, command or family that we do not speak.
    #[error("it is not a PROXY v2 header for a TCP connection")]
    Unsupported,
    /// It says that it is longer than any of ours.
    #[error("the header is longer than {HEADER_MAX} bytes")]
    TooLong,
    /// Its parts do not fit into its length.
    #[error("the header's parts do not add up to its length")]
    Malformed,
    /// No service or epoch, two of them, or one that cannot be one.
    #[error("the header does not name exactly one service and one epoch")]
    Service,
    /// The status frame is none.
    #[error("the answer is not a status frame of version 1")]
    Answer,
}

impl Header {
    /// The header as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (client, listener) = (canonical(self.client), canonical(self.listener));
        let mut body = Vec::with_capacity(FIXED + 36 + 130);
        let family = match (client.ip(), listener.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                body.extend(source.octets());
                body.extend(destination.octets());
                TCP_OVER_IPV4
            }
            (source, destination) => {
                body.extend(mapped(source).octets());
                body.extend(mapped(destination).octets());
                TCP_OVER_IPV6
            }
        };
        body.extend(client.port().to_be_bytes());
        body.extend(listener.port().to_be_bytes());
        put_tlv(&mut body, TLV_SERVICE, self.service.to_string().as_bytes());
        put_tlv(&mut body, TLV_EPOCH, &self.epoch.0.to_be_bytes());

        let mut bytes = Vec::with_capacity(FIXED + body.len());
        bytes.extend(SIGNATURE);
        bytes.extend([VERSION_2_COMMAND_PROXY, family]);
        bytes.extend(length(&body));
        bytes.extend(body);
        bytes
    }

    /// Reads a header from the front of `bytes`: it and its length, or `None` while more bytes are needed.
    ///
    /// # Errors
    /// [`WireError`] as soon as it is certain that these bytes will never become one.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, WireError> {
        let seen = bytes.len().min(SIGNATURE.len());
        if bytes[..seen] != SIGNATURE[..seen] {
            return Err(WireError::Signature);
        }
        let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
        let [.., command, family, high, low] = *fixed;
        if command != VERSION_2_COMMAND_PROXY {
            return Err(WireError::Unsupported);
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        if FIXED + length > HEADER_MAX {
            return Err(WireError::TooLong);
        }
        let Some(mut body) = rest.get(..length) else { return Ok(None) };
        let (client, listener) = take_addresses(&mut body, family)?;
        let (service, epoch) = take_tlvs(body)?;
        Ok(Some((Self { client, listener, service, epoch }, FIXED + length)))
    }
}

impl Answer {
    /// The answer as bytes.
    #[must_use]
    pub fn encode(self) -> [u8; ANSWER_LENGTH] {
        let code = match self {
            Self::Ok => 0,
            Self::Moved => 1,
            Self::Unavailable => 2,
        };
        let mut bytes = [0; ANSWER_LENGTH];
        bytes[..ANSWER_PREFIX.len()].copy_from_slice(&ANSWER_PREFIX);
        bytes[ANSWER_PREFIX.len()] = code;
        bytes
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`WireError::Answer`] when these bytes are none.
    pub fn decode(bytes: [u8; ANSWER_LENGTH]) -> Result<Self, WireError> {
        [Self::Ok, Self::Moved, Self::Unavailable]
            .into_iter()
            .find(|answer| answer.encode() == bytes)
            .ok_or(WireError::Answer)
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Everything that is put into a header is shorter than 200 bytes, as names are.
fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}

fn put_tlv(body: &mut Vec<u8>, kind: u8, value: &[u8]) {
    body.push(kind);
    body.extend(length(value));
    body.extend(value);
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], WireError> {
    let (taken, rest) = bytes.split_first_chunk::<N>().ok_or(WireError::Malformed)?;
    *bytes = rest;
    Ok(*taken)
}

fn take_addresses(body: &mut &[u8], family: u8) -> Result<(SocketAddr, SocketAddr), WireError> {
    let (client, listener) = match family {
        TCP_OVER_IPV4 => {
            (IpAddr::from(Ipv4Addr::from(take::<4>(body)?)), IpAddr::from(take::<4>(body)?))
        }
        TCP_OVER_IPV6 => {
            (IpAddr::from(Ipv6Addr::from(take::<16>(body)?)), IpAddr::from(take::<16>(body)?))
        }
        _ => return Err(WireError::Unsupported),
    };
    let client = SocketAddr::new(client, u16::from_be_bytes(take(body)?));
    let listener = SocketAddr::new(listener, u16::from_be_bytes(take(body)?));
    Ok((canonical(client), canonical(listener)))
}

/// TLVs of other types are skipped, as the specification wants: a later version of ours may send more.
fn take_tlvs(mut body: &[u8]) -> Result<(ServiceKey, Epoch), WireError> {
    let (mut service, mut epoch) = (None, None);
    while !body.is_empty() {
        let [kind, high, low] = take(&mut body)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = body.split_at_checked(length).ok_or(WireError::Malformed)?;
        body = rest;
        let again = match kind {
            TLV_SERVICE => service.replace(read_service(value)?).is_some(),
            TLV_EPOCH => epoch.replace(read_epoch(value)?).is_some(),
            _ => false,
        };
        if again {
            return Err(WireError::Service);
        }
    }
    service.zip(epoch).ok_or(WireError::Service)
}

fn read_service(value: &[u8]) -> Result<ServiceKey, WireError> {
    let text = str::from_utf8(value).map_err(|_| WireError::Service)?;
    let (app, service) = text.split_once('/').ok_or(WireError::Service)?;
    Ok(ServiceKey {
        app: AppName::new(app).map_err(|_| WireError::Service)?,
        service: ServiceName::new(service).map_err(|_| WireError::Service)?,
    })
}

fn read_epoch(value: &[u8]) -> Result<Epoch, WireError> {
    let bytes: [u8; 8] = value.try_into().map_err(|_| WireError::Service)?;
    Ok(Epoch(u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addresses() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>())
            .prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
    }

    prop_compose! {
        fn headers()(
            client in addresses(),
            listener in addresses(),
            app in "[a-z0-9][a-z0-9_-]{0,39}",
            service in "[a-z0-9][a-z0-9._-]{0,62}",
            epoch in any::<u64>(),
        ) -> Header {
            let service = ServiceKey { app: AppName::new(app).unwrap(), service: ServiceName::new(service).unwrap() };
            Header { client, listener, service, epoch: Epoch(epoch) }
        }
    }

    fn sample() -> Header {
        Header {
            client: "192.0.2.1:5000".parse().unwrap(),
            listener: "192.0.2.9:6379".parse().unwrap(),
            service: ServiceKey {
                app: AppName::new("shop").unwrap(),
                service: ServiceName::new("redis").unwrap(),
            },
            epoch: Epoch(7),
        }
    }

    /// The sample with its body changed and its length made right again.
    fn altered(alter: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = sample().encode();
        let mut body = bytes.split_off(FIXED);
        alter(&mut body);
        bytes[14..].copy_from_slice(&length(&body));
        bytes.extend(body);
        bytes
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_not_a_byte_more(header in headers(), after in any::<Vec<u8>>()) {
            let mut bytes = header.encode();
            let length = bytes.len();
            prop_assert!(length <= HEADER_MAX);
            bytes.extend(after);

            prop_assert_eq!(Header::decode(&bytes), Ok(Some((header, length))));
        }

        #[test]
        fn every_part_of_a_header_asks_for_more(header in headers(), cut in any::<prop::sample::Index>()) {
            let bytes = header.encode();

            prop_assert_eq!(Header::decode(&bytes[..cut.index(bytes.len())]), Ok(None));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), header in headers(), at in any::<prop::sample::Index>(), value: u8) {
            let _ = Header::decode(&bytes);
            let mut damaged = header.encode();
            let at = at.index(damaged.len());
            damaged[at] = value;
            if let Ok(Some((_, length))) = Header::decode(&damaged) {
                prop_assert!(length <= damaged.len());
            }
        }

        #[test]
        fn only_status_frames_are_answers(bytes in any::<[u8; ANSWER_LENGTH]>()) {
            if let Ok(answer) = Answer::decode(bytes) {
                prop_assert_eq!(answer.encode(), bytes);
            }
        }
    }

    #[test]
    fn every_answer_is_read_as_it_was_written() {
        for answer in [Answer::Ok, Answer::Moved, Answer::Unavailable] {
            assert_eq!(Answer::decode(answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn foreign_bytes_are_refused_at_the_first_that_differs() {
        assert_eq!(Header::decode(b"G"), Err(WireError::Signature));
        assert_eq!(
            Header::decode(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
            Err(WireError::Signature)
        );
    }

    #[test]
    fn a_header_of_another_kind_is_refused() {
        let mut local = sample().encode();
        local[12] = 0x20;
        assert_eq!(Header::decode(&local), Err(WireError::Unsupported), "command LOCAL");
        let mut datagram = sample().encode();
        datagram[13] = 0x12;
        assert_eq!(Header::decode(&datagram), Err(WireError::Unsupported), "UDP");
        let mut endless = sample().encode();
        endless[14..16].copy_from_slice(&[0xFF, 0xFF]);
        assert_eq!(Header::decode(&endless), Err(WireError::TooLong), "64 KiB");
    }

    #[test]
    fn a_header_without_exactly_our_tlvs_is_refused() {
        let addresses = 12;
        assert_eq!(
            Header::decode(&altered(|body| body.truncate(addresses))),
            Err(WireError::Service),
            "none"
        );
        assert_eq!(
            Header::decode(&altered(|body| body.truncate(addresses - 1))),
            Err(WireError::Malformed),
            "half"
        );
        let twice = altered(|body| put_tlv(body, TLV_EPOCH, &[0; 8]));
        assert_eq!(Header::decode(&twice), Err(WireError::Service), "two epochs");
        let overlong = altered(|body| body.extend([0x04, 0, 9, 0]));
        assert_eq!(
            Header::decode(&overlong),
            Err(WireError::Malformed),
            "a TLV longer than the header"
        );
    }

    #[test]
    fn a_tlv_that_is_not_ours_is_skipped() {
        let bytes = altered(|body| put_tlv(body, 0x04, &[0; 20]));

        assert_eq!(Header::decode(&bytes).unwrap().unwrap().0, sample());
    }
}
