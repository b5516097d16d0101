//! What a runtime shows over HTTP, whoever serves it: a server of ours, or a router in somebody else's.

mod coding;
mod flights;
mod render;
pub(crate) mod replies;

pub(crate) use render::Look;

use crate::export::pages::coding::Coding;
use crate::export::pages::flights::Flights;
#[cfg(feature = "http")]
use crate::export::pages::flights::ScrapeCounts;
use crate::export::pages::render::Form;
use crate::export::pages::render::Page;
use crate::export::prometheus::Exposition;
use crate::model::error::ErrorKind;
use crate::runtime::collection::servers::Served;
use crate::runtime::reader::RuntimeReader;
use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header;
use std::time::Duration;

/// The pages of one runtime.
#[derive(Debug)]
pub(crate) struct Pages {
    reader: RuntimeReader,
    flights: Flights,
    compressed: bool,
}

/// What a path leads to.
#[derive(Clone, Copy)]
enum Route {
    Index,
    Metrics,
    #[cfg(feature = "json")]
    Snapshot,
    Liveness,
}

impl Pages {
    /// Pages that wait for sources at most `patience`, and are compressed for whoever asks.
    pub(crate) fn new(reader: RuntimeReader, look: Look, patience: Duration, compressed: bool) -> Self {
        Self { flights: Flights::new(reader.clone(), look, patience), reader, compressed }
    }

    /// The answer to a request, whose path may be unknown.
    ///
    /// It waits for renderings, which are made elsewhere, without a time-out of its own.
    pub(crate) async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Bytes> {
        let Some(route) = Route::of(path) else {
            return replies::text(StatusCode::NOT_FOUND, "there is no such page; see /\n");
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            return replies::only_reads();
        }
        match route {
            Route::Index => replies::index(self.reader.namespace()),
            Route::Liveness => replies::liveness(&self.reader),
            Route::Metrics => {
                let format = Exposition::negotiate(&joined(headers, &header::ACCEPT));
                self.rendered(Page::Metrics(format), headers).await
            }
            #[cfg(feature = "json")]
            Route::Snapshot => self.rendered(Page::Snapshot, headers).await,
        }
    }

    async fn rendered(&self, page: Page, headers: &HeaderMap) -> Response<Bytes> {
        let coding = if self.compressed {
            Coding::negotiate(&joined(headers, &header::ACCEPT_ENCODING))
        } else {
            Coding::Identity
        };
        let Some(rendering) = self.flights.join(Form { page, coding }) else {
            return replies::busy("too many renderings are being read; ask again\n");
        };
        match rendering.await {
            Ok(rendering) => replies::rendering(rendering.bytes, page.content_type(), coding.name()),
            Err(error) if error.kind() == ErrorKind::WorkerLost => {
                replies::busy("the page was not rendered\n")
            }
            Err(error) => replies::busy(&format!("{error}\n")),
        }
    }
}

/// What a server needs to know besides.
#[cfg(feature = "http")]
impl Pages {
    pub(crate) fn reader(&self) -> &RuntimeReader {
        &self.reader
    }

    /// Whether a rendering more would be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.flights.counts().is_full()
    }

    pub(crate) fn counts(&self) -> ScrapeCounts {
        self.flights.counts()
    }
}

impl Pages {
    /// What whoever shows them has done as far as renderings go.
    pub(crate) fn served(&self) -> Served {
        let counts = self.flights.counts();
        Served {
            scrapes: counts.scrapes,
            renderings: counts.renderings,
            rendering_time: counts.rendering_time,
            longest_rendering: counts.longest_rendering,
            held_renderings: counts.held as u64,
            held_bytes: counts.held_bytes as u64,
            late_sources: counts.late_sources,
            ..Served::default()
        }
    }
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Index),
            "/metrics" => Some(Self::Metrics),
            #[cfg(feature = "json")]
            "/snapshot" => Some(Self::Snapshot),
            "/livez" => Some(Self::Liveness),
            _ => None,
        }
    }
}

/// Every line of a header as one, as RFC 9110, 5.3 reads them; what is no text is left out.
fn joined(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let lines: Vec<_> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    lines.join(",")
}
