//! Data breakpoints of the debug registers (SDM Vol. 3B, "Data Memory and I/O Breakpoint
//! Exception Conditions"): traps, taken after the instruction.

use x86::{Cr4, LinearAddr};

use crate::Cpu;

/// What a breakpoint watches, as DR7's R/W field encodes it; 0 is for instructions.
const WRITES: u32 = 1;
const PORTS: u32 = 2;
const ACCESSES: u32 = 3;

/// Notes the breakpoints that a load or store of `len` bytes meets.
#[inline]
pub(crate) fn data(cpu: &mut Cpu, addr: LinearAddr, len: u32, write: bool) {
    if cpu.state.dr[7] & 0xff == 0 {
        return;
    }
    note(cpu, addr.0, len, |kind| kind == ACCESSES || write && kind == WRITES);
}

/// Notes the breakpoints that an access to `len` ports meets; they need CR4.DE.
pub(crate) fn ports(cpu: &mut Cpu, port: u16, len: u32) {
    if cpu.state.cr4().contains(Cr4::DE) {
        note(cpu, port.into(), len, |kind| kind == PORTS);
    }
}

fn note(cpu: &mut Cpu, addr: u32, len: u32, sees: impl Fn(u32) -> bool) {
    let control = cpu.state.dr[7];
    if control & 0xff == 0 {
        return;
    }
    let (mut met, mut any_enabled) = (0, false);
    for n in 0..4 {
        let (kind, size) = (control >> (16 + 4 * n) & 3, [1, 2, 8, 4][(control >> (18 + 4 * n) & 3) as usize]);
        // The address is aligned to the size.
        let first = cpu.state.dr[n] & !(size - 1);
        let meets = addr.wrapping_sub(first) < size || first.wrapping_sub(addr) < len;
        if sees(kind) && meets {
            met |= 1 << n;
            any_enabled |= control >> (2 * n) & 3 != 0;
        }
    }
    // DR6 tells of those that are not enabled too, once one is.
    if any_enabled {
        cpu.state.pending_debug |= met;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::Fixture,
        mmu::access::{self, View},
    };

    #[test]
    fn a_data_breakpoint_sees_the_accesses_of_its_kind_and_range() {
        for (kind, size, addr, write, hit) in [
            (WRITES, 3, 0x6003, true, true),
            (WRITES, 3, 0x6003, false, false),
            (WRITES, 3, 0x6004, true, false),
            (ACCESSES, 1, 0x5ffd, false, true),
            (ACCESSES, 0, 0x5ffc, false, false),
            (PORTS, 3, 0x6000, true, false),
        ] {
            let mut f = Fixture::ringed();
            f.cpu.state.dr[1] = 0x6000;
            f.cpu.state.dr[7] = 0x400 | 1 << 2 | kind << 20 | size << 22;
            f.run(|cpu| match write {
                true => access::write_u32(cpu, LinearAddr(addr), 0, View::Current),
                false => access::read_u32(cpu, LinearAddr(addr), View::Current).map(drop),
            })
            .unwrap();
            assert_eq!(f.cpu.state.pending_debug, u32::from(hit) << 1, "{kind} {size} {addr:#x} {write}");
        }
    }

    #[test]
    fn a_port_breakpoint_needs_debugging_extensions() {
        for (cr4, hit) in [(0, false), (Cr4::DE.bits(), true)] {
            let mut f = Fixture::ringed();
            f.cpu.state.cr4 = cr4;
            f.cpu.state.dr[0] = 0x60;
            f.cpu.state.dr[7] = 0x402 | PORTS << 16;
            f.exec(&[0xe4, 0x60]).unwrap();
            assert_eq!(f.cpu.state.pending_debug != 0, hit);
        }
    }
}
