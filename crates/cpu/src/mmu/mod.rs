//! Memory management: the page walk, the architectural TLB, its projections, and every
//! access that goes by linear address.

pub(crate) mod access;
pub(crate) mod breakpoint;
mod changes;
pub(crate) mod fetch;
pub(crate) mod flush;
mod host;
pub(crate) mod pdpte;
mod project;
mod rights;
#[cfg(test)]
mod sentences;
mod tlb;
mod walk;
mod watch;

pub use changes::{Burst, EntryChange, LastChange, TableChanges, Writer};
pub(crate) use project::Projection;
pub use rights::{Access, AccessKind, Guards, Privilege, Rights};
pub use tlb::{FetchLatch, Tlb, TlbCounts, TlbEntry, TlbGeometry};
pub use walk::{Glance, Level, Mapping, PageFault, PageSize, Paging, Step, Walk, WalkResult, walk};
