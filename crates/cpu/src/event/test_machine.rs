//! The machine of the tests of exceptions and interrupts: tables, a handler for every vector, and
//! another task.

use x86::PhysAddr;

use crate::{Gpr, SegmentRegister, TableRegister, testing::Lab};

const GDT: u32 = 0x2000;
pub const IDT: u32 = 0x3000;
const TSS: u32 = 0x4000;
pub const TASK: u32 = 0x4100;
pub const DATA: u32 = 0x6000;
/// ESP of the TSS for level 0.
pub const STACK0: u32 = 0x9000;
/// ESP of the other task.
pub const TASK_STACK: u32 = 0x7_0000;

pub const CODE0: u16 = 0x08;
pub const DATA0: u16 = 0x10;
pub const CODE3: u16 = 0x1b;
pub const DATA3: u16 = 0x23;
pub const TR: u16 = 0x28;
pub const OTHER: u16 = 0x30;
/// A readable code segment over all memory.
pub const READABLE_CODE: u16 = 0x38;

const INTERRUPT_GATE: u8 = 0x8e;

/// Where the handler of `vector` is: a row of NOPs.
pub fn handler(vector: u8) -> u32 {
    0xa000 + 16 * u32::from(vector)
}

/// `code` at `testing::CODE` in level 0, with tables, handlers and another task that is to run at
/// `handler(0)`; IF is clear.
pub fn lab(code: &[u8]) -> Lab {
    let mut lab = Lab::new(code);
    let descriptors = [
        0,
        0x00cf_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00cf_fb00_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x0000_8b00_4000_0067,
        0x0000_8900_4100_0067,
        0x00cf_9b00_0000_ffff_u64,
    ];
    for (i, descriptor) in (0..).zip(descriptors) {
        lab.mem.write(PhysAddr(u64::from(GDT) + 8 * i), &descriptor.to_le_bytes());
    }
    for vector in 0..=255 {
        set_gate(&mut lab, vector, CODE0, handler(vector), INTERRUPT_GATE);
        lab.mem.write(PhysAddr(handler(vector).into()), &[0x90; 16]);
    }
    let mut put = |at: u32, value: u32| lab.mem.write_u32(PhysAddr(at.into()), value);
    put(TSS + 4, STACK0);
    put(TSS + 8, DATA0.into());
    for (offset, value) in [(0x20, handler(0)), (0x24, 2), (0x38, TASK_STACK), (0x4c, CODE0.into())] {
        put(TASK + offset, value);
    }
    for offset in [0x48, 0x50, 0x54] {
        put(TASK + offset, DATA0.into());
    }
    let state = &mut lab.cpu.state;
    state.gdtr = TableRegister { base: GDT, limit: 0x3f };
    state.idtr = TableRegister { base: IDT, limit: 0x7ff };
    state.tr = SegmentRegister { base: TSS, limit: 0x67, rights: 0x8b, selector: TR };
    lab
}

/// Gives a vector this gate.
pub fn set_gate(lab: &mut Lab, vector: u8, selector: u16, offset: u32, access: u8) {
    let gate = x86::Descriptor::gate(selector, offset, access);
    lab.mem.write(PhysAddr(u64::from(IDT) + 8 * u64::from(vector)), &gate.0.to_le_bytes());
}

/// Puts code where the handler of a vector is.
pub fn set_handler(lab: &mut Lab, vector: u8, code: &[u8]) {
    lab.mem.write(PhysAddr(handler(vector).into()), code);
}

/// `count` doublewords at the top of the stack.
pub fn frame(lab: &Lab, count: u32) -> Vec<u32> {
    (0..count).map(|i| lab.read_u32(lab.gpr(Gpr::Esp) + 4 * i)).collect()
}
