//! `catch syscall`: the gate by which system calls enter the kernel, and where they come back.

use std::collections::BTreeSet;

use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::TargetResult;
use gdbstub::target::ext::catch_syscalls::{CatchSyscallPosition, CatchSyscalls, SyscallNumbers};
use inspect::Reader;
use x86::LinearAddr;

use super::{Stub, tid};

/// Linux's vector for system calls.
const SYSCALL_VECTOR: u32 = 0x80;
/// The kernel's entry behind it, before there is an interrupt table to tell.
const ENTRY: &str = "entry_int80";
/// Calls that may be under way: one a thread. The oldest is given up first.
const MAX_RETURNS: usize = 256;

/// What gdb wants of system calls.
#[derive(Clone, Debug, Default)]
pub struct Catch {
    wanted: Wanted,
    /// The kernel's entries that are marked.
    gates: Vec<u32>,
    /// Calls that have entered and are to be reported when they come back.
    returns: Vec<Return>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
enum Wanted {
    #[default]
    None,
    All,
    Some(BTreeSet<u32>),
}

/// Where a call comes back, in which address space and with which stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Return {
    at: u32,
    cr3: u32,
    esp: u32,
    number: u32,
}

impl Catch {
    /// The linear addresses that are marked.
    pub fn marks(&self) -> Vec<u32> {
        self.gates.iter().copied().chain(self.returns.iter().map(|way| way.at)).collect()
    }
}

impl Wanted {
    fn has(&self, number: u32) -> bool {
        match self {
            Wanted::None => false,
            Wanted::All => true,
            Wanted::Some(numbers) => numbers.contains(&number),
        }
    }
}

impl CatchSyscalls for Stub<'_> {
    fn enable_catch_syscalls(&mut self, filter: Option<SyscallNumbers<'_, u32>>) -> TargetResult<(), Self> {
        self.catch.wanted = filter.map_or(Wanted::All, |numbers| Wanted::Some(numbers.collect()));
        self.mark_syscalls();
        Ok(())
    }

    fn disable_catch_syscalls(&mut self) -> TargetResult<(), Self> {
        // gdb takes its wish back at every stop and renews it at the next run: calls under way stay known.
        let gates = std::mem::take(&mut self.catch.gates);
        let returns = std::mem::take(&mut self.catch.returns);
        self.catch.wanted = Wanted::None;
        gates.into_iter().chain(returns.iter().map(|way| way.at)).for_each(|at| self.release_address(at));
        self.catch.returns = returns;
        Ok(())
    }
}

impl Stub<'_> {
    /// Marks the places where calls that gdb wants enter and come back. Done anew before each
    /// run: the interrupt table may have changed, and a breakpoint at the same place may have gone.
    pub(super) fn mark_syscalls(&mut self) {
        if self.catch.wanted == Wanted::None {
            return;
        }
        let gates: BTreeSet<u32> = (0..self.machine.cpu_count()).filter_map(|cpu| self.gate(cpu)).collect();
        self.catch.gates = gates.into_iter().collect();
        let returns = self.catch.returns.iter().map(|way| way.at);
        for at in self.catch.gates.iter().copied().chain(returns) {
            self.machine.add_breakpoint(LinearAddr(at));
        }
    }

    /// Takes all marks away, and forgets the calls under way.
    pub(super) fn forget_syscalls(&mut self) {
        let Catch { gates, returns, .. } = std::mem::take(&mut self.catch);
        for at in gates.into_iter().chain(returns.into_iter().map(|way| way.at)) {
            self.release_address(at);
        }
    }

    /// Where `int 0x80` leads: by the CPU's interrupt table, else by the kernel's symbols.
    fn gate(&self, cpu: usize) -> Option<u32> {
        let state = self.machine.cpu(cpu);
        let reader = Reader::new(self.machine.memory(), state.paging());
        let of_table = || {
            let offset = SYSCALL_VECTOR * 8;
            if !state.protected() || u32::from(state.idtr.limit) < offset + 7 {
                return None;
            }
            let word = |n: u32| reader.u32(LinearAddr(state.idtr.base.wrapping_add(offset + n)));
            let (low, high) = (word(0)?, word(4)?);
            // Present, and a gate of 32 bits: for interrupts or for traps.
            (high >> 15 & 1 == 1 && high >> 9 & 0xf == 0b0111).then_some(high & 0xffff_0000 | low & 0xffff)
        };
        of_table().or_else(|| self.kernel.symbols().named(ENTRY).map(|entry| entry.addr))
    }

    /// What a CPU that has come to a marked place has to tell of a system call, if anything.
    pub(super) fn syscall_stop(&mut self, cpu: usize) -> Option<MultiThreadStopReason<u32>> {
        if self.catch.wanted == Wanted::None {
            return None;
        }
        let state = self.machine.cpu(cpu);
        let (pc, cr3, esp) = (state.pc(), state.cr3, state.gpr[4]);
        let report = |number, position| MultiThreadStopReason::CatchSyscall { tid: Some(tid(cpu)), number, position };
        if state.cpl == 3 {
            let is_back = |way: &Return| (way.at, way.cr3, way.esp) == (pc, cr3, esp);
            let at = self.catch.returns.iter().position(is_back)?;
            let way = self.catch.returns.remove(at);
            self.release_address(pc);
            return Some(report(way.number, CatchSyscallPosition::Return));
        }
        let number = state.gpr[0];
        if !self.catch.gates.contains(&pc) || !self.catch.wanted.has(number) || !self.is_ours(cpu, 0) {
            return None;
        }
        // On the stack: EIP, CS, EFLAGS, ESP, SS.
        let reader = Reader::new(self.machine.memory(), state.paging());
        let word = |n: u32| reader.u32(LinearAddr(esp.wrapping_add(n * 4)));
        if let (Some(at), Some(user_esp)) = (word(0), word(3)) {
            let way = Return { at, cr3, esp: user_esp, number };
            self.catch.returns.retain(|old| (old.cr3, old.esp) != (cr3, user_esp));
            if self.catch.returns.len() == MAX_RETURNS {
                let oldest = self.catch.returns.remove(0);
                self.release_address(oldest.at);
            }
            self.catch.returns.push(way);
            self.machine.add_breakpoint(LinearAddr(at));
        }
        Some(report(number, CatchSyscallPosition::Entry))
    }
}
