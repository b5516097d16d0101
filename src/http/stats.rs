//! What a server says of itself.

use std::time::Duration;

/// What a server has done. Counts are since its start.
///
/// While it serves, the runtime shows the same to every exporter, by the label `listener`, which is the address, as it does with what came through a router for axum:
///
/// | metric | what |
/// |---|---|
/// | `mvx.http.connections`, `mvx.http.open` | [`connections`](Self::connections), [`open`](Self::open) |
/// | `mvx.http.accept_errors` | [`accept_errors`](Self::accept_errors) |
/// | `mvx.http.requests` | [`requests`](Self::requests) |
/// | `mvx.http.refused` by `reason` | [`unauthorized`](Self::unauthorized); the others of [`refused`](Self::refused); [`unavailable`](Self::unavailable); [`malformed`](Self::malformed) |
/// | `mvx.http.cut` by `reason` | [`half_sent`](Self::cut_half_sent), [`slow`](Self::cut_slow), [`for_room`](Self::cut_for_room), [`idle`](Self::cut_idle) |
/// | `mvx.http.scrapes`, `mvx.http.renderings` | [`scrapes`](Self::scrapes), [`renderings`](Self::renderings) |
/// | `mvx.http.rendering_time`, `mvx.http.longest_rendering` | [`rendering_time`](Self::rendering_time), [`longest_rendering`](Self::longest_rendering), in seconds |
/// | `mvx.http.held_renderings`, `mvx.http.held` | [`held_renderings`](Self::held_renderings), [`held_bytes`](Self::held_bytes) |
/// | `mvx.http.late_sources` | [`late_sources`](Self::late_sources) |
///
/// # Examples
///
/// ```
/// use mvx_metrics::MetricsRuntime;
/// use mvx_metrics::http::HttpServer;
///
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let server = HttpServer::builder(runtime.reader()).port(0).start()?;
/// assert_eq!(server.stats().connections, 0);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpStats {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// Times that a connection could not be accepted, such as without file descriptors.
    pub accept_errors: u64,
    /// Requests whose head was read.
    pub requests: u64,
    /// Requests answered by a status of 400 to 499: no such page, not authorized, not for reading, with a body.
    pub refused: u64,
    /// Those of them without the right token or password.
    pub unauthorized: u64,
    /// Requests answered by a status of 500 and above: too busy, nothing to show, or a runtime that does not live at `/livez`.
    pub unavailable: u64,
    /// Connections that sent what is no request, or a head that is too large.
    pub malformed: u64,
    /// Connections cut because the head of a request took too long.
    pub cut_half_sent: u64,
    /// Connections cut because an answer took too long to be read.
    pub cut_slow: u64,
    /// Connections cut to make room for another one.
    pub cut_for_room: u64,
    /// Connections closed because no request came for long.
    pub cut_idle: u64,
    /// Requests for `/metrics` and `/snapshot` that got a rendering, their own or another's.
    pub scrapes: u64,
    /// Renderings made: fewer than [`scrapes`](Self::scrapes) where requests have overlapped.
    pub renderings: u64,
    /// The time of all renderings together, without the wait for sources.
    pub rendering_time: Duration,
    /// The longest rendering.
    pub longest_rendering: Duration,
    /// Renderings in memory now, being made or being read.
    pub held_renderings: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// Times that a rendering went on without waiting any longer for [sources](crate::Source).
    pub late_sources: u64,
}
