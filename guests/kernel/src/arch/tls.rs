//! `set_thread_area`'s descriptors.

use abi::errno::{EINVAL, Result};
use x86::Descriptor;

use super::gdt::{GDT_ENTRY_TLS_ENTRIES, GDT_ENTRY_TLS_MIN};

/// `struct user_desc`: 16 bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct UserDesc {
    /// GDT entry, or `!0` to have one chosen.
    pub entry_number: u32,
    /// Base address.
    pub base_addr: u32,
    /// Limit, in bytes or pages.
    pub limit: u32,
    /// Bit 0 seg_32bit, 1–2 contents, 3 read_exec_only, 4 limit_in_pages,
    /// 5 seg_not_present, 6 useable.
    pub flags: u32,
}

impl UserDesc {
    const SEG_32BIT: u32 = 1;
    const CONTENTS: u32 = 6;
    const READ_EXEC_ONLY: u32 = 8;
    const LIMIT_IN_PAGES: u32 = 0x10;
    const SEG_NOT_PRESENT: u32 = 0x20;
    const USEABLE: u32 = 0x40;

    /// The record that clears an entry.
    fn is_empty(&self) -> bool {
        self.base_addr == 0
            && self.limit == 0
            && matches!(self.flags & 0x7f, f if f == Self::READ_EXEC_ONLY | Self::SEG_NOT_PRESENT || f == 0)
    }

    /// The ring 3 descriptor; EINVAL for what must not come into the table.
    pub fn to_descriptor(self) -> Result<Descriptor> {
        if self.is_empty() {
            return Ok(Descriptor(0));
        }
        // Only 32-bit segments, and no conforming code or expand-down surprises in Linux's
        // own check: contents 3 is conforming code.
        if self.flags & Self::SEG_32BIT == 0 || self.flags & Self::CONTENTS == Self::CONTENTS {
            return Err(EINVAL);
        }
        if self.flags & Self::SEG_NOT_PRESENT != 0 {
            return Err(EINVAL);
        }
        let contents = (self.flags & Self::CONTENTS) >> 1;
        let writable = u32::from(self.flags & Self::READ_EXEC_ONLY == 0);
        let type_bits = contents << 2 | writable << 1 | 1;
        let limit = self.limit & 0xf_ffff;
        let mut descriptor = Descriptor::segment(self.base_addr, limit, (0xf0 | type_bits) as u8, true).0;
        if self.flags & Self::LIMIT_IN_PAGES != 0 {
            descriptor |= 1 << 55;
        }
        if self.flags & Self::USEABLE != 0 {
            descriptor |= 1 << 52;
        }
        Ok(Descriptor(descriptor))
    }

    /// The record that describes GDT entry `entry_number`.
    pub fn from_descriptor(entry_number: u32, d: Descriptor) -> Self {
        if d.0 == 0 {
            return UserDesc { entry_number, flags: Self::READ_EXEC_ONLY | Self::SEG_NOT_PRESENT, ..Self::default() };
        }
        let bit = |condition: bool, flag: u32| if condition { flag } else { 0 };
        UserDesc {
            entry_number,
            base_addr: d.base(),
            limit: if d.granularity() { d.limit() >> 12 } else { d.limit() },
            flags: bit(d.big(), Self::SEG_32BIT)
                | u32::from(d.type_bits() >> 2 & 3) << 1
                | bit(d.type_bits() & 2 == 0, Self::READ_EXEC_ONLY)
                | bit(d.granularity(), Self::LIMIT_IN_PAGES)
                | bit(!d.present(), Self::SEG_NOT_PRESENT)
                | bit(d.0 >> 52 & 1 != 0, Self::USEABLE),
        }
    }
}

/// Index into `ThreadStruct::tls` of a GDT entry number.
pub fn tls_index(entry_number: u32) -> Result<usize> {
    let index = (entry_number as usize).wrapping_sub(GDT_ENTRY_TLS_MIN);
    if index < GDT_ENTRY_TLS_ENTRIES { Ok(index) } else { Err(EINVAL) }
}

/// `set_thread_area`: stores `desc` in `tls` and says which entry it took. With entry
/// number `!0` a free one is chosen (ESRCH if none).
pub fn set_thread_area(tls: &mut [Descriptor; GDT_ENTRY_TLS_ENTRIES], desc: UserDesc) -> Result<u32> {
    let descriptor = desc.to_descriptor()?;
    let index = if desc.entry_number == !0 {
        tls.iter().position(|d| d.0 == 0).ok_or(abi::errno::ESRCH)?
    } else {
        tls_index(desc.entry_number)?
    };
    tls[index] = descriptor;
    Ok((index + GDT_ENTRY_TLS_MIN) as u32)
}
