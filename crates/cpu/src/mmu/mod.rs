//! Memory management: the page walk, the architectural TLB, its projections, and every
//! access that goes by linear address.

pub(crate) mod access;
mod tlb;

pub use tlb::Tlb;

/// The projections of one CPU's TLB.
#[derive(Default)]
pub(crate) struct Projection {}
