//! What a CPU does between instructions, and what sets it going: interrupts, INIT, start-up IPIs.

use serde::{Deserialize, Serialize};
use x86::{Cr0, Eflags, SegReg, msr};

use crate::{CpuState, Msrs, SegmentRegister};

/// What a CPU does between instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Activity {
    /// Executes.
    #[default]
    Running,
    /// Rests after HLT until an interrupt.
    Halted,
    /// Shut down by a triple fault until reset.
    Shutdown,
    /// Rests after INIT until a start-up IPI; interrupts and NMIs stay pending.
    WaitForSipi,
}

/// What comes before the next instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pending {
    Debug,
    Nmi,
    External,
}

/// The event of highest priority that can be delivered now. `intr` is the level of INTR.
pub(crate) fn pending(state: &CpuState, intr: bool) -> Option<Pending> {
    if state.mov_ss_shadow {
        return None;
    }
    if state.pending_debug != 0 {
        return Some(Pending::Debug);
    }
    if state.nmi_pending && !state.nmi_blocked {
        return Some(Pending::Nmi);
    }
    let open = state.eflags.contains(Eflags::IF) && !state.sti_shadow;
    (open && intr).then_some(Pending::External)
}

/// Whether a CPU goes on; `event` says whether something can be delivered to it.
pub(crate) fn is_awake(activity: Activity, event: bool) -> bool {
    match activity {
        Activity::Running => true,
        Activity::Halted => event,
        Activity::Shutdown | Activity::WaitForSipi => false,
    }
}

impl CpuState {
    /// Whether the CPU would do anything now: it runs, or something can be delivered that ends its
    /// rest. `intr` is the level of its INTR line.
    pub fn is_awake(&self, intr: bool) -> bool {
        is_awake(self.activity, pending(self, intr).is_some())
    }

    /// Whether it is the bootstrap processor.
    pub fn is_bootstrap(&self) -> bool {
        self.msr.apic_base & msr::APIC_BASE_BSP != 0
    }

    /// INIT: as RESET, but that x87, SSE and most model-specific registers keep what they hold. The
    /// bootstrap processor begins at the reset vector, another one waits for a start-up IPI (SDM Vol. 3A,
    /// "Processor State After Reset", "Multiple-Processor Initialization Protocol").
    pub fn init(&mut self) {
        let reset = CpuState::reset(self.model);
        let CpuState { cr0, fpu, xmm, mxcsr, msr, tlb, retired, model, apic_id, cpu_count, random, .. } =
            std::mem::replace(self, reset);
        let caching = (Cr0::CD | Cr0::NW).bits();
        self.cr0 = self.cr0 & !caching | cr0 & caching;
        (self.fpu, self.xmm, self.mxcsr) = (fpu, xmm, mxcsr);
        self.msr = Msrs { efer: 0, ..msr };
        self.tlb = tlb;
        self.tlb.flush_all();
        (self.retired, self.random) = (retired, random);
        (self.model, self.apic_id, self.cpu_count) = (model, apic_id, cpu_count);
        self.activity = if self.is_bootstrap() { Activity::Running } else { Activity::WaitForSipi };
    }

    /// A start-up IPI: a CPU that waits for one begins in real mode at `page` × 4 KiB; any other
    /// ignores it.
    pub fn start_up(&mut self, page: u8) {
        if self.activity == Activity::WaitForSipi {
            let selector = u16::from(page) << 8;
            self.seg[SegReg::Cs as usize] = SegmentRegister::real(selector);
            self.eip = 0;
            self.activity = Activity::Running;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CpuModel, Gpr};

    #[test]
    fn init_keeps_what_reset_does_not() {
        let mut state = CpuState::multiboot(CpuModel::Core2, 0x1000, 0);
        state.cr0 |= Cr0::CD.bits();
        (state.mxcsr, state.retired, state.apic_id, state.cpu_count) = (0x1f00, 77, 3, 4);
        state.xmm[2] = 5;
        state.msr = Msrs { efer: 0x800, sysenter_eip: 9, apic_base: 0xfee0_0800, ..state.msr };
        (state.nmi_pending, state.nmi_blocked) = (true, true);
        state.init();
        assert_eq!((state.cr0, state.eip, state.pc(), state.cpl), (0x4000_0010, 0xfff0, 0xffff_fff0, 0));
        assert_eq!((state.gpr(Gpr::Edx), state.gpr(Gpr::Eax), state.eflags), (0x6f6, 0, Eflags::RESERVED_1));
        assert_eq!((state.mxcsr, state.xmm[2], state.msr.sysenter_eip, state.msr.efer), (0x1f00, 5, 9, 0));
        assert_eq!((state.retired, state.apic_id, state.cpu_count), (77, 3, 4));
        assert!(!state.nmi_pending && !state.nmi_blocked);
        assert_eq!(state.activity, Activity::WaitForSipi);
    }

    #[test]
    fn only_the_bootstrap_processor_goes_on_after_init() {
        let mut state = CpuState::reset(CpuModel::Core2);
        state.init();
        assert_eq!(state.activity, Activity::Running);
        state.start_up(7);
        assert_eq!(state.eip, 0xfff0, "nothing to start");
    }

    #[test]
    fn a_start_up_ipi_is_taken_once() {
        let mut state = CpuState::reset(CpuModel::Core2);
        state.activity = Activity::WaitForSipi;
        assert!(!state.is_awake(true));
        state.start_up(0x9f);
        assert_eq!((state.pc(), state.seg(SegReg::Cs).selector, state.activity), (0x9_f000, 0x9f00, Activity::Running));
        state.start_up(0x12);
        assert_eq!(state.pc(), 0x9_f000);
    }

    #[test]
    fn a_halted_cpu_wakes_for_what_it_would_take() {
        let halted = CpuState { activity: Activity::Halted, ..CpuState::reset(CpuModel::Core2) };
        let open = CpuState { eflags: Eflags::RESERVED_1 | Eflags::IF, ..halted.clone() };
        let nmi = CpuState { nmi_pending: true, ..halted.clone() };
        let blocked = CpuState { nmi_blocked: true, ..nmi.clone() };
        let shut = CpuState { activity: Activity::Shutdown, ..nmi.clone() };
        for (state, intr, awake) in [
            (&halted, true, false),
            (&open, true, true),
            (&open, false, false),
            (&nmi, false, true),
            (&blocked, true, false),
            (&shut, true, false),
        ] {
            assert_eq!(state.is_awake(intr), awake, "{:?} {intr}", state.activity);
        }
    }
}
