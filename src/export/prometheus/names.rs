//! Which names of samples are taken: a name has one type.

use crate::model::prometheus;
use crate::model::snapshot::Kind;
use std::collections::HashSet;

/// The names of the samples so far.
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<String>);

impl Names {
    /// Takes all names that the samples of a family may have; false, and nothing taken, if one of them is another's.
    pub(crate) fn take(&mut self, family: &str, kind: Kind) -> bool {
        let all = || prometheus::suffixes(kind).iter().map(|suffix| format!("{family}{suffix}"));
        if all().any(|name| self.0.contains(&name)) {
            return false;
        }
        self.0.extend(all());
        true
    }
}
