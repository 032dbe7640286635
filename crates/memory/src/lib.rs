//! Guest-physical memory.
//!
//! One reserved, lazily committed host mapping of 4 GiB holds RAM and ROM at their
//! guest-physical addresses, so live memory never moves and an untouched page costs
//! nothing. Each 4 KiB frame knows what it is ([`FrameKind`]), whether it was ever
//! written, and which of its 64-byte lines hold translated code; a write through
//! [`PhysMem::write`] to such a line puts the frame on the list of killed code, which
//! the engine drains before it runs on.

mod error;
mod frame;
mod phys;

pub use error::Error;
pub use frame::{FrameKind, line_mask};
pub use phys::PhysMem;
