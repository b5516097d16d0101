//! `/metrics` for Prometheus, while the program works and holds.

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Serves until tokio's runtime ends; gives the address, whose port was chosen now if it was to be 0.
///
/// # Errors
///
/// What keeps it from listening there, such as a port that is taken.
pub async fn serve(address: SocketAddr, metrics: MetricsRuntime) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let scrape = move |headers: HeaderMap| async move {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let format = Format::negotiate(accept.unwrap_or_default());
        let mut text = String::new();
        Encoder::new(format).encode(&metrics.collect(), &mut text);
        ([(CONTENT_TYPE, format.content_type())], text)
    };
    let app = Router::new().route("/metrics", get(scrape));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}
