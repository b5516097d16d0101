//! A proxy between here and the target, and the variables that name it.

use crate::export::push::target::Target;
use crate::export::push::target::basic;
use crate::export::push::target::port;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use http::HeaderValue;
use http::Uri;
use std::fmt;
use std::net::IpAddr;

/// Where it is, and who we are to it. Its `Debug` shows no credentials.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxy {
    /// An address of the form `[http://][user:password@]host[:port]`, and what gave it.
    pub(super) fn parse(url: &str, given_by: &str) -> Result<Self, Error> {
        // The address is not repeated: it may hold a password.
        let wrong = |what: &str| {
            let message = format!("{given_by} {what}; write it as `http://host:port`, or leave it out");
            Error::new(ErrorKind::InvalidAddress, message)
        };
        let url = url.trim();
        let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = whole.parse().map_err(|_| wrong("is no address"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("is not one that is spoken to by plain `http`, as it alone is here"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        let authorization = match authority.as_str().rsplit_once('@') {
            Some((userinfo, _)) => {
                Some(basic(userinfo).ok_or_else(|| wrong("has credentials that are not text"))?)
            }
            None => None,
        };
        let port = port(authority, 80).ok_or_else(|| wrong("has a port that is no number"))?;
        Ok(Self { host, port, authorization })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// The proxy of the environment for a target: `https_proxy` or `http_proxy`, in small letters before large ones, unless `no_proxy` or the target's being on this
/// machine speaks against it.
pub(super) fn of_environment(
    target: &Target,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, Error> {
    let given = |names: [&'static str; 2]| {
        let values = names.into_iter().filter_map(|name| Some((name, lookup(name)?)));
        values.map(|(name, value)| (name, value.trim().to_owned())).find(|(_, value)| !value.is_empty())
    };
    let found = if target.tls {
        given(["https_proxy", "HTTPS_PROXY"])
    } else if lookup("REQUEST_METHOD").is_some() {
        // Within CGI, whoever sends a request sets the large one by its header `Proxy`.
        given(["http_proxy", "http_proxy"])
    } else {
        given(["http_proxy", "HTTP_PROXY"])
    };
    let Some((name, url)) = found else { return Ok(None) };
    let exempt = given(["no_proxy", "NO_PROXY"]).map(|(_, list)| list).unwrap_or_default();
    if is_here(&target.host) || list_has(&exempt, &target.host, target.port) {
        return Ok(None);
    }
    Proxy::parse(&url, &format!("the variable {name}")).map(Some)
}

/// Whether a host is this machine by its very name.
fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a list of `no_proxy` has a host: by its name or that of a domain above, by its address or its network, each with or without a port; `*` has
/// every host. What cannot be read has none.
fn list_has(list: &str, host: &str, port: u16) -> bool {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let (named, wanted) = split_port(entry);
        wanted.is_none_or(|wanted| wanted == port) && (named == "*" || has(named, host))
    })
}

fn has(named: &str, host: &str) -> bool {
    let named = named.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = host.parse::<IpAddr>() {
        return match named.split_once('/') {
            Some((network, bits)) => within(ip, network, bits).unwrap_or(false),
            None => named.parse() == Ok(ip),
        };
    }
    let domain = named.trim_start_matches('.').to_ascii_lowercase();
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let above = host.strip_suffix(&domain);
    !domain.is_empty() && above.is_some_and(|left| left.is_empty() || left.ends_with('.'))
}

/// An entry and its port. An address of IPv6 has colons of its own.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let several = entry.matches(':').count() > 1 && !entry.starts_with('[');
    match entry.rsplit_once(':') {
        Some((named, port)) if !several => port.parse().map_or((entry, None), |port| (named, Some(port))),
        _ => (entry, None),
    }
}

/// Whether an address is of a network such as `10.0.0.0/8`; nothing if that is none.
fn within(ip: IpAddr, network: &str, bits: &str) -> Option<bool> {
    let network: IpAddr = network.parse().ok()?;
    let bits: u32 = bits.parse().ok()?;
    let (left, right, width) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            (u128::from(ip.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        _ => return Some(false),
    };
    let below = width - Some(bits).filter(|bits| *bits <= width)?;
    Some(below == 128 || left >> below == right >> below)
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    /// Host and port of the proxy, if there is one.
    fn chosen(url: &str, variables: &[(&str, &str)]) -> Result<Option<(String, u16)>, Error> {
        let target = Target::parse(url).unwrap();
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Ok(of_environment(&target, &lookup)?.map(|proxy| (proxy.host, proxy.port)))
    }

    fn named(host: &str, port: u16) -> Option<(String, u16)> {
        Some((host.to_owned(), port))
    }

    #[test]
    fn the_scheme_chooses_the_variable_and_small_letters_go_first() {
        let all = [
            ("http_proxy", ""),
            ("HTTP_PROXY", "http://plain:1/"),
            ("https_proxy", "small"),
            ("HTTPS_PROXY", "http://large:3"),
        ];
        assert_eq!(chosen("http://far/", &all).unwrap(), named("plain", 1), "a blank one is as none");
        assert_eq!(chosen("http://far/", &all[2..]).unwrap(), None);
        let mut within_cgi = all.to_vec();
        within_cgi.push(("REQUEST_METHOD", "GET"));
        assert_eq!(chosen("http://far/", &within_cgi).unwrap(), None, "a stranger may have set it");
        if cfg!(feature = "push-tls") {
            assert_eq!(chosen("https://far/", &all).unwrap(), named("small", 80));
            assert_eq!(chosen("https://far/", &all[3..]).unwrap(), named("large", 3));
        }
    }

    #[test]
    fn what_is_exempt_is_reached_directly() {
        let proxied = |url: &str, exempt: &str| {
            chosen(url, &[("http_proxy", "p"), ("NO_PROXY", exempt)]).unwrap().is_some()
        };
        for here in ["http://localhost/", "http://127.8.0.1:9/", "http://[::1]:80/", "http://LocalHost:4318/"]
        {
            assert!(!proxied(here, ""), "{here}");
        }
        let exempt = "example.org, .inner.net:99,10.1.0.0/16,192.0.2.7 ,[2001:db8::1]:80,2001:db8:1::/48,x/y,1.2.3.4/99";
        for (url, by) in [
            ("http://far/", true),
            ("http://example.org/", false),
            ("http://A.Example.Org:5/", false),
            ("http://counterexample.org/", true),
            ("http://a.inner.net:99/", false),
            ("http://a.inner.net/", true),
            ("http://10.1.255.1/", false),
            ("http://10.2.0.1/", true),
            ("http://192.0.2.7/", false),
            ("http://192.0.2.70/", true),
            ("http://[2001:db8::1]/", false),
            ("http://[2001:db8::1]:81/", true),
            ("http://[2001:db8:1:2::3]/", false),
            ("http://1.2.3.4/", true),
        ] {
            assert_eq!(proxied(url, exempt), by, "{url}");
        }
        assert!(!proxied("http://far/", "a,*"));
        assert!(!proxied("http://9.9.9.9/", "0.0.0.0/0") && !proxied("http://[2001::]/", "::/0"));
    }

    #[test]
    fn a_proxy_shows_no_secret_and_one_that_cannot_be_is_named_by_its_variable() {
        let proxy = Proxy::parse("us%65r:canary@[::1]:3128", "x").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("::1", 3128));
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic dXNlcjpjYW5hcnk=");
        assert!(!format!("{proxy:?}").contains("canary") && !format!("{proxy:?}").contains("dXNl"));
        for url in
            ["https://canary", "socks5://u:canary@h", "http://", "canary:canary", "http://u%zz:canary@h/"]
        {
            let error = chosen("http://far", &[("HTTP_PROXY", url)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidAddress, "{url}");
            let told = format!("{error} {error:?}");
            assert!(told.contains("HTTP_PROXY") && !told.contains("canary"), "{told}");
        }
    }
}
