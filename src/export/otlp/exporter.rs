//! Requests to a collector, and what its answers mean.

use crate::export::exporter::ExportError;
use crate::export::exporter::Exporter;
use crate::export::otlp::delta::Taken;
use crate::export::otlp::encode;
use crate::export::otlp::encode::Resource;
use crate::export::otlp::environment;
use crate::export::otlp::link::Link;
use crate::export::otlp::link::Rejected;
use crate::export::push::Client;
#[cfg(feature = "otlp-grpc")]
use crate::export::push::Http2;
use crate::export::push::Route;
use crate::export::push::Target;
use crate::export::rows::Selection;
use crate::export::schedule::Schedule;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use crate::runtime::collection::Fold;
use crate::runtime::collection::RuntimeSnapshot;
use std::fmt;
use std::time::Duration;
use std::time::Instant;

/// Pushes the state of a runtime to an OpenTelemetry collector, by OTLP in protobuf, over HTTP or gRPC.
///
/// For [`MetricsRuntime::add_exporter`](crate::MetricsRuntime::add_exporter). A state is sent in as many requests as keep each below the size that
/// receivers take; 429, 502, 503 and 504, and their likes of gRPC, are tried again, with the pause that the answer asks for, other failures are not, as the
/// [specification](https://opentelemetry.io/docs/specs/otlp/#otlphttp-response) says. Data points that a receiver rejects by a partial success are
/// counted in the error, and never sent again.
///
/// `Debug` shows no address beyond host and port, no header and no credentials; neither do errors.
///
/// # Examples
///
/// ```
/// use mvx_metrics::MetricsRuntime;
/// use mvx_metrics::export::Schedule;
/// use mvx_metrics::export::otlp::OtlpExporter;
/// use std::time::Duration;
///
/// let exporter = OtlpExporter::builder()
///     .endpoint("http://127.0.0.1:4318/v1/metrics") // where a collector of this machine mostly is, and the default
///     .resource("service.name", "shop")
///     .build()?;
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.add_exporter("otlp", Schedule::every(Duration::from_secs(60)).timeout(Duration::from_secs(1)), exporter)?;
/// let report = runtime.shutdown(Duration::from_millis(100))?;
/// // Nobody listens here: the last state is lost, and the report says so.
/// assert!(report.exporters()[0].error.as_ref().is_some_and(|error| error.to_string().contains("127.0.0.1:4318")));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct OtlpExporter {
    link: Link,
    settings: Settings,
    /// For differences.
    taken: Taken,
}

#[derive(Clone, Debug)]
struct Settings {
    selection: Selection,
    resource: Resource,
    compression: Compression,
    most: usize,
    temporality: Temporality,
}

/// What the points of counters and histograms are: totals since the start of each series, or what came since the last point that was taken.
///
/// Levels, gauges and summaries are told as they are in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Temporality {
    /// Totals. An export that failed, or of whose fate nothing is known, is made up for by the next.
    #[default]
    Cumulative,
    /// Differences, for receivers that add up by themselves.
    ///
    /// One counts as taken when the answer says so, rejected points included; until then it is a part of the next. So none is lost, and the sum of those that were
    /// taken is the total. **Where an answer does not come**, by a time-out or a connection that breaks, the receiver may have taken the request all the same: then
    /// what was in it is told twice, with the same start time. Only totals have no such doubt. What a series has counted since the last export is lost
    /// if it is removed before the next; by [`Fold::Group`] it is not. Points without change are left out, and smallest and largest
    /// values stand in a series' first point alone. The exporter remembers every series, also those that are in an exported overflow series: one that moves there, or back, is
    /// not counted twice.
    Delta,
}

/// Over what OTLP is sent.
///
/// Both say the same. Over HTTP, every proxy and every receiver takes it.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::otlp::Protocol;
///
/// assert_eq!(Protocol::default(), Protocol::HttpProtobuf);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1, a `POST` of each request.
    #[default]
    HttpProtobuf,
    /// gRPC over HTTP/2, a unary call of each request: without asking first by `http`, by ALPN over `https`. A proxy is gone through by `CONNECT`. Each call tells the receiver
    /// how long is waited for it. Headers are its metadata; a name that ends in `-bin` has a value in base64.
    #[cfg(feature = "otlp-grpc")]
    Grpc,
}

/// How requests are compressed.
///
/// Each costs the exporter's thread the time to compress, and memory beside a request's own.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::otlp::Compression;
///
/// assert_eq!(Compression::default(), Compression::None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// They are sent as they are.
    #[default]
    None,
    /// gzip, which every receiver has to take.
    Gzip,
    /// zstd. The specification leaves it to receivers: one that has not got it refuses each request, as an error that is not tried again. OpenTelemetry's
    /// Collector has it.
    #[cfg(feature = "zstd")]
    Zstd,
}

/// Collects the settings of an [`OtlpExporter`]; mistakes are told by [`build`](Self::build).
#[derive(Clone)]
#[must_use = "an exporter is made by `build`"]
pub struct OtlpExporterBuilder {
    protocol: Protocol,
    endpoint: Option<String>,
    headers: Vec<(String, String)>,
    route: Route,
    settings: Settings,
}

impl OtlpExporter {
    /// Settings with their defaults: a collector on this machine, `http://localhost:4318/v1/metrics`, without compression.
    pub fn builder() -> OtlpExporterBuilder {
        OtlpExporterBuilder {
            protocol: Protocol::default(),
            endpoint: None,
            headers: Vec::new(),
            route: Route::default(),
            settings: Settings {
                selection: Selection::of_numbers(),
                resource: Resource::default(),
                compression: Compression::default(),
                most: limits::OTLP_REQUEST_BYTES,
                temporality: Temporality::default(),
            },
        }
    }
}

impl OtlpExporterBuilder {
    /// Over what it is sent; [HTTP](Protocol::HttpProtobuf) unless said.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::export::otlp::{OtlpExporter, Protocol};
    ///
    /// let exporter = OtlpExporter::builder().protocol(Protocol::HttpProtobuf).build()?;
    /// assert!(format!("{exporter:?}").contains("4318")); // the port where that is mostly taken
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Where to send to. By HTTP the whole address, `http://host:port/v1/metrics` with most receivers; by gRPC `http://host:port`, without a path.
    /// A collector on this machine unless said: `http://localhost:4318/v1/metrics`, or `http://localhost:4317`.
    pub fn endpoint(mut self, url: &str) -> Self {
        self.endpoint = Some(url.to_owned());
        self
    }

    pub(super) fn spoken(&self) -> Protocol {
        self.protocol
    }

    /// An address that has no scheme gets this one.
    #[cfg(feature = "otlp-grpc")]
    pub(super) fn with_scheme(mut self, scheme: &str) -> Self {
        self.endpoint =
            self.endpoint.map(|url| if url.contains("://") { url } else { format!("{scheme}://{url}") });
        self
    }

    /// A header of every request, such as a token. Asking again for the same name replaces it.
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
    /// use mvx_metrics::export::otlp::OtlpExporter;
    ///
    /// let roots = "not a certificate"; // std::fs::read("authority.pem")?
    /// let refused = OtlpExporter::builder().endpoint("https://collector:4318/v1/metrics").roots(roots).build();
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
    /// use mvx_metrics::export::otlp::OtlpExporter;
    ///
    /// let (chain, key) = ("not a certificate", "not a key"); // std::fs::read("client.pem")?, std::fs::read("client.key")?
    /// let refused = OtlpExporter::builder().endpoint("https://collector:4318/v1/metrics").identity(chain, key).build();
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidCredential);
    /// ```
    #[cfg(feature = "push-tls")]
    pub fn identity(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.route.be(chain.as_ref(), key.as_ref());
        self
    }

    /// An attribute of the resource: `service.name`, `service.version`, `deployment.environment.name`. Asking again for the same key replaces it.
    /// `service.name` is the runtime's namespace unless it is set.
    pub fn resource(mut self, key: &str, value: &str) -> Self {
        let attributes = &mut self.settings.resource.attributes;
        attributes.retain(|(known, _)| known != key);
        attributes.push((key.to_owned(), value.to_owned()));
        self
    }

    /// How requests are compressed; [not at all](Compression::None) unless said.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::export::otlp::{Compression, OtlpExporter};
    ///
    /// let exporter = OtlpExporter::builder().compression(Compression::Gzip).build()?;
    /// assert!(format!("{exporter:?}").contains("Gzip"));
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn compression(mut self, compression: Compression) -> Self {
        self.settings.compression = compression;
        self
    }

    /// Shows recorders one by one or folded.
    pub fn fold(mut self, fold: Fold) -> Self {
        self.settings.selection.fold = fold;
        self
    }

    /// Sends what the runtime says of itself, as `mvx.*`, or leaves it out. It is sent unless said otherwise.
    pub fn vitals(mut self, shown: bool) -> Self {
        self.settings.selection.vitals = shown;
        self
    }

    /// Bytes of a request before compression; [`OTLP_REQUEST_BYTES`](crate::limits::OTLP_REQUEST_BYTES) unless said. A state of more is sent in
    /// several. At least 8 KiB.
    pub fn max_request_bytes(mut self, most: usize) -> Self {
        self.settings.most = most;
        self
    }

    /// Totals or differences; [totals](Temporality::Cumulative) unless said.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::export::otlp::{OtlpExporter, Temporality};
    ///
    /// let exporter = OtlpExporter::builder().temporality(Temporality::Delta).build()?;
    /// assert!(format!("{exporter:?}").contains("Delta"));
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn temporality(mut self, temporality: Temporality) -> Self {
        self.settings.temporality = temporality;
        self
    }

    /// Sets what the environment says, over what was set before: `OTEL_EXPORTER_OTLP_ENDPOINT`, `_HEADERS`, `_COMPRESSION` (`none`, `gzip`, or `zstd` with the feature of that name), `_PROTOCOL` (`http/protobuf`, or `grpc` with the feature `otlp-grpc`), for gRPC `_INSECURE`, and, with `push-tls`, `_CERTIFICATE` (a file of roots) and `_CLIENT_CERTIFICATE` with `_CLIENT_KEY`, each also as
    /// `OTEL_EXPORTER_OTLP_METRICS_*`, which goes before, `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` (`lowmemory` is as `delta`), `OTEL_RESOURCE_ATTRIBUTES` and
    /// `OTEL_SERVICE_NAME`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSetting`] with the variable that cannot be obeyed. Its value is not repeated.
    pub fn environment(self) -> Result<Self, Error> {
        environment::apply(self, &|name| std::env::var(name).ok())
    }

    /// The exporter.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidAddress`] for an endpoint that is no `http` or `https` address, or has a path by gRPC, or a proxy that is none of `http`, [`ErrorKind::InvalidName`] for a header that cannot be one,
    /// [`ErrorKind::InvalidLimit`] for requests below 8 KiB.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::ErrorKind;
    /// use mvx_metrics::export::otlp::OtlpExporter;
    ///
    /// let error = OtlpExporter::builder().endpoint("localhost:4318").build().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidAddress);
    /// ```
    pub fn build(self) -> Result<OtlpExporter, Error> {
        let Self { protocol, endpoint, headers, route, settings } = self;
        if settings.most < MIN_REQUEST_BYTES {
            let message = format!(
                "requests of {} bytes hold nothing; allow {MIN_REQUEST_BYTES} or more",
                settings.most
            );
            return Err(Error::new(ErrorKind::InvalidLimit, message));
        }
        let mut target = Target::parse(endpoint.as_deref().unwrap_or(protocol.usual()))?;
        for (name, value) in &headers {
            target.header(name, value)?;
        }
        let link = match protocol {
            Protocol::HttpProtobuf => Link::Http(Client::new(target, &route)?),
            #[cfg(feature = "otlp-grpc")]
            Protocol::Grpc => Link::Grpc(grpc(target, &headers, &route)?),
        };
        let taken = Taken::new(settings.selection.fold == Fold::Recorder);
        Ok(OtlpExporter { link, settings, taken })
    }
}

impl Protocol {
    /// Where a collector of this machine mostly is.
    fn usual(self) -> &'static str {
        match self {
            Self::HttpProtobuf => "http://localhost:4318/v1/metrics",
            #[cfg(feature = "otlp-grpc")]
            Self::Grpc => "http://localhost:4317",
        }
    }
}

#[cfg(feature = "otlp-grpc")]
fn grpc(target: Target, headers: &[(String, String)], route: &Route) -> Result<Http2, Error> {
    if target.has_path() {
        let message = "the address to push to by gRPC has a path; write it as `http://host:port`";
        return Err(Error::new(ErrorKind::InvalidAddress, message));
    }
    let reserved = |name: &str| name.trim().to_ascii_lowercase().starts_with("grpc-");
    if let Some((name, _)) = headers.iter().find(|(name, _)| reserved(name)) {
        let message = format!("{name:?} is one of gRPC's own headers; leave it out, or choose another name");
        return Err(Error::new(ErrorKind::InvalidName, message));
    }
    Http2::new(target, route)
}

const MIN_REQUEST_BYTES: usize = 8 * 1_024;

impl Schedule {
    /// The schedule that the environment asks for: `OTEL_METRIC_EXPORT_INTERVAL` (a minute unless set) and
    /// `OTEL_METRIC_EXPORT_TIMEOUT` or `OTEL_EXPORTER_OTLP_TIMEOUT`, in milliseconds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSetting`] with the variable that is no number.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::export::Schedule;
    /// use std::time::Duration;
    ///
    /// let schedule = Schedule::from_otel_environment()?;
    /// assert_eq!(schedule.interval(), Some(Duration::from_secs(60))); // nothing is set here
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn from_otel_environment() -> Result<Self, Error> {
        from_variables(&|name| std::env::var(name).ok())
    }
}

fn from_variables(lookup: environment::Lookup<'_>) -> Result<Schedule, Error> {
    let interval = environment::milliseconds(lookup, &["OTEL_METRIC_EXPORT_INTERVAL"])?;
    let names =
        ["OTEL_METRIC_EXPORT_TIMEOUT", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
    let timeout = environment::milliseconds(lookup, &names)?;
    let schedule = Schedule::every(interval.unwrap_or(Duration::from_secs(60)));
    Ok(match timeout {
        Some(timeout) => schedule.timeout(timeout),
        None => schedule,
    })
}

impl Exporter for OtlpExporter {
    async fn export(&mut self, snapshot: &RuntimeSnapshot, within: Duration) -> Result<(), ExportError> {
        let began = Instant::now();
        let Settings { selection, resource, compression, most, temporality } = &self.settings;
        let named = resource.attributes.iter().any(|(key, _)| key == "service.name");
        let mut resource = resource.clone();
        if !named {
            resource.attributes.push(("service.name".to_owned(), snapshot.namespace().to_owned()));
        }
        self.taken.begin();
        let deltas = (*temporality == Temporality::Delta).then_some(&mut self.taken);
        let (requests, _) = encode::requests(snapshot, selection, &resource, *most, deltas);
        let (mut rejected, mut sent) = (Rejected::default(), 0);
        for request in requests {
            sent += request.points;
            let left = within.saturating_sub(began.elapsed());
            rejected.add(self.link.send(request.body, *compression, left).await?);
            self.taken.commit(request.taken);
        }
        self.taken.end();
        rejected.into_result(sent)
    }

    async fn shutdown(&mut self, _within: Duration) -> Result<(), ExportError> {
        self.link.close();
        Ok(())
    }
}

impl fmt::Debug for OtlpExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpExporter").field("link", &self.link).field("settings", &self.settings).finish()
    }
}

impl fmt::Debug for OtlpExporterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpExporterBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<OtlpExporterBuilder, Error> {
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        environment::apply(OtlpExporter::builder(), &lookup)
    }

    #[test]
    fn the_environment_is_obeyed_the_specific_variable_before_the_general_one() {
        let builder = with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:1/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", " token = s%2Ce%20cret , other=x=y,"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=of the list,region=eu%3Dwest"),
            ("OTEL_SERVICE_NAME", " shop "),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "LowMemory"),
        ])
        .unwrap();
        assert_eq!(builder.endpoint.as_deref(), Some("http://general:1/v1/metrics"));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(builder.headers, [pair("token", "s,e cret"), pair("other", "x=y")]);
        assert_eq!(
            builder.settings.resource.attributes,
            [pair("region", "eu=west"), pair("service.name", "shop")]
        );
        assert_eq!(builder.settings.temporality, Temporality::Delta);
        assert_eq!(builder.settings.compression, Compression::Gzip);
        assert!(!format!("{builder:?}").contains("cret"));
        let builder = with(&[
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://specific:2/x"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general"),
        ])
        .unwrap();
        assert_eq!(builder.endpoint.as_deref(), Some("http://specific:2/x"));
        let blank = with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " "), ("OTEL_SERVICE_NAME", "")]).unwrap();
        assert_eq!((blank.endpoint, blank.settings.resource.attributes.len()), (None, 0));
    }

    #[test]
    fn each_compression_is_asked_for_by_the_environment_and_the_specific_variable_goes_before() {
        const GENERAL: &str = "OTEL_EXPORTER_OTLP_COMPRESSION";
        const SPECIFIC: &str = "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION";
        let asked = |variables: &[(&str, &str)]| with(variables).map(|built| built.settings.compression);
        assert_eq!(asked(&[(GENERAL, "gzip"), (SPECIFIC, "none")]).unwrap(), Compression::None);
        assert_eq!(asked(&[(GENERAL, " ")]).unwrap(), Compression::None);
        for name in [GENERAL, SPECIFIC] {
            assert_eq!(asked(&[(name, " gzip ")]).unwrap(), Compression::Gzip);
            #[cfg(feature = "zstd")]
            assert_eq!(asked(&[(name, "zstd")]).unwrap(), Compression::Zstd);
            #[cfg(not(feature = "zstd"))]
            assert!(asked(&[(name, "zstd")]).unwrap_err().to_string().contains("needs the feature `zstd`"));
            for wrong in ["ZSTD", "zstd,gzip", "br", "deflate", "true"] {
                let error = asked(&[(name, wrong)]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidSetting);
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }

    #[cfg(feature = "otlp-grpc")]
    #[test]
    fn grpc_is_asked_for_by_the_environment_and_its_address_has_no_path_and_may_have_no_scheme() {
        const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        let endpoint = |variables: &[(&str, &str)]| {
            let builder = with(variables).unwrap();
            assert_eq!(builder.protocol, Protocol::Grpc);
            builder.endpoint
        };
        assert_eq!(endpoint(&[grpc]), None);
        for (insecure, address, expected) in [
            ("", "http://collector:1/", "http://collector:1/"),
            ("", "collector:1", "https://collector:1"),
            ("false", "collector:1", "https://collector:1"),
            ("TRUE", "collector:1", "http://collector:1"),
            ("true", "https://collector:1", "https://collector:1"),
        ] {
            for name in [ENDPOINT, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] {
                let variables = [grpc, (name, address), ("OTEL_EXPORTER_OTLP_INSECURE", insecure)];
                assert_eq!(endpoint(&variables).as_deref(), Some(expected));
            }
        }
        let specific =
            [("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"), grpc, (ENDPOINT, "http://c")];
        assert_eq!(with(&specific).unwrap().endpoint.as_deref(), Some("http://c/v1/metrics"));
    }

    #[test]
    fn a_variable_that_cannot_be_obeyed_is_named_and_its_value_is_not() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "canary"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "canary"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "canary"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "canary"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "=canary"),
            ("OTEL_RESOURCE_ATTRIBUTES", "key=canary%zz"),
        ] {
            let error = with(&[(name, value)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidSetting);
            assert!(error.to_string().contains(name) && !error.to_string().contains("canary"), "{error}");
        }
        #[cfg(feature = "push-tls")]
        for name in ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY", "METRICS_CLIENT_KEY"] {
            let name = format!("OTEL_EXPORTER_OTLP_{name}");
            let error = with(&[(&name, "/canary/of/no/file")]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidSetting);
            assert!(error.to_string().contains(&name) && !error.to_string().contains("canary"), "{error}");
        }
        let interval = |value: &str| {
            let value = value.to_owned();
            from_variables(&move |name| (name == "OTEL_METRIC_EXPORT_INTERVAL").then(|| value.clone()))
        };
        assert_eq!(interval("250").unwrap().interval(), Some(Duration::from_millis(250)));
        assert_eq!(interval("soon").unwrap_err().kind(), ErrorKind::InvalidSetting);
    }
}
