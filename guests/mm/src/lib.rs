//! The logic of memory management without a machine: what the guest kernel does with
//! frames, areas and resources, over small traits, so that the host's tests run it too.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod buddy;
pub mod list;
pub mod memblock;
pub mod module;
pub mod pcp;
pub mod pkmap;
pub mod resource;
pub mod slab;
pub mod swap_map;
pub mod vma;
pub mod vmap;
