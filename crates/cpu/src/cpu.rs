#![allow(unsafe_code)]

use memory::PhysMem;
use x86::Eflags;

use crate::{Bus, CpuState};

/// A CPU: its state, and the context that is built at each entry of [`crate::Engine::run`].
///
/// Handlers and slow functions get a `Cpu`; during a run it leads to memory and bus.
#[repr(C)]
pub struct Cpu {
    /// Architectural state.
    pub state: CpuState,
    pub(crate) run: RunContext,
}

/// What a run needs beside the state. Null and zero at rest.
#[repr(C)]
pub(crate) struct RunContext {
    mem: *mut PhysMem,
    bus: Option<*mut dyn Bus>,
    /// Virtual time at the entry of the run.
    pub start: u64,
    /// Set by whoever did what ends the block after this instruction (see [`crate::slow::Flow`]).
    pub attention: bool,
}

impl Cpu {
    /// A CPU at rest in `state`.
    pub fn new(state: CpuState) -> Self {
        Cpu { state, run: RunContext { mem: std::ptr::null_mut(), bus: None, start: 0, attention: false } }
    }

    /// Guest-physical memory, during a run.
    pub(crate) fn mem(&mut self) -> &mut PhysMem {
        assert!(!self.run.mem.is_null(), "memory is reached only during a run");
        // SAFETY: `Engine::run` sets the pointer from a `&mut` that outlives the run and clears it
        // at the end; the returned borrow holds `self`, so there is no second one.
        unsafe { &mut *self.run.mem }
    }

    /// The machine around, during a run.
    pub(crate) fn bus(&mut self) -> &mut dyn Bus {
        let bus = self.run.bus.expect("the bus is reached only during a run");
        // SAFETY: as in `mem`.
        unsafe { &mut *bus }
    }

    /// EFLAGS with the status flags materialised.
    pub fn eflags(&self) -> Eflags {
        self.state.eflags
    }

    /// Sets all of EFLAGS.
    pub fn set_eflags(&mut self, flags: Eflags) {
        self.state.eflags = flags;
    }
}
