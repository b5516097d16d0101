//! Mounting a runtime's pages in a service built on axum 0.8.

use crate::export::pages::Look;
use crate::export::pages::Pages;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use crate::model::name::RecorderId;
use crate::runtime::collection::Fold;
use crate::runtime::collection::servers::Served;
use crate::runtime::collection::servers::Serves;
use crate::runtime::reader::RuntimeReader;
use crate::sync::Mutex;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use std::sync::Arc;
use std::time::Duration;

/// A router with the pages of a runtime: `/metrics`, `/livez`, and `/snapshot` with the feature `json`.
///
/// `/metrics` speaks Prometheus's text format and OpenMetrics, by the request's `Accept`, compressed for whoever accepts gzip, or zstd with the feature of that name. Renderings
/// are made on threads of their own, and requests that overlap share one, so a scrape of very many series holds up no task of the service. Sources are
/// asked there as well, and waited for at most [`SOURCE_PATIENCE`](crate::limits::SOURCE_PATIENCE). It is for GET and HEAD.
///
/// It goes into a service of any state: by [`Router::merge`], or below a path by [`Router::nest`]. Whoever may scrape, how many connections there may be,
/// and how long a request may take, is the service's to say. The router does not keep the runtime alive; when that is gone, its pages answer 503.
///
/// What it has done is among what the runtime says of itself; see [`RouterBuilder`], which also sets one up otherwise.
///
/// # Examples
///
/// ```
/// use axum::Router;
/// use mvx_metrics::prelude::*;
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let app: Router = Router::new() // the service's own routes
///     .merge(mvx_metrics::bridge::axum08::router(runtime.reader()));
/// # drop(app);
/// # Ok(())
/// # }
/// ```
pub fn router<S: Clone + Send + Sync + 'static>(reader: RuntimeReader) -> Router<S> {
    mount(&builder(reader), LISTENER)
}

/// What sets up a router that differs from what [`router`] gives.
///
/// # Examples
///
/// ```
/// use axum::Router;
/// use mvx_metrics::bridge::axum08;
/// use mvx_metrics::prelude::*;
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let pages: Router = axum08::builder(runtime.reader()).vitals(false).build()?;
/// assert!(pages.has_routes());
/// # Ok(())
/// # }
/// ```
pub fn builder(reader: RuntimeReader) -> RouterBuilder {
    RouterBuilder {
        reader,
        listener: LISTENER.to_owned(),
        look: Look { fold: Fold::default(), vitals: true },
        patience: limits::SOURCE_PATIENCE,
        compressed: true,
    }
}

/// What a router is called, unless it is told otherwise.
const LISTENER: &str = "router";

/// Sets up a router with the pages of a runtime. `Clone` is another one of the same settings.
///
/// Until the last clone of a router is dropped, with the service that it is in, the runtime shows what came through it, by the label `listener`:
///
/// | metric | what |
/// |---|---|
/// | `mvx.http.requests` | requests for its pages |
/// | `mvx.http.refused` by `reason` | `refused`: answered by a status of 400 to 499, such as a POST; `unavailable`: by 500 and above |
/// | `mvx.http.scrapes`, `mvx.http.renderings` | requests for `/metrics` and `/snapshot` that got a rendering; renderings made, fewer where requests have overlapped |
/// | `mvx.http.rendering_time`, `mvx.http.longest_rendering` | the time of all of them, and of the longest, in seconds |
/// | `mvx.http.held_renderings`, `mvx.http.held` | renderings in memory now, and their bytes |
/// | `mvx.http.late_sources` | renderings that did not wait for a [source](crate::Source) any longer |
///
/// Connections, and who may ask, are the service's: a router has no series of the other metrics that a server of ours has.
///
/// # Examples
///
/// ```
/// use axum::Router;
/// use mvx_metrics::bridge::axum08;
/// use mvx_metrics::prelude::*;
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let router: Router = axum08::builder(runtime.reader()).listener("admin").build()?;
/// let requests = || {
///     let snapshot = runtime.collect();
///     let vitals = snapshot.vitals();
///     let family = vitals.iter().find(|family| family.descriptor().name().as_str() == "mvx.http.requests")?;
///     let series = family.parts()[0].family().series().next()?;
///     Some((series.labels().get("listener")?.to_owned(), series.value().counter()?))
/// };
/// assert_eq!(requests(), Some(("admin".to_owned(), 0)));
/// drop(router);
/// assert_eq!(requests(), None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a router is made by `build`"]
pub struct RouterBuilder {
    reader: RuntimeReader,
    listener: String,
    look: Look,
    patience: Duration,
    compressed: bool,
}

impl RouterBuilder {
    /// What the router is called in the label `listener`; `router` without it. While another one of the runtime has that name, this one gets a number behind
    /// it, from `-2` on.
    pub fn listener(mut self, name: impl Into<String>) -> Self {
        self.listener = name.into();
        self
    }

    /// Shows recorders one by one, as by default, or folded by group.
    pub fn fold(mut self, fold: Fold) -> Self {
        self.look.fold = fold;
        self
    }

    /// Shows what the runtime says of itself, as by default, or leaves it out.
    pub fn vitals(mut self, shown: bool) -> Self {
        self.look.vitals = shown;
        self
    }

    /// Compresses pages for clients that accept gzip, or zstd with the feature of that name, as by default, or never does.
    pub fn compression(mut self, compressed: bool) -> Self {
        self.compressed = compressed;
        self
    }

    /// How long a rendering waits for sources that are due; [`SOURCE_PATIENCE`](crate::limits::SOURCE_PATIENCE) without it. One that takes longer goes on by
    /// itself; what it gave last is shown.
    pub fn source_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The router, as [`router`] describes it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidId`] if the name is blank, has more than [`MAX_ID_BYTES`](crate::limits::MAX_ID_BYTES), or has control characters.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::bridge::axum08;
    /// use mvx_metrics::{ErrorKind, MetricsRuntime};
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let refused = axum08::builder(runtime.reader()).listener(" ").build::<()>();
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidId);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn build<S: Clone + Send + Sync + 'static>(self) -> Result<Router<S>, Error> {
        let name = RecorderId::new(&self.listener).map_err(|cause| {
            let message =
                "a router's name in the label `listener` is a short text; choose one such as `admin`";
            Error::new(ErrorKind::InvalidId, message).with_source(cause)
        })?;
        Ok(mount(&self, name.as_str()))
    }
}

fn mount<S: Clone + Send + Sync + 'static>(builder: &RouterBuilder, listener: &str) -> Router<S> {
    let RouterBuilder { reader, look, patience, compressed, .. } = builder;
    let pages = Pages::new(reader.clone(), *look, *patience, *compressed);
    let mounted = Arc::new(Mounted { pages, counts: Mutex::default() });
    reader.show(listener, &mounted);
    let mut router = Router::new();
    let mut paths = vec!["/metrics", "/livez"];
    if cfg!(feature = "json") {
        paths.push("/snapshot");
    }
    for path in paths {
        let mounted = Arc::clone(&mounted);
        // The path as it is mounted here, whatever it is below.
        let answer = move |request: Request| answer(Arc::clone(&mounted), path, request);
        router = router.route(path, any(answer));
    }
    router
}

/// What the routes and requests of one router share. It is gone with them.
struct Mounted {
    pages: Pages,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: u64,
    refused: u64,
    unavailable: u64,
}

impl Serves for Mounted {
    fn served(&self) -> Option<Served> {
        let Counts { requests, refused, unavailable } = *self.counts.lock();
        Some(Served { requests, refused, unavailable, ..self.pages.served() })
    }
}

async fn answer(mounted: Arc<Mounted>, path: &'static str, request: Request) -> Response {
    let (head, _) = request.into_parts();
    mounted.counts.lock().requests += 1;
    let response = mounted.pages.answer(&head.method, path, &head.headers).await;
    {
        let mut counts = mounted.counts.lock();
        counts.refused += u64::from(response.status().is_client_error());
        counts.unavailable += u64::from(response.status().is_server_error());
    }
    response.map(Body::from)
}
