//! Lenses: read-only views of a machine.
//!
//! A [`Target`] is a machine at rest: its CPUs, its memory and, where they are known, its
//! kernel's image and its programs' symbols. A [`Request`] names a lens; [`look`] answers
//! with text and JSON. Looking changes nothing: no TLB entry is filled, no accessed or
//! dirty bit set, no device touched. What a guest may have put into its memory is never
//! trusted: every loop has a bound, every pointer is checked, every damage is one line.
//!
//! What hardware alone tells (`walk`, `pagetable`, `tlb`, `regs` …) works on any guest.
//! The kernel's books (`ps`, `maps`, `iomem` …) need a kernel that announces them by the
//! note of `abi::books`; their text comes from the formatters that the kernel itself uses.
#![forbid(unsafe_code)]

mod absent;
mod address;
mod books;
mod damage;
mod diff;
mod error;
mod kernel;
mod lens;
mod nearest;
mod paging;
mod part;
pub mod picture;
mod reader;
mod record;
mod request;
mod sample;
mod settle;
mod stale;
mod symbol;
mod target;
pub mod timeline;
mod trace;
pub mod why;

pub use absent::absent_page;
pub use address::{Address, Segmented, parse_address};
pub use books::{Books, CallerName, FileName, Resource, TaskMore, comm};
pub use damage::Damage;
pub use diff::diff;
pub use error::{Error, Result};
pub use kernel::KernelImage;
pub use lens::{Answer, Cell, RUN_BYTES, SPARSE, Screen, look, process_file, process_of_directory, system_file};
pub use machine::Sample;
pub use nearest::nearest;
pub use paging::{mapping, with_directory};
pub use picture::Picture;
pub use reader::{DirectMap, Reader};
pub use record::Record;
pub use request::{HELP, Request};
pub use sample::sample;
pub use settle::{SETTLE_LIMIT, Settled, in_flux, settle};
pub use stale::{describe_change, describe_finding};
pub use symbol::{Symbol, Symbols};
pub use target::{Program, Target, WiredRange, Wiring};
pub use trace::{EventKinds, EventTrace, ExecTrace, FaultTrace, Next, Row, Thread, Told};
