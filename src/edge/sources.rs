//! The threads on which a runtime's sources are asked.

use crate::edge::pool::Pool;
use crate::model::limits;
use crate::runtime::Inner;
use crate::runtime::collection::asking;
use crate::runtime::collection::asking::Asking;
use crate::runtime::collection::asking::Job;
use crate::runtime::collection::asking::RunsJobs;

impl RunsJobs for Pool {
    fn run(&self, job: Job) -> bool {
        Self::run(self, job)
    }
}

/// Begins to ask every source of a runtime that is due, on threads that all its exporters and servers share: as many sources may hang as there
/// are threads, and until then the others are asked.
pub(crate) fn ask(inner: &Inner) -> Asking {
    asking::begin(inner, || {
        let name = format!("{}.sources", inner.namespace);
        // Every source has a call at a time.
        Box::new(Pool::new(name, limits::SOURCE_THREADS, limits::MAX_SOURCES))
    })
}
