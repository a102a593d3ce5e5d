//! Which addresses a customer's webhook may have: only those that anybody on the internet could call, so that nobody can use
//! us to reach what is behind our own firewall. An operator can allow more.
//!
//! [`parse`] judges the text, without asking for a name's addresses; [`Allow::permits`] judges each address that a name turns
//! out to have. Both are asked when an endpoint is saved and again before each attempt. Following redirects would need the
//! same questions again; we follow none.
//!
//! Source: the special-purpose registries of IANA for IPv4 and IPv6; the WHATWG URL standard for hosts that are numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Characters of a host name (RFC 1035).
const HOST_CHARS_MAX: usize = 253;
/// Characters of one label of a host name (RFC 1035).
const LABEL_CHARS_MAX: usize = 63;
/// Ports that may be called at hosts that are not on the operator's list: a signed POST to a mail server or a cache would do
/// harm there.
pub const PORTS: [u16; 2] = [80, 443];

/// Where a webhook goes, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Over TLS?
    pub tls: bool,
    /// The host.
    pub host: Host,
    /// The port, also when the address names none.
    pub port: u16,
    /// Whether the address names a port that is not its scheme's own.
    pub own_port: bool,
    /// Path and query, from `/` on.
    pub path: String,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name in lower case.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl Target {
    /// As in the `Host` header.
    pub fn authority(&self) -> String {
        if self.own_port { format!("{}:{}", self.host, self.port) } else { self.host.to_string() }
    }
}

/// Why an address is refused, for its owner to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither `http://` nor `https://`.
    #[error("the address must begin with http:// or https://")]
    Scheme,
    /// It has spaces, control characters, characters beyond ASCII, a backslash or a fragment.
    #[error("the address has a character that it can't have")]
    Character,
    /// `user@host` or `user:password@host`.
    #[error("the address must not hold a user name or a password: use a header")]
    UserInfo,
    /// The host is empty or no host name.
    #[error("the address has no host that can be called")]
    Host,
    /// An IPv4 address in a form that is easily taken for something else, such as `127.1` or `0x7f.0.0.1`.
    #[error("write an IPv4 address as four decimal numbers")]
    OddNumber,
    /// The port is no number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// A port that is not called.
    #[error("webhooks go to the ports 80 and 443, not to {0}")]
    PortNotAllowed(u16),
    /// A name or an address within a private network.
    #[error("{0} is not on the public internet")]
    NotPublic(String),
}

/// What an operator allows beside the public internet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Net(IpAddr, u8),
    Name(String),
}

impl Allow {
    /// Reads a list, separated by commas, of addresses (`127.0.0.1`), networks (`10.0.0.0/8`, `fd00::/8`) and host names
    /// (`hooks.internal`). An error is the entry that is none of these.
    pub fn parse(list: &str) -> Result<Allow, String> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries
            .map(|entry| Entry::parse(entry).ok_or_else(|| entry.to_owned()))
            .collect::<Result<_, _>>()
            .map(Allow)
    }

    fn has_name(&self, name: &str) -> bool {
        self.0.iter().any(|entry| matches!(entry, Entry::Name(allowed) if allowed == name))
    }

    fn has_ip(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|entry| matches!(entry, Entry::Net(net, bits) if within(ip, *net, *bits)))
    }

    /// Is nothing allowed but the public internet?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// May this address be called for this target? Ask for each address of a name: one that is refused spoils the name.
    pub fn permits(&self, target: &Target, ip: IpAddr) -> Result<(), Refusal> {
        if self.has_ip(ip) || matches!(&target.host, Host::Name(name) if self.has_name(name)) {
            return Ok(());
        }
        if !is_public(ip) {
            let shown = match &target.host {
                Host::Ip(_) => target.host.to_string(),
                Host::Name(name) => format!("{name} ({ip})"),
            };
            return Err(Refusal::NotPublic(shown));
        }
        match PORTS.contains(&target.port) {
            true => Ok(()),
            false => Err(Refusal::PortNotAllowed(target.port)),
        }
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Entry> {
        if let Some((net, bits)) = text.split_once('/') {
            let net: IpAddr = net.parse().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= if net.is_ipv4() { 32 } else { 128 })?;
            return Some(Entry::Net(net, bits));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(Entry::Net(ip, if ip.is_ipv4() { 32 } else { 128 }));
        }
        match host(text) {
            Ok(Host::Name(name)) => Some(Entry::Name(name)),
            _ => None,
        }
    }
}

fn within(ip: IpAddr, net: IpAddr, bits: u8) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let shift = width - u32::from(bits).min(width);
        // All bits but none left to compare would shift by the whole width.
        shift == 128 || a >> shift == b >> shift
    };
    match (ip, net) {
        (IpAddr::V4(ip), IpAddr::V4(net)) => same(u32::from(ip).into(), u32::from(net).into(), 32),
        (IpAddr::V6(ip), IpAddr::V6(net)) => same(ip.into(), net.into(), 128),
        _ => false,
    }
}

/// Takes an address apart and refuses those that are wrong as they stand, whatever their names turn out to mean.
pub fn parse(url: &str, allow: &Allow) -> Result<Target, Refusal> {
    let lower = |n: usize| url.get(..n).map(str::to_ascii_lowercase).unwrap_or_default();
    let (tls, rest) = match (lower(7).as_str(), lower(8).as_str()) {
        ("http://", _) => (false, &url[7..]),
        (_, "https://") => (true, &url[8..]),
        _ => return Err(Refusal::Scheme),
    };
    if !rest.bytes().all(|b| b.is_ascii_graphic() && b != b'\\' && b != b'#') {
        return Err(Refusal::Character);
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(Refusal::UserInfo);
    }
    let (name, port) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((inner, "")) => (inner, None),
        Some((inner, after)) => (inner, Some(after.strip_prefix(':').ok_or(Refusal::Host)?)),
        None => authority.split_once(':').map_or((authority, None), |(name, port)| (name, Some(port))),
    };
    let host = match authority.starts_with('[') {
        true => Host::Ip(IpAddr::V6(name.parse().map_err(|_| Refusal::Host)?)),
        false => host(name)?,
    };
    let usual = if tls { 443 } else { 80 };
    let port = match port {
        None => usual,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port > 0).ok_or(Refusal::Port)?
        }
        Some(_) => return Err(Refusal::Port),
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let target = Target { tls, host, port, own_port: port != usual, path };
    match &target.host {
        Host::Ip(ip) => allow.permits(&target, *ip)?,
        Host::Name(name) if allow.has_name(name) => {}
        Host::Name(name) if is_private_name(name) && !allow.reaches_inside() => {
            return Err(Refusal::NotPublic(name.clone()));
        }
        // Whether the operator's list has its addresses shows only when they are known.
        Host::Name(_) if !PORTS.contains(&target.port) && allow.is_empty() => {
            return Err(Refusal::PortNotAllowed(target.port));
        }
        Host::Name(_) => {}
    }
    Ok(target)
}

impl Allow {
    /// Some addresses are allowed, so that a private name may have one of these.
    fn reaches_inside(&self) -> bool {
        self.0.iter().any(|entry| matches!(entry, Entry::Net(..)))
    }
}

/// Names that by convention are never public.
fn is_private_name(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    matches!(last, "localhost" | "local" | "internal" | "localdomain" | "lan" | "intranet")
        || name.ends_with(".home.arpa")
}

fn host(text: &str) -> Result<Host, Refusal> {
    let name = text.to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=LABEL_CHARS_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() > HOST_CHARS_MAX || !name.split('.').all(is_label) {
        return Err(Refusal::Host);
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if !is_number {
        return Ok(Host::Name(name));
    }
    // The standard library reads four decimal numbers without leading zeros, and nothing else.
    name.parse::<Ipv4Addr>().map(|ip| Host::Ip(ip.into())).map_err(|_| Refusal::OddNumber)
}

/// Addresses that are reachable from the whole internet and belong to nobody special.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    const SPECIAL: [(Ipv4Addr, u8); 17] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),        // this network
        (Ipv4Addr::new(10, 0, 0, 0), 8),       // private
        (Ipv4Addr::new(100, 64, 0, 0), 10),    // shared by a carrier's customers
        (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback
        (Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's service for its machines
        (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local, clouds' metadata
        (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
        (Ipv4Addr::new(192, 0, 0, 0), 24),     // protocol assignments, Oracle's metadata
        (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation
        (Ipv4Addr::new(192, 31, 196, 0), 24),  // AS112
        (Ipv4Addr::new(192, 52, 193, 0), 24),  // AMT
        (Ipv4Addr::new(192, 88, 99, 0), 24),   // 6to4 relays
        (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
        (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarks
        (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation
        (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation
        (Ipv4Addr::new(224, 0, 0, 0), 3),      // multicast, reserved, broadcast
    ];
    !SPECIAL.iter().any(|(net, bits)| within(ip.into(), (*net).into(), *bits))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // Only 2000::/3 is given out. Everything else is refused with it: loopback, unspecified, ::ffff:0:0/96 and other forms of
    // an IPv4 address, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), ULA, link-local, multicast.
    const GIVEN_OUT: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
    const SPECIAL: [(Ipv6Addr, u8); 4] = [
        (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, Teredo, ORCHID
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
        (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4, holds an IPv4 address
        (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
    ];
    within(ip.into(), GIVEN_OUT.0.into(), GIVEN_OUT.1)
        && !SPECIAL.iter().any(|(net, bits)| within(ip.into(), (*net).into(), *bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(url: &str) -> Refusal {
        parse(url, &Allow::default()).expect_err(url)
    }

    #[test]
    fn public_addresses_are_taken_apart() {
        let of = |url: &str| parse(url, &Allow::default()).unwrap_or_else(|e| panic!("{url}: {e}"));
        let plain = of("https://Hooks.Example.com/pusher?x=1");
        assert_eq!(plain.host, Host::Name("hooks.example.com".into()));
        assert_eq!((plain.tls, plain.port, plain.path.as_str()), (true, 443, "/pusher?x=1"));
        assert_eq!(plain.authority(), "hooks.example.com");
        assert_eq!(of("HTTP://example.com").path, "/");
        assert_eq!(of("http://example.com?x").path, "/?x");
        assert_eq!(of("http://example.com:443/").authority(), "example.com:443");
        assert_eq!(of("https://example.com:443/").authority(), "example.com");
        assert_eq!(of("http://93.184.216.34/").host, Host::Ip(Ipv4Addr::new(93, 184, 216, 34).into()));
        assert_eq!(of("http://[2606:2800::1]:80/x").authority(), "[2606:2800::1]");
        assert_eq!(of("https://xn--bcher-kva.example/").host, Host::Name("xn--bcher-kva.example".into()));
        of("https://a_b.example.com/");
        of("https://0x7f.example.com/");
    }

    #[test]
    fn addresses_that_are_none_or_hide_what_they_mean_are_refused() {
        for (url, why) in [
            ("", Refusal::Scheme),
            ("example.com", Refusal::Scheme),
            ("ftp://example.com", Refusal::Scheme),
            ("file:///etc/passwd", Refusal::Scheme),
            ("gopher://example.com/", Refusal::Scheme),
            ("http:/example.com", Refusal::Scheme),
            ("http://", Refusal::Host),
            ("http:///x", Refusal::Host),
            ("http://.example.com", Refusal::Host),
            ("http://example.com.", Refusal::Host),
            ("http://a..b", Refusal::Host),
            ("http://%31%32%37.0.0.1/", Refusal::Host),
            ("http://[::1", Refusal::Host),
            ("http://[::1]x", Refusal::Host),
            ("http://[fe80::1%25eth0]/", Refusal::Host),
            ("http://[v1.a]/", Refusal::Host),
            ("http://example.com\\@10.0.0.1/", Refusal::Character),
            ("http://exa mple.com", Refusal::Character),
            ("http://example.com/\r\nX: y", Refusal::Character),
            ("http://example.com/#x", Refusal::Character),
            ("http://ⓔxample.com", Refusal::Character),
            ("http://127。0。0。1/", Refusal::Character),
            ("http://user@example.com", Refusal::UserInfo),
            ("http://user:word@example.com", Refusal::UserInfo),
            ("http://example.com@10.0.0.1/", Refusal::UserInfo),
            ("http://127.1/", Refusal::OddNumber),
            ("http://2130706433/", Refusal::OddNumber),
            ("http://0x7f.1/", Refusal::OddNumber),
            ("http://0x7f000001/", Refusal::OddNumber),
            ("http://0177.0.0.1/", Refusal::OddNumber),
            ("http://127.0.0.01/", Refusal::OddNumber),
            ("http://1.2.3.4.5/", Refusal::OddNumber),
            ("http://256.1.1.1/", Refusal::OddNumber),
            ("http://a.0x/", Refusal::OddNumber),
            ("http://example.com:0/", Refusal::Port),
            ("http://example.com:/", Refusal::Port),
            ("http://example.com:65536/", Refusal::Port),
            ("http://example.com:+80/", Refusal::Port),
            ("http://example.com:80:80/", Refusal::Port),
            ("http://example.com:25/", Refusal::PortNotAllowed(25)),
            ("https://93.184.216.34:6379/", Refusal::PortNotAllowed(6379)),
        ] {
            assert_eq!(refused(url), why, "{url}");
        }
    }

    #[test]
    fn private_places_are_refused_in_all_their_forms() {
        for host in [
            "localhost",
            "LOCALHOST",
            "app.localhost",
            "printer.local",
            "metadata.google.internal",
            "nas.lan",
            "router.home.arpa",
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[::ffff:0:127.0.0.1]",
            "[::ffff:93.184.216.34]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::5db8:d822]",
            "[64:ff9b:1::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[2001::1]",
            "[2001:db8::1]",
            "[2002:7f00:1::]",
            "[100::1]",
            "[3fff::1]",
            "[4000::1]",
        ] {
            let refusal = refused(&format!("http://{host}/"));
            assert!(matches!(refusal, Refusal::NotPublic(_)), "{host}: {refusal:?}");
        }
    }

    #[test]
    fn an_operator_may_allow_networks_and_names_with_any_port() {
        let allow = Allow::parse("10.1.0.0/16, fd00::/8,127.0.0.1 ,Hooks.Internal").unwrap();
        for url in [
            "http://10.1.2.3:8080/",
            "http://[fd00::1]/",
            "http://127.0.0.1:3000/",
            "http://hooks.internal:9000/",
            "http://example.com/",
        ] {
            parse(url, &allow).unwrap_or_else(|e| panic!("{url}: {e}"));
        }
        for url in
            ["http://10.2.0.1/", "http://127.0.0.2/", "http://[::ffff:127.0.0.1]/", "http://user@127.0.0.1/"]
        {
            parse(url, &allow).expect_err(url);
        }
        let target = parse("http://db.internal/", &allow).unwrap();
        assert!(allow.permits(&target, Ipv4Addr::new(10, 1, 0, 1).into()).is_ok(), "by its address");
        assert!(allow.permits(&target, Ipv4Addr::new(10, 2, 0, 1).into()).is_err());
        let target = parse("http://example.com:8080/", &allow).unwrap();
        assert_eq!(
            allow.permits(&target, Ipv4Addr::new(93, 184, 216, 34).into()),
            Err(Refusal::PortNotAllowed(8080)),
            "what is allowed elsewhere opens no port here"
        );
        for bad in ["10.0.0.0/33", "10.0.0/8", "a b", "127.1", "*.example.com", "fd00::/129", "http://x"] {
            assert_eq!(Allow::parse(bad), Err(bad.to_owned()));
        }
        assert!(Allow::parse(" , ").unwrap().is_empty());
        let all = Allow::parse("0.0.0.0/0,::/0").unwrap();
        assert!(all.permits(&target, Ipv6Addr::LOCALHOST.into()).is_ok());
    }

    #[test]
    fn a_name_is_judged_by_each_address_it_has() {
        let allow = Allow::default();
        let target = parse("https://rebind.example/", &allow).unwrap();
        assert!(allow.permits(&target, Ipv4Addr::new(93, 184, 216, 34).into()).is_ok());
        let refusal = allow.permits(&target, Ipv4Addr::LOCALHOST.into()).unwrap_err();
        assert_eq!(refusal.to_string(), "rebind.example (127.0.0.1) is not on the public internet");
    }

    /// Any address of these networks.
    fn private_v4() -> impl Strategy<Value = Ipv4Addr> {
        let nets: Vec<(u32, u32)> = [
            ([0, 0, 0, 0], 8),
            ([10, 0, 0, 0], 8),
            ([100, 64, 0, 0], 10),
            ([127, 0, 0, 0], 8),
            ([169, 254, 0, 0], 16),
            ([172, 16, 0, 0], 12),
            ([192, 168, 0, 0], 16),
            ([198, 18, 0, 0], 15),
            ([224, 0, 0, 0], 4),
            ([240, 0, 0, 0], 4),
        ]
        .into_iter()
        .map(|(net, bits)| (u32::from(Ipv4Addr::from(net)), bits))
        .collect();
        (proptest::sample::select(nets), any::<u32>())
            .prop_map(|((net, bits), random)| Ipv4Addr::from(net | (random & (u32::MAX >> bits))))
    }

    proptest! {
        #[test]
        fn no_private_address_passes_in_any_form(ip in private_v4(), port in 1u16..) {
            let n = u32::from(ip);
            let [a, b, c, d] = ip.octets();
            let hosts = [
                ip.to_string(), n.to_string(), format!("0x{n:x}"), format!("0{n:o}"), format!("{a:#x}.{b}.{c}.{d}"),
                format!("{a:#o}.{b}.{c}.{d}").replace("0o", "0"), format!("{a}.{}", n & 0xff_ffff),
                format!("{a}.{b}.{}", n & 0xffff), format!("{a}.{b}.{c}.{d}."), format!("[::ffff:{ip}]"),
                format!("[::{ip}]"), format!("[::ffff:0:{ip}]"), format!("[64:ff9b::{ip}]"),
                format!("[2002:{:x}:{:x}::1]", n >> 16, n & 0xffff), format!("x@{ip}"), format!("example.com@{ip}"),
            ];
            for host in hosts {
                for scheme in ["http", "https"] {
                    for url in [format!("{scheme}://{host}/x"), format!("{scheme}://{host}:{port}")] {
                        prop_assert!(parse(&url, &Allow::default()).is_err(), "{}", url);
                    }
                }
            }
            let target = parse("https://example.com/", &Allow::default()).unwrap();
            prop_assert!(Allow::default().permits(&target, ip.into()).is_err());
            prop_assert!(Allow::default().permits(&target, ip.to_ipv6_mapped().into()).is_err());
            prop_assert!(Allow::default().permits(&target, ip.to_ipv6_compatible().into()).is_err());
        }

        #[test]
        fn an_ipv6_address_outside_of_what_is_given_out_never_passes(high in any::<u16>(), rest in any::<u128>()) {
            let ip = Ipv6Addr::from((u128::from(high) << 112) | (rest >> 16));
            prop_assume!(high >> 13 != 1);
            let url = format!("http://[{ip}]/");
            prop_assert!(parse(&url, &Allow::default()).is_err(), "{}", url);
        }

        #[test]
        fn any_text_is_answered_and_what_passes_names_a_host_that_may_be_asked(text in "\\PC*", host in "[a-z0-9.:@\\[\\]%x-]{0,40}") {
            let _ = parse(&text, &Allow::default());
            if let Ok(target) = parse(&format!("http://{host}"), &Allow::default()) {
                match target.host {
                    Host::Ip(ip) => prop_assert!(is_public(ip)),
                    Host::Name(name) => prop_assert!(name.parse::<IpAddr>().is_err()),
                }
            }
        }
    }
}
