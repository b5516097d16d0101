//! What the feature `log` adds to a runtime's builder.

use crate::recorder::journal::log::LogMode;
use crate::runtime::builder::RuntimeBuilder;

impl RuntimeBuilder {
    /// How much the runtime logs, and each of its recorders that says nothing else. [`LogMode::Normal`] if this is not called.
    ///
    /// Events of `tracing` go to whatever subscriber the program has; without one, nothing is written.
    pub fn log_mode(mut self, mode: LogMode) -> Self {
        self.listeners.logged_from = mode.logged_from();
        self
    }
}
