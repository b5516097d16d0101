//! The environment variables of the specification:
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>, <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.

use crate::export::otlp::exporter::Compression;
use crate::export::otlp::exporter::OtlpExporterBuilder;
use crate::export::otlp::exporter::Protocol;
use crate::export::otlp::exporter::Temporality;
use crate::export::push::percent_decoded;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use std::time::Duration;

/// What a variable holds; a blank one is as none.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The settings of the environment over those of the builder.
pub(super) fn apply(
    mut builder: OtlpExporterBuilder,
    lookup: Lookup<'_>,
) -> Result<OtlpExporterBuilder, Error> {
    let of_metrics = |name: &str| {
        let specific = format!("OTEL_EXPORTER_OTLP_METRICS_{name}");
        let general = format!("OTEL_EXPORTER_OTLP_{name}");
        given(lookup, &specific)
            .map(|value| (specific, value))
            .or_else(|| given(lookup, &general).map(|value| (general, value)))
    };
    if let Some((name, word)) = of_metrics("PROTOCOL") {
        builder = builder.protocol(protocol(&name, &word)?);
    }
    if let Some(url) = given(lookup, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") {
        builder = builder.endpoint(&url);
    } else if let Some(url) = given(lookup, "OTEL_EXPORTER_OTLP_ENDPOINT") {
        builder = match builder.spoken() {
            Protocol::HttpProtobuf => builder.endpoint(&format!("{}/v1/metrics", url.trim_end_matches('/'))),
            #[cfg(feature = "otlp-grpc")]
            Protocol::Grpc => builder.endpoint(&url),
        };
    }
    #[cfg(feature = "otlp-grpc")]
    if builder.spoken() == Protocol::Grpc {
        let insecure = of_metrics("INSECURE").is_some_and(|(_, word)| word.eq_ignore_ascii_case("true"));
        builder = builder.with_scheme(if insecure { "http" } else { "https" });
    }
    if let Some((name, list)) = of_metrics("HEADERS") {
        for (key, value) in pairs(&name, &list)? {
            builder = builder.header(&key, &value);
        }
    }
    #[cfg(feature = "push-tls")]
    {
        let file = |(name, path): (String, String)| {
            std::fs::read(path)
                .map_err(|cause| refused(&name, "names a file that cannot be read").with_source(cause))
        };
        if let Some(roots) = of_metrics("CERTIFICATE") {
            builder = builder.roots(file(roots)?);
        }
        match (of_metrics("CLIENT_CERTIFICATE"), of_metrics("CLIENT_KEY")) {
            (Some(chain), Some(key)) => builder = builder.identity(file(chain)?, file(key)?),
            (Some((name, _)), None) => {
                return Err(refused(&name, "stands without its `OTEL_EXPORTER_OTLP_CLIENT_KEY`"));
            }
            (None, Some((name, _))) => {
                return Err(refused(&name, "stands without its `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`"));
            }
            (None, None) => {}
        }
    }
    if let Some((name, word)) = of_metrics("COMPRESSION") {
        builder = builder.compression(compression(&name, &word)?);
    }
    const PREFERENCE: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    builder = match given(lookup, PREFERENCE).map(|word| word.to_ascii_lowercase()).as_deref() {
        None => builder,
        Some("cumulative") => builder.temporality(Temporality::Cumulative),
        // What is counted here is counted by events, also where the runtime asks itself.
        Some("delta" | "lowmemory") => builder.temporality(Temporality::Delta),
        Some(_) => {
            return Err(refused(PREFERENCE, "asks for another than `cumulative`, `delta` or `lowmemory`"));
        }
    };
    if let Some(list) = given(lookup, "OTEL_RESOURCE_ATTRIBUTES") {
        for (key, value) in pairs("OTEL_RESOURCE_ATTRIBUTES", &list)? {
            builder = builder.resource(&key, &value);
        }
    }
    if let Some(name) = given(lookup, "OTEL_SERVICE_NAME") {
        builder = builder.resource("service.name", &name);
    }
    Ok(builder)
}

fn protocol(name: &str, word: &str) -> Result<Protocol, Error> {
    match word {
        "http/protobuf" => Ok(Protocol::HttpProtobuf),
        #[cfg(feature = "otlp-grpc")]
        "grpc" => Ok(Protocol::Grpc),
        #[cfg(not(feature = "otlp-grpc"))]
        "grpc" => Err(refused(name, "asks for `grpc`, which needs the feature `otlp-grpc` of this build")),
        _ => Err(refused(name, "asks for another protocol than `http/protobuf` or `grpc`")),
    }
}

fn compression(name: &str, word: &str) -> Result<Compression, Error> {
    match word {
        "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        #[cfg(feature = "zstd")]
        "zstd" => Ok(Compression::Zstd),
        #[cfg(not(feature = "zstd"))]
        "zstd" => Err(refused(name, "asks for `zstd`, which needs the feature `zstd` of this build")),
        _ => Err(refused(name, "asks for another compression than `none`, `gzip` or `zstd`")),
    }
}

/// A number of milliseconds.
pub(super) fn milliseconds(lookup: Lookup<'_>, names: &[&str]) -> Result<Option<Duration>, Error> {
    let found = names.iter().find_map(|name| given(lookup, name).map(|value| (name, value)));
    found
        .map(|(name, value)| {
            let millis = value.parse().map_err(|_| refused(name, "is no number of milliseconds"))?;
            Ok(Duration::from_millis(millis))
        })
        .transpose()
}

fn given(lookup: Lookup<'_>, name: &str) -> Option<String> {
    lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// `key=value,key=value`, values percent-encoded. What it holds is not repeated: it may be a token.
fn pairs(name: &str, list: &str) -> Result<Vec<(String, String)>, Error> {
    let wrong = || refused(name, "is not written `key=value,key=value` with percent-encoded values");
    let decoded = |text: &str| percent_decoded(text.trim()).and_then(|bytes| String::from_utf8(bytes).ok());
    list.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').ok_or_else(wrong)?;
            let (key, value) = (decoded(key).ok_or_else(wrong)?, decoded(value).ok_or_else(wrong)?);
            if key.is_empty() { Err(wrong()) } else { Ok((key, value)) }
        })
        .collect()
}

fn refused(name: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidSetting,
        format!("the environment variable {name} {what}; correct it, or unset it"),
    )
}
