//! One page as bytes.

use crate::export::pages::coding::Coding;
use crate::export::prometheus::Encoder;
use crate::export::prometheus::Exposition;
use crate::export::prometheus::ProtobufEncoder;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::runtime::collection::Fold;
use crate::runtime::reader::RuntimeReader;

/// A page that is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Page {
    Metrics(Exposition),
    #[cfg(feature = "json")]
    Snapshot,
}

impl Page {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Metrics(format) => format.content_type(),
            #[cfg(feature = "json")]
            Self::Snapshot => "application/json",
        }
    }
}

/// A page as it is sent: what requests of the same form share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Form {
    pub(super) page: Page,
    pub(super) coding: Coding,
}

/// How recorders are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) fold: Fold,
    pub(crate) vitals: bool,
}

/// The runtime's state in this form. `expected` is about how long the text will be.
pub(super) fn render(
    reader: &RuntimeReader,
    look: Look,
    form: Form,
    expected: usize,
) -> Result<Rendered, Error> {
    let Some(snapshot) = reader.collect() else {
        let message = "the runtime is gone, so there is nothing to show; end its server together with it";
        return Err(Error::new(ErrorKind::NotFound, message));
    };
    let mut text = String::with_capacity(expected);
    let mut bytes = Vec::new();
    match form.page {
        Page::Metrics(Exposition::Text(format, escaping)) => {
            let encoder = Encoder::new(format).escaping(escaping).fold(look.fold).vitals(look.vitals);
            let _left_out = encoder.encode(&snapshot, &mut text);
        }
        Page::Metrics(Exposition::Protobuf(escaping)) => {
            let encoder = ProtobufEncoder::new().escaping(escaping).fold(look.fold).vitals(look.vitals);
            bytes = std::mem::take(&mut text).into_bytes();
            let _left_out = encoder.encode(&snapshot, &mut bytes);
        }
        #[cfg(feature = "json")]
        Page::Snapshot => {
            let encoder = crate::export::json::Encoder::new().fold(look.fold).vitals(look.vitals);
            let _left_out = encoder.document(&snapshot, &mut text);
        }
    }
    let whole = if bytes.is_empty() { text.into_bytes() } else { bytes };
    let plain = whole.len();
    let body = form.coding.pack(whole).map_err(|cause| {
        let message = "the page could not be compressed; ask without `Accept-Encoding`";
        Error::new(ErrorKind::Io, message).with_source(cause)
    })?;
    Ok(Rendered { body, plain })
}

/// A rendered page, and the length of its text.
pub(super) struct Rendered {
    pub(super) body: Vec<u8>,
    pub(super) plain: usize,
}
