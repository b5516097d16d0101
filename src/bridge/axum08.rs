//! Mounting a runtime's pages in a service built on axum 0.8.

use crate::export::pages::Look;
use crate::export::pages::Pages;
use crate::model::limits;
use crate::runtime::collection::Fold;
use crate::runtime::reader::RuntimeReader;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use std::sync::Arc;

/// A router with the pages of a runtime: `/metrics`, `/livez`, and `/snapshot` with the feature `json`.
///
/// `/metrics` speaks Prometheus's text format and OpenMetrics, by the request's `Accept`, compressed for whoever accepts gzip, or zstd with the feature of that name. Renderings
/// are made on threads of their own, and requests that overlap share one, so a scrape of very many series holds up no task of the service. Sources are
/// asked there as well, and waited for at most [`SOURCE_PATIENCE`](crate::limits::SOURCE_PATIENCE). It is for GET and HEAD.
///
/// It goes into a service of any state: by [`Router::merge`], or below a path by [`Router::nest`]. Whoever may scrape, how many connections there may be,
/// and how long a request may take, is the service's to say. The router does not keep the runtime alive; when that is gone, its pages answer 503.
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
    let look = Look { fold: Fold::default(), vitals: true };
    let pages = Arc::new(Pages::new(reader, look, limits::SOURCE_PATIENCE, true));
    let mut router = Router::new();
    let mut paths = vec!["/metrics", "/livez"];
    if cfg!(feature = "json") {
        paths.push("/snapshot");
    }
    for path in paths {
        let pages = Arc::clone(&pages);
        // The path as it is mounted here, whatever it is below.
        let answer = move |request: Request| answer(Arc::clone(&pages), path, request);
        router = router.route(path, any(answer));
    }
    router
}

async fn answer(pages: Arc<Pages>, path: &'static str, request: Request) -> Response {
    let (head, _) = request.into_parts();
    pages.answer(&head.method, path, &head.headers).await.map(Body::from)
}
