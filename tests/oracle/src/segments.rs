//! The descriptors that both processors have: Linux's flat segments, and an LDT of odd ones.

use cpu::SegmentRegister;
use x86::{Descriptor, Selector};

use crate::state::{CODE, DATA};

/// Linux's flat 32-bit code segment for user code.
pub const FLAT_CODE: u16 = 0x23;
/// Its flat data segment.
pub const FLAT_DATA: u16 = 0x2b;

/// A descriptor of the LDT, as `modify_ldt` wants it: present unless said, DPL 3, accessed.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Linear base.
    pub base: u32,
    /// Twenty bits.
    pub limit: u32,
    /// G.
    pub pages: bool,
    /// D/B.
    pub big: bool,
    /// Type bits 3:2: 0 data, 1 expand-down data, 2 code.
    pub contents: u8,
    /// Type bit 1, inverted: not writable, not readable.
    pub restricted: bool,
    /// P.
    pub present: bool,
}

const LOW: u32 = DATA - 0x4000;
const DATA_SEGMENT: Entry =
    Entry { base: LOW, limit: 0xffff, pages: false, big: true, contents: 0, restricted: false, present: true };
const CODE_SEGMENT: Entry = Entry { base: CODE - 0x4000, contents: 2, big: false, ..DATA_SEGMENT };

/// Selectors of the LDT's entries by what they are for.
pub const CODE_16: u16 = 0x07;
const CODE_16_UNREADABLE: u16 = 0x0f;
const CODE_32_BASED: u16 = 0x17;
const CODE_SHORT: u16 = 0x1f;
const DATA_32: u16 = 0x2f;
const DATA_16: u16 = 0x37;
const DATA_READ_ONLY: u16 = 0x3f;
const DOWN_32: u16 = 0x47;
const DOWN_16: u16 = 0x4f;
const DATA_SHORT: u16 = 0x5f;
const DATA_FLAT: u16 = 0x67;
const DOWN_PAGES: u16 = 0x6f;

/// The LDT. Entries without a name are not present, or executable with a limit of 0.
pub const LDT: [Entry; 16] = [
    CODE_SEGMENT,
    Entry { restricted: true, ..CODE_SEGMENT },
    Entry { base: CODE - 0x1_0000, limit: 0xfffff, pages: true, big: true, ..CODE_SEGMENT },
    Entry { base: CODE, limit: 0x7ff, big: true, ..CODE_SEGMENT },
    Entry { present: false, big: true, ..CODE_SEGMENT },
    DATA_SEGMENT,
    Entry { big: false, ..DATA_SEGMENT },
    Entry { restricted: true, ..DATA_SEGMENT },
    Entry { contents: 1, limit: 0x4fff, ..DATA_SEGMENT },
    Entry { contents: 1, limit: 0x4fff, big: false, ..DATA_SEGMENT },
    Entry { present: false, ..DATA_SEGMENT },
    Entry { base: DATA, limit: 0x1010, ..DATA_SEGMENT },
    Entry { base: 0, limit: 0xfffff, pages: true, ..DATA_SEGMENT },
    Entry { contents: 1, base: DATA, limit: 0, pages: true, ..DATA_SEGMENT },
    Entry { present: false, contents: 3, ..CODE_SEGMENT },
    Entry { contents: 2, limit: 0, base: CODE, ..DATA_SEGMENT },
];

/// Code segments that code can run in.
pub const RUNNABLE: [u16; 4] = [CODE_16, CODE_16_UNREADABLE, CODE_32_BASED, CODE_SHORT];
/// What SS can hold.
pub const STACKS: [u16; 7] = [FLAT_DATA, DATA_32, DATA_16, DOWN_32, DOWN_16, DATA_FLAT, DOWN_PAGES];
/// What DS, ES, FS and GS can hold.
pub const READABLE: [u16; 13] = [
    FLAT_DATA,
    FLAT_CODE,
    DATA_32,
    DATA_16,
    DATA_READ_ONLY,
    DOWN_32,
    DOWN_16,
    DATA_SHORT,
    DATA_FLAT,
    DOWN_PAGES,
    CODE_16,
    CODE_32_BASED,
    0,
];
/// What an instruction may be given to load or ask about: all of the above, null ones, other RPLs, not present
/// ones, the supervisor's, empty and missing entries.
pub const ANY: [u16; 34] = [
    0, 1, 3, 0x08, 0x10, 0x13, 0x1b, 0x20, 0x21, 0x28, 0x2a, FLAT_CODE, FLAT_DATA, 0x63, 0x83, 0xfff8, 0xffff, 0x04,
    0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2c, 0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x57, 0x5f, 0x67, 0x77, 0x87,
];

impl Entry {
    /// As the table has it.
    pub fn descriptor(self) -> u64 {
        let access =
            u64::from(self.present) << 7 | 0x71 | u64::from(self.contents) << 2 | u64::from(!self.restricted) << 1;
        let flags = u64::from(self.pages) << 3 | u64::from(self.big) << 2;
        let (base, limit) = (u64::from(self.base), u64::from(self.limit));
        limit & 0xffff
            | (base & 0xff_ffff) << 16
            | access << 40
            | (limit >> 16) << 48
            | flags << 52
            | (base >> 24) << 56
    }
}

/// The global table as far as user code can tell: nothing of the supervisor's is visible to it.
pub const GDT: [u64; 16] = {
    let mut gdt = [0; 16];
    gdt[2] = 0x00cf_9b00_0000_ffff;
    gdt[3] = 0x00cf_9300_0000_ffff;
    gdt[4] = 0x00cf_fb00_0000_ffff;
    gdt[5] = 0x00cf_f300_0000_ffff;
    gdt
};

/// What the processor holds after a load of a valid or null selector.
pub fn register(selector: u16) -> SegmentRegister {
    if selector < 4 {
        return SegmentRegister { rights: SegmentRegister::UNUSABLE, selector, ..SegmentRegister::default() };
    }
    let index = usize::from(selector >> 3);
    let descriptor = if selector & 4 != 0 {
        LDT.get(index).map_or(0, |entry| entry.descriptor())
    } else {
        GDT.get(index).copied().unwrap_or(0)
    };
    SegmentRegister::from_descriptor(Selector(selector), Descriptor(descriptor))
}

/// Base of a segment.
pub fn base(selector: u16) -> u32 {
    register(selector).base
}
