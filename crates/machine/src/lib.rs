//! The machine: memory, processor and chips wired together, its clock, how it boots, runs,
//! is saved and restored.
//!
//! A run is a function of the configuration, the boot images and the input that came in
//! through one queue. [`Machine::run`] returns a [`Stop`] between two instructions; the
//! [`Host`] given to it carries bytes in and out and decides how long idle time takes, but
//! nothing of it ever becomes part of the machine.
#![forbid(unsafe_code)]

mod board;
pub mod boot;
mod bus;
mod chipset;
mod config;
mod disk;
mod error;
mod firmware;
mod hash;
mod host;
mod input;
mod interrupts;
mod machine;
mod resource;
mod run;
mod samples;
mod schedule;
mod snapshot;
mod stats;
mod stop;
mod timeline;
mod unresolved;

pub use boot::{Boot, BootError, Image};
pub use chipset::Chipset;
pub use config::{MAX_CPUS, MachineConfig, SerialInput};
pub use cpu::coherence::{Change as TableChange, Finding};
pub use cpu::{Bytes, Catches, Occurrence, Vectors, Watch, WatchHit, WatchKind, WatchSpace};
pub use cpu::{CpuModel, CpuState, EngineConfig, EngineStats, Exception, FaultLog, FaultRecord, mmu::TlbGeometry};
pub use devices::{Outlet, ResetCause, TextView};
pub use disk::{DiskAccess, DiskConfig, DiskError, DiskOperation, DiskPurpose, DiskSource, FaultySectors, MAX_DISKS};
pub use error::Error;
pub use firmware::{MemoryRegion, RegionKind};
pub use host::{Detached, Host, Notice};
pub use input::InputEvent;
pub use interrupts::InterruptBus;
pub use machine::Machine;
pub use resource::{DeviceId, Resource};
pub use run::{Judge, RunLimit};
pub use samples::{FreeBlocks, Sample, Samples};
pub use snapshot::SnapshotError;
pub use stats::MachineStats;
pub use stop::{IdleReason, Stop};
pub use timeline::{Fact, Ipi, Timeline, TimelineEvent};
pub use unresolved::{Explanation, Unresolved, Verdict};
