//! `/metrics` for Prometheus, while the program works and holds.

use mvx_metrics::Error;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::http::HttpServer;
use std::net::SocketAddr;

/// Serves until the metrics are shut down; gives the address, whose port was chosen now if it was to be 0.
///
/// # Errors
///
/// What keeps it from listening there, such as a port that is taken.
pub fn serve(address: SocketAddr, metrics: &MetricsRuntime) -> Result<SocketAddr, Error> {
    let server = HttpServer::builder(metrics.reader()).bind(address).start()?;
    let address = server.local_addr().unwrap_or(address);
    // Nobody ends it before the metrics do.
    server.detach();
    Ok(address)
}
