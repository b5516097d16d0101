//! Pushes to a Pushgateway, and what its answers mean.

use crate::export::exporter::ExportError;
use crate::export::exporter::Exporter;
use crate::export::prometheus::Encoder;
use crate::export::prometheus::Format;
use crate::export::push::Client;
use crate::export::push::Message;
use crate::export::push::Route;
use crate::export::push::Target;
use crate::export::pushgateway::group;
use crate::model::error::Error;
use crate::model::label::LabelSet;
use crate::runtime::collection::Fold;
use crate::runtime::collection::RuntimeSnapshot;
use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::header;
use std::fmt;
use std::time::Duration;

/// Pushes the state of a runtime to a Pushgateway, as one group of labels. When not to: see [the module](crate::export::pushgateway).
///
/// For [`MetricsRuntime::add_exporter`](crate::MetricsRuntime::add_exporter), mostly on demand: the last state is pushed at the shutdown. 5xx and 429 are tried again,
/// other failures are not.
///
/// `Debug` shows no address beyond host and port, no header and no credentials; neither do errors.
///
/// # Examples
///
/// ```
/// use mvx_metrics::MetricsRuntime;
/// use mvx_metrics::export::Schedule;
/// use mvx_metrics::export::pushgateway::PushgatewayExporter;
/// use std::time::Duration;
///
/// let exporter = PushgatewayExporter::builder("http://127.0.0.1:9", "nightly").label("instance", "host-1").build()?;
/// let runtime = MetricsRuntime::builder("backup").build()?;
/// runtime.add_exporter("pushgateway", Schedule::on_demand().timeout(Duration::from_secs(1)), exporter)?;
/// // ... the job runs, and at its end:
/// let report = runtime.shutdown(Duration::from_millis(100))?;
/// // Nobody listens here: the last state is lost, and the report says so.
/// assert!(report.exporters()[0].error.as_ref().is_some_and(|error| error.to_string().contains("127.0.0.1:9")));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct PushgatewayExporter {
    client: Client,
    encoder: Encoder,
    path: String,
    delete_at_end: bool,
}

/// Collects the settings of a [`PushgatewayExporter`]; mistakes are told by [`build`](Self::build).
#[derive(Clone)]
#[must_use = "an exporter is made by `build`"]
pub struct PushgatewayExporterBuilder {
    url: String,
    job: String,
    headers: Vec<(String, String)>,
    route: Route,
    labels: Vec<(String, String)>,
    encoder: Encoder,
    delete_at_end: bool,
}

impl PushgatewayExporter {
    /// Settings with their defaults, for a Pushgateway at `url` (`http://host:9091`) and this job.
    pub fn builder(url: &str, job: &str) -> PushgatewayExporterBuilder {
        PushgatewayExporterBuilder {
            url: url.to_owned(),
            job: job.to_owned(),
            headers: Vec::new(),
            route: Route::default(),
            labels: Vec::new(),
            encoder: Encoder::new(Format::Text),
            delete_at_end: false,
        }
    }
}

impl PushgatewayExporterBuilder {
    /// A label of the group besides the job, such as `instance`: groups with other labels are not touched. Any value will do.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A header of every request, such as a token.
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
    /// use mvx_metrics::export::pushgateway::PushgatewayExporter;
    ///
    /// let roots = "not a certificate"; // std::fs::read("authority.pem")?
    /// let refused = PushgatewayExporter::builder("https://pushgateway:9091", "nightly").roots(roots).build();
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
    /// use mvx_metrics::export::pushgateway::PushgatewayExporter;
    ///
    /// let (chain, key) = ("not a certificate", "not a key"); // std::fs::read("client.pem")?, std::fs::read("client.key")?
    /// let refused = PushgatewayExporter::builder("https://pushgateway:9091", "nightly").identity(chain, key).build();
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidCredential);
    /// ```
    #[cfg(feature = "push-tls")]
    pub fn identity(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.route.be(chain.as_ref(), key.as_ref());
        self
    }

    /// Shows recorders one by one or folded.
    pub fn fold(mut self, fold: Fold) -> Self {
        self.encoder = self.encoder.fold(fold);
        self
    }

    /// Pushes what the runtime says of itself, as `mvx_*`, or leaves it out. It is pushed unless said otherwise.
    pub fn vitals(mut self, shown: bool) -> Self {
        self.encoder = self.encoder.vitals(shown);
        self
    }

    /// Deletes the group when the exporter ends, instead of leaving the last state for Prometheus to scrape. Off unless said.
    pub fn delete_at_end(mut self, on: bool) -> Self {
        self.delete_at_end = on;
        self
    }

    /// The exporter.
    ///
    /// # Errors
    ///
    /// [`InvalidAddress`](crate::ErrorKind::InvalidAddress) for an address that is none of `http` or `https`, or a proxy that is none of `http`, [`InvalidName`](crate::ErrorKind::InvalidName) for a
    /// header or a label that cannot be one, a label given twice among them, or `job`.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::ErrorKind;
    /// use mvx_metrics::export::pushgateway::PushgatewayExporter;
    ///
    /// let error = PushgatewayExporter::builder("http://pushgateway:9091", "nightly").label("job", "x").build().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidName);
    /// ```
    pub fn build(self) -> Result<PushgatewayExporter, Error> {
        let Self { url, job, headers, route, labels, encoder, delete_at_end } = self;
        // The job is one of them, so that it is not given twice.
        let all = labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        LabelSet::new(all.chain([("job", job.as_str())]))?;
        let mut target = Target::parse(&url)?;
        for (name, value) in &headers {
            target.header(name, value)?;
        }
        let path = target.below(&group::path(&job, &labels));
        Ok(PushgatewayExporter { client: Client::new(target, &route)?, encoder, path, delete_at_end })
    }
}

impl Exporter for PushgatewayExporter {
    async fn export(&mut self, snapshot: &RuntimeSnapshot, _within: Duration) -> Result<(), ExportError> {
        let mut text = String::new();
        // What the format has nothing for is nothing to fail over.
        let _ = self.encoder.encode(snapshot, &mut text);
        self.send(Method::PUT, text.into()).await
    }

    async fn shutdown(&mut self, _within: Duration) -> Result<(), ExportError> {
        let ended = if self.delete_at_end { self.send(Method::DELETE, Bytes::new()).await } else { Ok(()) };
        self.client.close();
        ended
    }
}

impl PushgatewayExporter {
    async fn send(&mut self, method: Method, body: Bytes) -> Result<(), ExportError> {
        let content = (header::CONTENT_TYPE, HeaderValue::from_static(Format::Text.content_type()));
        let message = Message { method, path: Some(self.path.clone()), headers: vec![content], body };
        self.client.send(message).await?.judge("the Pushgateway")
    }
}

impl fmt::Debug for PushgatewayExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushgatewayExporter")
            .field("client", &self.client)
            .field("encoder", &self.encoder)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PushgatewayExporterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushgatewayExporterBuilder")
            .field("job", &self.job)
            .field("encoder", &self.encoder)
            .finish_non_exhaustive()
    }
}
