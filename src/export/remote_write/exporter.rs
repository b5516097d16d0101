//! What was sent, what is gone, and what a receiver's answers mean.

use crate::export::exporter::ExportError;
use crate::export::exporter::Exporter;
use crate::export::push::Client;
use crate::export::push::Message;
use crate::export::push::Route;
use crate::export::push::Target;
use crate::export::remote_write::encode;
use crate::export::remote_write::encode::Metadata;
use crate::export::remote_write::encode::Point;
use crate::export::remote_write::encode::Sent;
use crate::export::remote_write::encode::Series;
use crate::export::remote_write::encode::Value;
use crate::export::rows::Selection;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::label::LabelSet;
use crate::model::limits;
use crate::runtime::collection::Fold;
use crate::runtime::collection::RuntimeSnapshot;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::header;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// Pushes the state of a runtime by Prometheus's remote write 1.0 (protobuf, snappy).
///
/// For [`MetricsRuntime::add_exporter`](crate::MetricsRuntime::add_exporter). 5xx and 429 are tried again, with the pause that the answer asks for; other
/// failures are not, as the [specification](https://prometheus.io/docs/specs/prw/remote_write_spec/#retries-backoff) says. It remembers the labels of the
/// series that were taken, to say when one has ended: memory in proportion to the series.
///
/// `Debug` shows no address beyond host and port, no header and no credentials; neither do errors.
///
/// # Examples
///
/// ```
/// use mvx_metrics::MetricsRuntime;
/// use mvx_metrics::export::Schedule;
/// use mvx_metrics::export::remote_write::RemoteWriteExporter;
/// use std::time::Duration;
///
/// let exporter = RemoteWriteExporter::builder("http://127.0.0.1:9/api/v1/write").label("instance", "host-1").build()?;
/// let runtime = MetricsRuntime::builder("shop").build()?;
/// runtime.add_exporter("prometheus", Schedule::every(Duration::from_secs(15)).timeout(Duration::from_secs(1)), exporter)?;
/// let report = runtime.shutdown(Duration::from_millis(100))?;
/// // Nobody listens here: the last state is lost, and the report says so.
/// assert!(report.exporters()[0].error.as_ref().is_some_and(|error| error.to_string().contains("127.0.0.1:9")));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct RemoteWriteExporter {
    client: Client,
    settings: Settings,
    /// The series that the receiver has.
    known: HashMap<Box<[u8]>, Known>,
    /// The time of the last samples, in milliseconds.
    last: i64,
}

/// A series that the receiver has.
#[derive(Clone, Copy)]
struct Known {
    /// Since when it counts.
    started: Timestamp,
    native: bool,
    /// The time of its newest exemplar, in milliseconds.
    exemplified: i64,
}

#[derive(Clone, Debug)]
struct Settings {
    selection: Selection,
    /// Sorted by key.
    labels: Vec<(String, String)>,
    end_series: bool,
    native: bool,
    most: usize,
}

/// Collects the settings of a [`RemoteWriteExporter`]; mistakes are told by [`build`](Self::build).
#[derive(Clone)]
#[must_use = "an exporter is made by `build`"]
pub struct RemoteWriteExporterBuilder {
    url: String,
    headers: Vec<(String, String)>,
    route: Route,
    labels: Vec<(String, String)>,
    settings: Settings,
}

impl RemoteWriteExporter {
    /// Settings with their defaults, for a receiver at `url`: `http://host:9090/api/v1/write` for a Prometheus that was started with
    /// `--web.enable-remote-write-receiver`.
    pub fn builder(url: &str) -> RemoteWriteExporterBuilder {
        RemoteWriteExporterBuilder {
            url: url.to_owned(),
            headers: Vec::new(),
            route: Route::default(),
            labels: Vec::new(),
            settings: Settings {
                selection: Selection::of_numbers(),
                labels: Vec::new(),
                end_series: false,
                native: false,
                most: limits::REMOTE_WRITE_SERIES,
            },
        }
    }
}

impl RemoteWriteExporterBuilder {
    /// A header of every request, such as a token or a tenant.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Goes through this proxy, `http://[user:password@]host:port`, whatever the environment says: asked as it is for a target of `http`, by `CONNECT` for one of
    /// `https`. Neither `Debug` nor an error shows its user and password.
    ///
    /// Unless this or [`no_proxy`](Self::no_proxy) is said, [`build`](Self::build) reads `HTTP_PROXY` or `HTTPS_PROXY`, and `NO_PROXY`, in small letters before
    /// large ones: names with those below them, addresses, networks (`10.0.0.0/8`), each with or without a port, or `*`. A target on this machine
    /// (`localhost`, `127.0.0.1`, `::1`) then needs none.
    pub fn proxy(mut self, url: &str) -> Self {
        self.route.through(url);
        self
    }

    /// Goes through no proxy, whatever the environment says.
    pub fn no_proxy(mut self) -> Self {
        self.route.direct();
        self
    }

    /// For an address of `https`: the certificates in PEM that the receiver's has to be signed by, instead of those that this machine trusts.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::ErrorKind;
    /// use mvx_metrics::export::remote_write::RemoteWriteExporter;
    ///
    /// let roots = "not a certificate"; // std::fs::read("authority.pem")?
    /// let refused = RemoteWriteExporter::builder("https://prometheus:9090/api/v1/write").roots(roots).build();
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidCredential);
    /// ```
    #[cfg(feature = "push-tls")]
    pub fn roots(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.route.trust(pem.as_ref());
        self
    }

    /// For an address of `https` whose receiver asks for it: our own certificate with those above it, and its private key, in PEM. Neither is shown by `Debug` or an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::ErrorKind;
    /// use mvx_metrics::export::remote_write::RemoteWriteExporter;
    ///
    /// let (chain, key) = ("not a certificate", "not a key"); // std::fs::read("client.pem")?, std::fs::read("client.key")?
    /// let refused = RemoteWriteExporter::builder("https://prometheus:9090/api/v1/write").identity(chain, key).build();
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidCredential);
    /// ```
    #[cfg(feature = "push-tls")]
    pub fn identity(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.route.be(chain.as_ref(), key.as_ref());
        self
    }

    /// A label of every series that has none of this key: what a scrape would add, `job` and `instance`. `job` is the runtime's namespace unless it is set.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Shows recorders one by one or folded.
    pub fn fold(mut self, fold: Fold) -> Self {
        self.settings.selection.fold = fold;
        self
    }

    /// Sends what the runtime says of itself, as `mvx_*`, or leaves it out. It is sent unless said otherwise.
    pub fn vitals(mut self, shown: bool) -> Self {
        self.settings.selection.vitals = shown;
        self
    }

    /// Ends every series by a stale marker when the exporter ends, as Prometheus does for a target that is gone. Otherwise, which is the default, the
    /// last values are seen for as long as the receiver looks back, mostly five minutes: what a short job wants.
    pub fn end_series(mut self, on: bool) -> Self {
        self.settings.end_series = on;
        self
    }

    /// Sends exponential histograms as native histograms, exactly, down to the coarsest scale that Prometheus has (-4; a metric with a coarser one has
    /// explicit buckets); one finer than its finest (8) at that. Otherwise, which is the default, they have explicit buckets, which every receiver takes. Prometheus has to be
    /// started with `--enable-feature=native-histograms`, unless its version has them anyway; a receiver that does not know them may drop them without a word.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::export::remote_write::RemoteWriteExporter;
    ///
    /// let exporter = RemoteWriteExporter::builder("http://prometheus:9090/api/v1/write").native_histograms(true).build()?;
    /// assert!(format!("{exporter:?}").contains("native: true"));
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn native_histograms(mut self, on: bool) -> Self {
        self.settings.native = on;
        self
    }

    /// Series of one request; [`REMOTE_WRITE_SERIES`](crate::limits::REMOTE_WRITE_SERIES) unless said. A state of more is sent in several.
    pub fn max_series(mut self, most: usize) -> Self {
        self.settings.most = most;
        self
    }

    /// The exporter.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidAddress`] for a receiver that is no `http` or `https` address, or a proxy that is none of `http` or `https`, or a proxy that is none of `http`, [`ErrorKind::InvalidName`] for a header or a label that cannot be one,
    /// [`ErrorKind::InvalidLimit`] for requests of no series.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::ErrorKind;
    /// use mvx_metrics::export::remote_write::RemoteWriteExporter;
    ///
    /// let error = RemoteWriteExporter::builder("http://prometheus:9090/api/v1/write").label("__name__", "x").build().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidName);
    /// ```
    pub fn build(self) -> Result<RemoteWriteExporter, Error> {
        let Self { url, headers, route, labels, mut settings } = self;
        if settings.most == 0 {
            return Err(Error::new(
                ErrorKind::InvalidLimit,
                "requests of no series say nothing; allow one or more",
            ));
        }
        let checked = LabelSet::new(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))?;
        settings.labels = checked.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let mut target = Target::parse(&url)?;
        for (name, value) in &headers {
            target.header(name, value)?;
        }
        Ok(RemoteWriteExporter {
            client: Client::new(target, &route)?,
            settings,
            known: HashMap::new(),
            last: 0,
        })
    }
}

impl Exporter for RemoteWriteExporter {
    async fn export(&mut self, snapshot: &RuntimeSnapshot, _within: Duration) -> Result<(), ExportError> {
        let mut labels = self.settings.labels.clone();
        if !labels.iter().any(|(key, _)| key == "job") {
            labels.push(("job".to_owned(), snapshot.namespace().to_owned()));
        }
        let (series, _) = Series::of(snapshot, &self.settings.selection, &labels, self.settings.native);
        let Series { points, metadata, .. } = series;
        // Later than whatever was sent, with a place for a marker between.
        let now = i64::try_from(snapshot.taken_at().unix_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let at = now.max(self.last.saturating_add(2));
        self.last = at;
        let mut current: Vec<Sent> = Vec::with_capacity(points.len());
        for point in points {
            let Point { labels, value, started, mut exemplars } = point;
            let before = self.known.get(&labels);
            // A receiver has no use for those that it has, nor for older ones.
            exemplars.retain(|(of, _)| before.is_none_or(|before| *of > before.exemplified));
            // Prometheus drops those of a native histogram that it does not know yet: it reads them first. They come with the next state.
            if value.is_native() && before.is_none_or(|before| !before.native) {
                exemplars.clear();
            }
            let other =
                before.filter(|before| (before.started, before.native) != (started, value.is_native()));
            let marker = other.map(|other| (Value::end(other.native), at - 1));
            let samples = marker.into_iter().chain([(value, at)]).collect();
            current.push(Sent { labels, samples, started: Some(started), exemplars });
        }
        let gone = self.gone(&current, at);
        self.send(gone, &[]).await?;
        self.send(current, &metadata).await
    }

    async fn shutdown(&mut self, _within: Duration) -> Result<(), ExportError> {
        let ended = if self.settings.end_series {
            let gone = self.gone(&[], self.last.saturating_add(1));
            self.send(gone, &[]).await
        } else {
            Ok(())
        };
        self.client.close();
        ended
    }
}

impl RemoteWriteExporter {
    /// Ends for the series that the receiver has and that are not among these.
    fn gone(&self, current: &[Sent], at: i64) -> Vec<Sent> {
        let present: std::collections::HashSet<&[u8]> = current.iter().map(|sent| &*sent.labels).collect();
        let gone = self.known.iter().filter(|(labels, _)| !present.contains(&***labels));
        gone.map(|(labels, known)| Sent {
            labels: labels.clone(),
            samples: vec![(Value::end(known.native), at)],
            started: None,
            exemplars: Vec::new(),
        })
        .collect()
    }

    /// Sends series in as many requests as it takes, and remembers what was taken.
    async fn send(&mut self, mut series: Vec<Sent>, metadata: &[Metadata]) -> Result<(), ExportError> {
        let mut metadata = metadata;
        while !series.is_empty() {
            let rest = series.split_off(series.len().min(self.settings.most));
            let body = encode::request(&series, std::mem::take(&mut metadata));
            let answer = self.client.send(message(&body)?).await?;
            answer.judge("the receiver")?;
            for Sent { labels, samples, started, exemplars } in std::mem::replace(&mut series, rest) {
                let native = samples.last().is_some_and(|(value, _)| value.is_native());
                match started {
                    Some(started) => {
                        let before = self.known.get(&labels).map(|before| before.exemplified);
                        let newest = exemplars.last().map(|(at, _)| *at).or(before);
                        let exemplified = newest.unwrap_or(i64::MIN);
                        self.known.insert(labels, Known { started, native, exemplified });
                    }
                    None => drop(self.known.remove(&labels)),
                }
            }
        }
        Ok(())
    }
}

fn message(body: &[u8]) -> Result<Message, ExportError> {
    let body = snap::raw::Encoder::new()
        .compress_vec(body)
        .map_err(|cause| ExportError::fatal("the request cannot be compressed").with_source(cause))?;
    let headers = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf")),
        (header::CONTENT_ENCODING, HeaderValue::from_static("snappy")),
        (HeaderName::from_static("x-prometheus-remote-write-version"), HeaderValue::from_static("0.1.0")),
    ];
    Ok(Message { method: Method::POST, path: None, headers, body: body.into() })
}

impl fmt::Debug for RemoteWriteExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteWriteExporter")
            .field("client", &self.client)
            .field("settings", &self.settings)
            .field("known", &self.known.len())
            .finish()
    }
}

impl fmt::Debug for RemoteWriteExporterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteWriteExporterBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::export::push::Answer;
    use bytes::Bytes;
    use http::StatusCode;

    #[test]
    fn each_status_is_retried_or_not_as_the_specification_says() {
        for status in (100..600).filter_map(|code| StatusCode::from_u16(code).ok()) {
            let answer = Answer {
                status,
                retry_after: Some(Duration::from_secs(3)),
                #[cfg(feature = "otlp")]
                content_type: None,
                body: Bytes::new(),
            };
            let judged = answer.judge("the receiver");
            if status.is_success() {
                assert!(judged.is_ok());
                continue;
            }
            let error = judged.unwrap_err();
            let expected = status.as_u16() == 429 || status.as_u16() >= 500;
            assert_eq!(error.is_retryable(), expected, "{status}");
            assert_eq!(error.retry_after(), expected.then_some(Duration::from_secs(3)), "{status}");
        }
    }
}
