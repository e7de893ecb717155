//! Values of flags and keys. Each parses from its text and says in one line what it expects, so that a flag and a
//! key of the configuration file accept the same and fail with the same words.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::event::{Protocol, words};
use crate::proxy::settings::TlsVersion;

words! {
    /// Whether messages are hashed.
    Hash {
        /// They are not.
        None = "none",
        /// With SHA-256.
        Message = "message",
    }
}

/// What to expect on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// The server's port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
}

impl FromStr for PortMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (port, name) = text.split_once('=').ok_or("expected PORT=PROTOCOL, such as 2525=smtp")?;
        let port = port.parse().ok().filter(|p| *p > 0).ok_or("the port is a number from 1 to 65535")?;
        let protocol = name.parse().ok().filter(|p| *p != Protocol::Unknown);
        let protocol = protocol.ok_or("the protocol is one of smtp, lmtp, pop3, imap, managesieve")?;
        Ok(Self { port, protocol })
    }
}

/// The oldest version of TLS that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsMinimum(pub TlsVersion);

impl FromStr for TlsMinimum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Records have it as `TLSv1.2`, OpenSSL's command line as `1.2`.
        let number = text.trim_start_matches(['T', 'L', 'S', 't', 'l', 's', 'v', 'V']);
        number.parse().map(Self).map_err(|_| "expected 1.2 or 1.3".to_owned())
    }
}

/// A number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<const MIN: u32 = 0, const MAX: u32 = { u32::MAX }>(u32);

impl<const MIN: u32, const MAX: u32> Number<MIN, MAX> {
    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<const MIN: u32, const MAX: u32> FromStr for Number<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse::<u32>().ok().filter(|number| (MIN..=MAX).contains(number));
        number.map(Self).ok_or_else(|| format!("expected a number from {MIN} to {MAX}"))
    }
}

/// A mark of packets (`SO_MARK`), decimal or hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketMark(pub u32);

impl FromStr for PacketMark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mark = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u32::from_str_radix(hex, 16));
        mark.map(Self).map_err(|_| "expected a number, decimal or hexadecimal with 0x, below 2^32".into())
    }
}

/// Permissions of a file, octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl FromStr for FileMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777 && digits.len() >= 3);
        // Without its owner's right to write, the log could not be opened a second time.
        let mode = mode.filter(|mode| mode & 0o600 == 0o600);
        mode.map(Self)
            .ok_or_else(|| "expected octal permissions with which the owner may read and write, such as 0640".into())
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WRONG: &str = "expected a number with an optional unit: B, kB, MB, GB, KiB, MiB, GiB";
        let (number, unit) = number_and_unit(text).ok_or(WRONG)?;
        let unit: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            _ => return Err(WRONG.into()),
        };
        let bytes = number.checked_mul(unit);
        bytes.filter(|bytes| *bytes > 0).map(Self).ok_or_else(|| "expected more than 0 and less than 16 EiB".into())
    }
}

/// A time, or `None` for `off`: without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOrOff(pub Option<Duration>);

impl FromStr for TimeOrOff {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WRONG: &str = "expected a number with a unit: ms, s, m, h, d; or `off`";
        if text == "off" {
            return Ok(Self(None));
        }
        let (number, unit) = number_and_unit(text).ok_or(WRONG)?;
        let unit: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(WRONG.into()),
        };
        let millis = number.checked_mul(unit).filter(|millis| (1..=365 * 86_400_000).contains(millis));
        millis.map(|m| Self(Some(Duration::from_millis(m)))).ok_or_else(|| "expected from 1ms to 365d, or `off`".into())
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// An address to listen on, for anybody: `ADDR:PORT`, or a port alone for all addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        no_unix_socket(text)?;
        let port = port_alone(text).filter(|port| *port > 0);
        let any = port.map(|port| SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
        any.or_else(|| text.parse().ok())
            .map(Self)
            .ok_or_else(|| "expected ADDR:PORT, [ADDR]:PORT for IPv6, or :PORT for all addresses".into())
    }
}

/// An address to listen on, for programs on this host unless told otherwise: `ADDR:PORT`, or a port alone for loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddress(pub SocketAddr);

impl FromStr for LocalAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let loopback = port_alone(text).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let address = loopback.or_else(|| text.parse().ok());
        address.map(Self).ok_or_else(|| "expected ADDR:PORT, [ADDR]:PORT for IPv6, or a port".into())
    }
}

fn port_alone(text: &str) -> Option<u16> {
    text.strip_prefix(':').unwrap_or(text).parse().ok()
}

/// A server: a name or an address, and its port; 0 if none was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAddress {
    /// A name or an address.
    pub host: String,
    /// 0: the port that the client connected to.
    pub port: u16,
}

impl FromStr for UpstreamAddress {
    type Err = String;

    /// `HOST`, `HOST:PORT`, `ADDR`, `[ADDR]:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        const WRONG: &str = "expected HOST, HOST:PORT, ADDR:PORT or [ADDR]:PORT";
        no_unix_socket(text)?;
        if let Ok(address) = text.parse::<SocketAddr>() {
            let port = Some(address.port()).filter(|port| *port > 0).ok_or(WRONG)?;
            return Ok(Self { host: address.ip().to_string(), port });
        }
        if let Some((ip, port)) = ipv6_and_number(text) {
            return Err(format!(
                "is {port} the port, or part of the address? write [{ip}]:{port} for the port, [{text}] for the address"
            ));
        }
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let ip = match bracketed {
            Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::from),
            None => text.parse::<IpAddr>(),
        };
        if let Ok(ip) = ip {
            return Ok(Self { host: ip.to_string(), port: 0 });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0).ok_or(WRONG)?),
            None => (text, 0),
        };
        let is_name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        if is_name { Ok(Self { host: host.to_owned(), port }) } else { Err(WRONG.into()) }
    }
}

/// What looks like an IPv6 address and a port behind it, without the brackets that would tell them apart.
fn ipv6_and_number(text: &str) -> Option<(Ipv6Addr, u16)> {
    let (ip, port) = text.rsplit_once(':')?;
    Some((ip.parse().ok()?, port.parse().ok().filter(|port| *port > 0)?))
}

/// Says so if `text` is the path of a Unix socket, as Postfix and Dovecot write them.
fn no_unix_socket(text: &str) -> Result<(), String> {
    let path = text.strip_prefix("lmtp:").unwrap_or(text);
    if path.starts_with("unix:") || path.starts_with('/') {
        return Err("Unix sockets are not supported yet; give an address and a port".into());
    }
    Ok(())
}

/// Name of a host, without a port; in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(pub String);

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        let wrong = "expected the name of a host such as mailtap.example.org, without a port";
        if is_name { Ok(Self(name.to_ascii_lowercase())) } else { Err(wrong.into()) }
    }
}

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| "expected a network such as 192.0.2.0/24, or an address".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("1", 1), ("10kB", 10_000), ("64MiB", 64 << 20), ("2 GiB", 2 << 30), ("3m", 3 << 20)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "0", "MiB", "-1", "1.5GB", "9parsecs", "99999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units_or_are_off() {
        for (text, millis) in [("1ms", Some(1)), ("2s", Some(2000)), ("3 m", Some(180_000)), ("off", None)] {
            assert_eq!(text.parse(), Ok(TimeOrOff(millis.map(Duration::from_millis))), "{text}");
        }
        for text in ["", "0s", "1", "-1s", "366d", "off2"] {
            assert!(text.parse::<TimeOrOff>().is_err(), "{text}");
        }
    }

    #[test]
    fn port_mappings_name_a_protocol() {
        assert_eq!("2525=smtp".parse(), Ok(PortMapping { port: 2525, protocol: Protocol::Smtp }));
        for text in ["2525", "0=smtp", "70000=smtp", "25=unknown", "25=SMTP"] {
            assert!(text.parse::<PortMapping>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_keep_to_their_range() {
        assert_eq!("16".parse::<Number<16>>().map(Number::get), Ok(16));
        for text in ["15", "", "-1", "4294967296", "1e3"] {
            assert_eq!(text.parse::<Number<16>>(), Err("expected a number from 16 to 4294967295".into()), "{text}");
        }
        assert_eq!(("0x6d74".parse(), "28020".parse()), (Ok(PacketMark(0x6d74)), Ok(PacketMark(28020))));
    }

    #[test]
    fn addresses_may_leave_out_the_host() {
        assert_eq!(":25".parse(), Ok(ListenAddress("[::]:25".parse().unwrap())));
        assert_eq!("127.0.0.1:25".parse(), Ok(ListenAddress("127.0.0.1:25".parse().unwrap())));
        assert_eq!("9325".parse(), Ok(LocalAddress("127.0.0.1:9325".parse().unwrap())));
        for text in ["", ":0", "localhost:25", "::1:25"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn servers_are_names_or_addresses() {
        let upstream = |host: &str, port| Ok(UpstreamAddress { host: host.into(), port });
        assert_eq!("mx.example.org".parse(), upstream("mx.example.org", 0));
        assert_eq!("mx.example.org:25".parse(), upstream("mx.example.org", 25));
        assert_eq!("[2001:db8::1]:1143".parse(), upstream("2001:db8::1", 1143));
        assert_eq!("2001:db8::1".parse(), upstream("2001:db8::1", 0));
        for text in ["", ":25", "mx:0", "mx:70000", "m x", "http://mx"] {
            assert!(text.parse::<UpstreamAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_ipv6_address_with_a_port_needs_brackets() {
        let wrong = |text: &str| text.parse::<UpstreamAddress>().unwrap_err();
        assert_eq!(
            wrong("2001:db8::1:25"),
            "is 25 the port, or part of the address? write [2001:db8::1]:25 for the port, [2001:db8::1:25] for the address"
        );
        for text in ["::1:25", "::ffff:192.0.2.1:25", "2001:db8:0:0:0:0:0:1:25", "fe80::1:143", "1::2:3:4"] {
            assert!(wrong(text).starts_with("is "), "{text}: {}", wrong(text));
        }
        let upstream = |host: &str| Ok(UpstreamAddress { host: host.into(), port: 0 });
        assert_eq!("[2001:db8::1:25]".parse(), upstream("2001:db8::1:25"));
        for text in ["2001:db8::1", "2001:db8::25", "::1", "2001:db8::beef:cafe", "1:2:3:4:5:6:7:8"] {
            assert_eq!(text.parse::<UpstreamAddress>().map(|upstream| upstream.port), Ok(0), "{text}");
        }
        for text in ["[2001:db8::1", "2001:db8::1]", "[[::1]]", "[192.0.2.1]", "[::1]:0", "192.0.2.1:0"] {
            assert!(text.parse::<UpstreamAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn unix_sockets_are_not_supported_yet() {
        for text in
            ["unix:/run/dovecot/lmtp", "unix:private/lmtp", "/run/dovecot/lmtp", "lmtp:unix:private/dovecot-lmtp"]
        {
            let error = text.parse::<UpstreamAddress>().unwrap_err();
            assert!(error.starts_with("Unix sockets are not supported yet"), "{error}");
            assert_eq!(text.parse::<ListenAddress>().unwrap_err(), error);
        }
    }

    #[test]
    fn a_network_may_be_one_address() {
        assert_eq!("192.0.2.1".parse(), Ok(Network("192.0.2.1/32".parse().unwrap())));
        assert!("192.0.2.0/33".parse::<Network>().is_err());
    }

    #[test]
    fn names_of_hosts_have_no_port() {
        assert_eq!("Mon.Example.org.".parse(), Ok(HostName("mon.example.org".into())));
        for text in ["", ".", "mon:9325", "http://mon", "mon/", "*", "[::1]"] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
    }
}
