//! How a target is reached: through which proxy, and whom it has to be signed by.

use crate::export::push::proxy;
use crate::export::push::proxy::Proxy;
use crate::export::push::target::Target;
use crate::model::error::Error;
use std::fmt;

/// What a builder collects of it. Neither an address nor a certificate is shown.
#[derive(Clone, Default)]
pub(crate) struct Route {
    through: Through,
    /// In PEM; none for those of the platform.
    #[cfg(feature = "push-tls")]
    pub(super) roots: Option<Vec<u8>>,
    /// Certificates and key of whoever pushes, in PEM, for receivers that ask for them.
    #[cfg(feature = "push-tls")]
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

#[derive(Clone, Default)]
enum Through {
    #[default]
    Environment,
    Nobody,
    Proxy(String),
}

impl Route {
    pub(crate) fn through(&mut self, url: &str) {
        self.through = Through::Proxy(url.to_owned());
    }

    pub(crate) fn direct(&mut self) {
        self.through = Through::Nobody;
    }

    #[cfg(feature = "push-tls")]
    pub(crate) fn trust(&mut self, roots: &[u8]) {
        self.roots = Some(roots.to_vec());
    }

    #[cfg(feature = "push-tls")]
    pub(crate) fn be(&mut self, chain: &[u8], key: &[u8]) {
        self.identity = Some((chain.to_vec(), key.to_vec()));
    }

    /// The proxy on the way to a target, if there is one.
    pub(super) fn proxy(&self, target: &Target) -> Result<Option<Proxy>, Error> {
        match &self.through {
            Through::Nobody => Ok(None),
            Through::Proxy(url) => Proxy::parse(url, "the proxy").map(Some),
            Through::Environment => proxy::of_environment(target, &|name| std::env::var(name).ok()),
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route(***)")
    }
}
