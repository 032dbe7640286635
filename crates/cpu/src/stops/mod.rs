//! What a debugger wants to be told: touched memory and events. All of it stands beside the guest, in
//! no state and no hash, and costs nothing where nothing is asked for.

mod catch;
mod pages;
mod watch;

pub use catch::{Catches, Occurrence, Vectors};
pub use watch::{Bytes, Watch, WatchHit, WatchKind, WatchSpace};

pub(crate) use watch::{Guarded, Touch};

/// What is asked for, and what the last instruction did of it. Lent to the CPU that runs.
#[derive(Default)]
pub(crate) struct Stops {
    pub(crate) watches: watch::Watches,
    pub(crate) catches: Catches,
    /// What the last instruction did beside touching watched memory.
    pub(crate) beside_hits: Option<Occurrence>,
}
