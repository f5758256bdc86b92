//! Restricts the addresses that requests of tenants may reach to public ones. A name is resolved
//! here, all its addresses are checked, and the connection uses one of these addresses. A name that
//! resolves differently the next time gains nothing.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use ipnet::IpNet;
use url::{Host, Url};

/// IPv4 networks that are not public (IANA special-purpose address registry).
const CLOSED_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The only public IPv6 network, and its parts that are not public: addresses that embed another
/// address (6to4, Teredo), and those for documentation and tests.
const OPEN_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const CLOSED_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

fn holds(network: IpAddr, length: u8, address: IpAddr) -> bool {
    IpNet::new(network, length).is_ok_and(|network| network.contains(&address))
}

fn is_public(address: IpAddr) -> bool {
    let is_in = |(network, length): (IpAddr, u8)| holds(network, length, address);
    match address {
        IpAddr::V4(_) => !CLOSED_V4.into_iter().any(|(n, l)| is_in((n.into(), l))),
        // Addresses that embed an IPv4 address (mapped, NAT64) are outside the public network.
        IpAddr::V6(_) => {
            is_in((OPEN_V6.0.into(), OPEN_V6.1))
                && !CLOSED_V6.into_iter().any(|(n, l)| is_in((n.into(), l)))
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network, such as 10.0.0.0/8")]
pub struct NetworkParseError(String);

/// The addresses that requests may reach.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    also: Vec<IpNet>,
}

/// Why an address is refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct RefusedAddress(String);

/// Public addresses, and those of a comma-separated list of networks.
impl FromStr for Guard {
    type Err = NetworkParseError;

    fn from_str(networks: &str) -> Result<Self, NetworkParseError> {
        let parts = networks.split(',').map(str::trim).filter(|n| !n.is_empty());
        let also = parts.map(|network| {
            network
                .parse()
                .map_err(|_| NetworkParseError(network.to_owned()))
        });
        Ok(Self {
            also: also.collect::<Result<_, _>>()?,
        })
    }
}

impl Guard {
    fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.also.iter().any(|network| network.contains(&address))
    }

    /// Checks a URL without resolving its host.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err("only http and https can be called".to_owned());
        }
        let address = match url.host() {
            None => return Err("a URI without a host cannot be called".to_owned()),
            Some(Host::Domain(_)) => return Ok(()),
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
        };
        if self.allows(address) {
            return Ok(());
        }
        Err(format!("{address} is not a public address"))
    }

    fn checked(&self, name: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, ResolveDnsError> {
        if found.iter().all(|address| self.allows(*address)) {
            return Ok(found);
        }
        let why = format!("{name} resolves to an address that is not public");
        Err(ResolveDnsError::new(RefusedAddress(why)))
    }
}

/// A resolver whose results are checked by the guard.
#[derive(Debug, Clone)]
pub(crate) struct GuardedResolver<R> {
    guard: Guard,
    resolver: R,
}

impl<R> GuardedResolver<R> {
    pub(crate) fn new(guard: Guard, resolver: R) -> Self {
        Self { guard, resolver }
    }
}

impl<R: ResolveDns> ResolveDns for GuardedResolver<R> {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = self.resolver.resolve_dns(name).await?;
            self.guard.checked(name, found)
        })
    }
}

/// The refusal of the guard, if it caused the error.
pub(super) fn refused(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    // Bounded, in case the chain of causes is cyclic.
    for _ in 0..16 {
        let error = cause?;
        if let Some(refused) = error.downcast_ref::<RefusedAddress>() {
            return Some(refused.0.clone());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::SystemResolver;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn non_public_addresses_are_refused_in_every_encoding() {
        let guard = Guard::default();
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.255.255.254",
            "0.0.0.0",
            "0",
            "10.0.0.1",
            "10.255.255.255",
            "167772161",
            "100.64.0.1",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "0251.0376.0251.0376",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:10.0.0.1]",
            "[::ffff:169.254.169.254]",
            "[::ffff:8.8.8.8]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::1]",
            "[100::1]",
            "[2001::1]",
            "[2001:10::1]",
            "[2001:20::1]",
            "[2001:db8::1]",
            "[2002:7f00:1::]",
            "[2002:a9fe:a9fe::]",
            "[3fff::1]",
            "[fc00::1]",
            "[fd00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[ff00::]",
            "１２７.0.0.1",
            "127。0。0。1",
            "①②⑦.⓪.⓪.①",
            "%31%32%37.0.0.1",
        ] {
            assert!(
                guard.check(&url(&format!("http://{host}/"))).is_err(),
                "{host}"
            );
        }
        for host in ["8.8.8.8", "1.1.1.1", "[2606:4700::1111]", "example.com"] {
            assert_eq!(
                guard.check(&url(&format!("https://{host}/"))),
                Ok(()),
                "{host}"
            );
        }
        assert!(guard.check(&url("ftp://8.8.8.8/")).is_err());
    }

    #[tokio::test]
    async fn name_with_non_public_address_is_refused() {
        let error = GuardedResolver::new(Guard::default(), SystemResolver)
            .resolve_dns("localhost")
            .await
            .unwrap_err();
        assert!(
            refused(&error)
                .unwrap()
                .contains("localhost resolves to an address")
        );
    }

    #[tokio::test]
    async fn only_configured_networks_are_allowed() {
        let guard = "127.0.0.0/8, ::1/128".parse::<Guard>().unwrap();
        assert!(
            GuardedResolver::new(guard.clone(), SystemResolver)
                .resolve_dns("localhost")
                .await
                .is_ok()
        );
        assert_eq!(guard.check(&url("http://127.0.0.1/")), Ok(()));
        assert!(guard.check(&url("http://10.0.0.1/")).is_err());
        assert!("".parse::<Guard>().unwrap().also.is_empty());
        assert!("loopback".parse::<Guard>().is_err());
    }
}
