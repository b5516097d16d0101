//! An exporter over whatever takes bytes: a file, a pipe, a terminal.

use crate::export::exporter::ExportError;
use crate::export::exporter::Exporter;
use crate::export::rows::Written;
use crate::model::error::Error;
use crate::runtime::collection::RuntimeSnapshot;
use std::io::Write;
use std::time::Duration;

/// Writes each snapshot as `encode` does, one after another.
pub(super) struct Stream<W, F> {
    writer: W,
    encode: F,
    /// The last write failed, perhaps within a line.
    torn: bool,
}

impl<W, F> Stream<W, F>
where
    W: Write + Send + 'static,
    F: FnMut(&RuntimeSnapshot, &mut dyn Write) -> Result<Written, Error> + Send + 'static,
{
    pub(super) fn new(writer: W, encode: F) -> Self {
        Self { writer, encode, torn: false }
    }
}

impl<W, F> Exporter for Stream<W, F>
where
    W: Write + Send + 'static,
    F: FnMut(&RuntimeSnapshot, &mut dyn Write) -> Result<Written, Error> + Send + 'static,
{
    /// Blocks as long as the writer does: the thread is this exporter's own.
    async fn export(&mut self, snapshot: &RuntimeSnapshot, _within: Duration) -> Result<(), ExportError> {
        if self.torn {
            // What is out of the last one ends here, so that this one begins on a line of its own.
            self.writer.write_all(b"\n").map_err(|cause| {
                ExportError::retryable(format!("a snapshot could not be written: {cause}")).with_source(cause)
            })?;
        }
        self.torn = true;
        (self.encode)(snapshot, &mut self.writer)?;
        self.torn = false;
        Ok(())
    }
}
