//! Which metrics a rule is for.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::name::MetricName;

/// A name, or the beginning of names.
#[derive(Clone, Debug)]
pub(crate) enum NamePattern {
    Name(MetricName),
    Beginning(Box<str>),
}

impl NamePattern {
    /// A name, or its beginning and `*`.
    pub(crate) fn new(pattern: &str) -> Result<Self, Error> {
        match pattern.strip_suffix('*') {
            None => MetricName::new(pattern).map(Self::Name),
            // What any name could begin with, or nothing: a mistake would never match anything, and nobody would notice.
            Some("") => Ok(Self::Beginning("".into())),
            Some(beginning) => match MetricName::new(&format!("{beginning}x")) {
                Ok(_) => Ok(Self::Beginning(beginning.into())),
                Err(error) => {
                    let message = format!(
                        "no metric's name begins as `{pattern}` does; write a name, or its beginning and `*`"
                    );
                    Err(Error::new(ErrorKind::InvalidName, message).with_source(error))
                }
            },
        }
    }

    pub(crate) fn matches(&self, name: &MetricName) -> bool {
        match self {
            Self::Name(this) => this == name,
            Self::Beginning(beginning) => name.as_str().starts_with(&**beginning),
        }
    }
}
