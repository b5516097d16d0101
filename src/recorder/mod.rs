//! The recorder: a handle that takes events, an actor that turns them into metrics, and the snapshot that readers see.

mod actor;
pub(crate) mod buffered;
pub(crate) mod builder;
pub(crate) mod calls;
pub(crate) mod catalogue;
pub(crate) mod changing;
pub(crate) mod core;
mod define;
mod describe;
pub(crate) mod detached;
pub(crate) mod dispatch;
pub(crate) mod dynamic;
pub(crate) mod factory;
pub(crate) mod groups;
pub(crate) mod handle;
pub(crate) mod hooks;
pub(crate) mod hosted;
pub(crate) mod hub;
pub(crate) mod identity;
pub(crate) mod journal;
pub(crate) mod loss;
pub(crate) mod mailbox;
pub(crate) mod memory;
pub(crate) mod metric_set;
pub(crate) mod observers;
pub(crate) mod operation;
pub(crate) mod owned;
pub(crate) mod quarantine;
mod report;
pub(crate) mod shapes;
pub(crate) mod state;
pub(crate) mod subscription;
pub(crate) mod view;
pub(crate) mod view_at;
mod waiting;
#[cfg(feature = "serde")]
pub(crate) mod wire;
