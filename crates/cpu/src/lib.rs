//! The processor: an x86-32 CPU whose guest code runs from cached blocks of micro-operations.
//!
//! [`CpuState`] is plain data (what a snapshot holds); [`Cpu`] adds what is built at each
//! entry; the [`Engine`] holds what can be recomputed: blocks, projections of the TLB,
//! breakpoints. A run is a function of state, memory, bus and budget.
//!
//! Where a line of code lives: `decode` → the family's file in `exec` (hot integer
//! instructions), `system`, `sse`, `fpu` (the rest) → `alu` (pure arithmetic); memory goes
//! through `mmu::access` → `mmu::tlb` → `mmu::walk`; interrupts and exceptions in `event`.

mod activity;
mod alu;
mod block;
mod bus;
pub mod coherence;
mod cpu;
mod decode;
mod engine;
mod event;
mod exception;
mod exec;
mod exit;
#[cfg(test)]
mod fixture;
mod fpu;
#[cfg(host_code)]
mod jit;
#[cfg(not(host_code))]
#[path = "jit/absent.rs"]
mod jit;
mod lazy;
pub mod mmu;
mod operand;
mod seg;
mod slow;
mod sse;
mod state;
mod stops;
mod system;
#[cfg(test)]
mod testing;

pub use activity::Activity;
pub use bus::{Bus, IoEffect, IoRead, IoSize};
pub use cpu::Cpu;
pub use engine::{Engine, EngineConfig, EngineStats, RunRequest, Switch};
pub use event::{FaultLog, FaultRecord};
pub use exception::Exception;
pub use exit::Exit;
pub use fpu::{F80, Fpu};
pub use seg::SegmentRegister;
pub use state::{CpuModel, CpuState, Gpr, Msrs, TableRegister};
pub use stops::{Bytes, Catches, Occurrence, Vectors, Watch, WatchHit, WatchKind, WatchSpace};
pub use system::{Mtrrs, cpuid_answer as cpuid};
