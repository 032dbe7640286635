//! The points at which our kernel says what becomes of a fault.

use abi::fault::{DIED, PANICKED, REFUSED, Refusal, SAVED_EIP};
use cpu::{CpuState, FaultRecord, Gpr};
use machine::{Unresolved, Verdict};
use x86::LinearAddr;

use crate::{Reader, Symbols, Target};

/// Last words of a kernel that are read.
const MAX_WORDS: usize = 160;

/// Linear addresses of a kernel's points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Points {
    refused: u32,
    died: u32,
    panicked: u32,
}

impl Points {
    /// Those of a kernel's ELF file, without a look at its other symbols; `None` if it has none.
    pub fn of_elf(bytes: &[u8]) -> Option<Points> {
        let elf = goblin::elf::Elf::parse(bytes).ok()?;
        let place = |name| {
            let named = |symbol: &goblin::elf::Sym| elf.strtab.get_at(symbol.st_name) == Some(name);
            elf.syms.iter().find(named).and_then(|symbol| u32::try_from(symbol.st_value).ok())
        };
        Some(Points { refused: place(REFUSED)?, died: place(DIED)?, panicked: place(PANICKED)? })
    }

    /// Whether a kernel says what becomes of its faults.
    pub fn are_in(symbols: &Symbols) -> bool {
        symbols.named(REFUSED).is_some()
    }

    /// Of which instructions the machine has to tell ([`machine::Machine::tell_at`]).
    pub fn places(&self) -> [LinearAddr; 3] {
        [self.refused, self.died, self.panicked].map(LinearAddr)
    }

    /// What the kernel says on the CPU that stands at `place`.
    pub fn unresolved(&self, target: &Target<'_>, place: LinearAddr) -> Option<Unresolved> {
        let cpu = target.current;
        let state = target.cpu(cpu).ok()?;
        let [eax, edx, ecx] = [Gpr::Eax, Gpr::Edx, Gpr::Ecx].map(|gpr| state.gpr(gpr));
        let reader = Reader::new(target.mem, state.paging());
        let saved_eip = || reader.u32(LinearAddr(eax.wrapping_add(SAVED_EIP)));
        let (fault, verdict) = match place.0 {
            at if at == self.refused => {
                let Refusal { error_code, signal, is_handled } = Refusal::of_word(ecx);
                let fault = page_fault(target, state, saved_eip()?, u32::from(error_code), Some(edx));
                (fault, Verdict::Signal { number: signal.into(), is_handled })
            }
            at if at == self.died => (page_fault(target, state, saved_eip()?, ecx, None), Verdict::Oops),
            at if at == self.panicked => {
                let mut words = vec![0; (ecx as usize).min(MAX_WORDS)];
                let read = reader.read(LinearAddr(eax), &mut words);
                (None, Verdict::Panic(String::from_utf8_lossy(&words[..read]).into_owned()))
            }
            _ => return None,
        };
        let at = fault.as_ref().map_or(0, |record| record.at);
        Some(Unresolved { fault, verdict, cpu, at })
    }
}

/// The page fault of this address space that the kernel speaks of. The thread may have slept and gone on
/// elsewhere since, so that any CPU can have seen it.
fn page_fault(target: &Target<'_>, state: &CpuState, eip: u32, code: u32, addr: Option<u32>) -> Option<FaultRecord> {
    let is_it = |record: &&FaultRecord| {
        let first = record.raised().next();
        record.eip == eip
            && record.paging.cr3 == state.cr3
            && first.is_some_and(|first| first.code == code && addr.is_none_or(|addr| first.addr == addr))
    };
    let found = target.faults.iter().filter_map(|log| log.newest().find(is_it));
    found.max_by_key(|record| record.at).cloned()
}
