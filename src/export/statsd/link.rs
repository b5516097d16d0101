//! The way to a receiver: addresses, sockets, and what becomes of a datagram.

use crate::export::exporter::ExportError;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use std::io;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::ToSocketAddrs;
use std::net::UdpSocket;
#[cfg(unix)]
use std::os::unix::net::UnixDatagram;
#[cfg(unix)]
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;
use tokio::task::JoinHandle;

/// Where a receiver listens.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Udp(String),
    #[cfg(unix)]
    Unix(PathBuf),
}

impl Address {
    pub(super) fn check(&self) -> Result<(), Error> {
        let Self::Udp(address) = self else { return Ok(()) };
        let port = address.rsplit_once(':').and_then(|(host, port)| {
            let is_host = !host.is_empty() && !host.contains(['/', '@', ' ']);
            is_host.then(|| port.parse::<u16>().ok()).flatten()
        });
        if port.is_some_and(|port| port > 0) {
            return Ok(());
        }
        // Not repeating it: what is no address may be a URL with a password in it.
        let message = "what is given as the receiver's address is no `host:port`; write one, as in \"127.0.0.1:8125\" or \"[::1]:8125\"";
        Err(Error::new(ErrorKind::InvalidAddress, message))
    }
}

/// A socket that does not block.
#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    #[cfg(unix)]
    Unix(UnixDatagram),
}

impl Socket {
    fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(datagram),
            #[cfg(unix)]
            Self::Unix(socket) => socket.send(datagram),
        }
    }

    fn take_error(&self) -> io::Result<()> {
        let error = match self {
            Self::Udp(socket) => socket.take_error()?,
            #[cfg(unix)]
            Self::Unix(socket) => socket.take_error()?,
        };
        error.map_or(Ok(()), Err)
    }

    /// Sends a datagram. What the network has to say about an earlier one is an error before this one is sent; and a machine knows at once that
    /// nobody listens on a port of its own, so that is an error of this one.
    fn try_send(&self, datagram: &[u8]) -> io::Result<()> {
        self.take_error()?;
        self.send(datagram)?;
        self.take_error()
    }
}

/// The way to one receiver, which is made when it is needed, and anew after each failure.
#[derive(Debug)]
pub(super) struct Link {
    address: Address,
    socket: Option<Socket>,
    connected: Instant,
    /// A look-up under way, on a thread of the loop: the operating system's cannot be cut. There is one at a time.
    resolving: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

/// The first pause before a datagram for which there was no room is tried again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(20));

impl Link {
    pub(super) fn new(address: Address) -> Self {
        Self { address, socket: None, connected: Instant::now(), resolving: None }
    }

    /// Sees to it that there is a socket.
    pub(super) async fn ready(&mut self) -> Result<(), ExportError> {
        let result = match &self.address {
            Address::Udp(address) => match address.parse::<SocketAddr>() {
                Ok(address) if self.socket.is_none() => self.connect(&[address]),
                Ok(_) => Ok(()),
                Err(_) => self.by_name(address.clone()).await,
            },
            #[cfg(unix)]
            Address::Unix(path) if self.socket.is_none() => connected_unix(path).map(|socket| {
                self.socket = Some(Socket::Unix(socket));
            }),
            #[cfg(unix)]
            Address::Unix(_) => Ok(()),
        };
        result.map_err(|cause| self.failed("cannot be reached", cause))
    }

    /// A name is looked up anew now and then; until the answer is there, the old one holds.
    async fn by_name(&mut self, address: String) -> io::Result<()> {
        let is_stale = self.connected.elapsed() > limits::STATSD_LOOK_UP;
        if self.resolving.is_none() && (self.socket.is_none() || is_stale) {
            let look_up = move || address.to_socket_addrs().map(Iterator::collect);
            self.resolving = Some(tokio::task::spawn_blocking(look_up));
        }
        let Some(resolving) = &mut self.resolving else { return Ok(()) };
        if self.socket.is_some() && !resolving.is_finished() {
            return Ok(());
        }
        let resolved = resolving.await.unwrap_or_else(|lost| Err(io::Error::other(lost)));
        self.resolving = None;
        match resolved.and_then(|addresses| self.connect(&addresses)) {
            // As long as there is a socket it is used: a name server may be away, and the receiver there.
            Err(_) if self.socket.is_some() => {
                self.connected = Instant::now();
                Ok(())
            }
            result => result,
        }
    }

    fn connect(&mut self, addresses: &[SocketAddr]) -> io::Result<()> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match connected_udp(address) {
                Ok(socket) => {
                    self.socket = Some(Socket::Udp(socket));
                    self.connected = Instant::now();
                    return Ok(());
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Sends one datagram; waits as long as there is no room for it. It is not sent if this fails or is dropped.
    pub(super) async fn send(&mut self, datagram: &[u8]) -> Result<(), ExportError> {
        let mut pause = PAUSES.0;
        let mut anew = true;
        loop {
            self.ready().await?;
            let Some(socket) = &self.socket else { continue };
            match socket.try_send(datagram) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_full(&error) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                Err(error) => {
                    self.close();
                    // Behind the path of a unix socket there may be a new receiver, and nothing was sent to the old one.
                    if self.is_udp() || !std::mem::take(&mut anew) || is_too_long(&error) {
                        return Err(self.failed("does not take what is sent", error));
                    }
                }
            }
        }
    }

    pub(super) fn close(&mut self) {
        self.socket = None;
    }

    fn is_udp(&self) -> bool {
        matches!(self.address, Address::Udp(_))
    }

    fn failed(&self, what: &str, cause: io::Error) -> ExportError {
        let at = match &self.address {
            Address::Udp(address) => address.clone(),
            #[cfg(unix)]
            Address::Unix(path) => path.display().to_string(),
        };
        if is_too_long(&cause) {
            let message = format!("the datagrams are too long for the way to {at}; make them shorter");
            return ExportError::fatal(message).with_source(cause);
        }
        ExportError::retryable(format!("the receiver at {at} {what}: {cause}")).with_source(cause)
    }
}

fn connected_udp(address: &SocketAddr) -> io::Result<UdpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    Ok(socket)
}

#[cfg(unix)]
fn connected_unix(path: &std::path::Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

/// No room in a buffer, here or at the receiver; std has no kind for the second (ENOBUFS), which BSD gives for both.
fn is_full(error: &io::Error) -> bool {
    const NO_BUFFER: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    error.kind() == io::ErrorKind::WouldBlock || cfg!(unix) && error.raw_os_error() == Some(NO_BUFFER)
}

/// Longer than the socket or the network takes (EMSGSIZE), which std has no kind for.
fn is_too_long(error: &io::Error) -> bool {
    const TOO_LONG: i32 = if cfg!(windows) {
        10_040
    } else if cfg!(target_os = "linux") {
        90
    } else {
        40
    };
    error.raw_os_error() == Some(TOO_LONG)
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_and_a_port_are_an_address() {
        let good = |address: &str| Address::Udp(address.into()).check().is_ok();
        assert!(["127.0.0.1:8125", "[::1]:8125", "localhost:1"].into_iter().all(good));
        for bad in
            ["", "localhost", ":8125", "host:0", "host:65536", "udp://host:8125", "me:secret@host:8125"]
        {
            let error = Address::Udp(bad.into()).check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidAddress, "{bad}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
