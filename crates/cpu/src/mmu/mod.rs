//! Memory management: the page walk, the architectural TLB, its projections, and every
//! access that goes by linear address.

pub(crate) mod access;
pub(crate) mod breakpoint;
pub(crate) mod fetch;
pub(crate) mod flush;
mod host;
mod project;
mod tlb;
mod walk;

pub(crate) use project::Projection;
pub use tlb::{FetchLatch, Tlb, TlbCounts, TlbEntry, TlbGeometry};
pub use walk::{Access, AccessKind, Mapping, PageFault, PageSize, Paging, Step, Walk, WalkResult, walk};
