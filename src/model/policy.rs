//! What a full recorder does with one event more.

/// Which event is lost when a recorder has as many pending events as its capacity. Every loss is counted.
///
/// | policy | the event lost | counted as | cost |
/// |---|---|---|---|
/// | `DropNewest` | the one being handed over | `rejected.full` | lock-free |
/// | `DropOldest` | the one that has waited longest | `dropped.evicted` | a short lock for each hand-off |
///
/// # Examples
///
/// ```
/// use mvx_metrics::OverflowPolicy;
///
/// assert_eq!(OverflowPolicy::default(), OverflowPolicy::DropNewest);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OverflowPolicy {
    /// Refuse the new event; `try_register_event` gives it back.
    #[default]
    DropNewest,
    /// Take the new event and drop the oldest that still waits. If every pending event is being processed, there is none to
    /// drop, and the new event is refused.
    DropOldest,
}
