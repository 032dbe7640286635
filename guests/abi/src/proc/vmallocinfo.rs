//! `/proc/vmallocinfo`.

use crate::books::VmStructRecord;
use crate::{Out, out};

/// `VM_*` bits of [`VmStructRecord::flags`], with Linux's values.
pub mod vm_area {
    /// Device memory, by `ioremap`.
    pub const IOREMAP: u32 = 1;
    /// Frames of its own, by `vmalloc`.
    pub const ALLOC: u32 = 2;
    /// Frames of somebody else, by `vmap`.
    pub const MAP: u32 = 4;
}

/// The function that asked for an area, and the module that it is of; both may be empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Caller<'a> {
    /// The function.
    pub name: &'a [u8],
    /// Empty for the kernel's own.
    pub module: &'a [u8],
}

/// The line of an area.
pub fn line(out: &mut dyn Out, area: &VmStructRecord, caller: Caller<'_>) {
    range(out, area);
    if area.caller != 0 {
        out.bytes(b" ");
        if caller.name.is_empty() {
            out!(out, "{:#010x}", area.caller);
        } else {
            out.bytes(caller.name);
            out!(out, "+{:#x}/{:#x}", area.caller_offset, area.caller_size);
        }
        if !caller.module.is_empty() {
            out.bytes(b" [");
            out.bytes(caller.module);
            out.bytes(b"]");
        }
    }
    if area.nr_pages != 0 {
        out!(out, " pages={}", area.nr_pages);
    }
    if area.phys_addr != 0 {
        out!(out, " phys={:#010x}", area.phys_addr);
    }
    for (bit, name) in [(vm_area::IOREMAP, " ioremap"), (vm_area::ALLOC, " vmalloc"), (vm_area::MAP, " vmap")] {
        if area.flags & bit != 0 {
            out.bytes(name.as_bytes());
        }
    }
    out.bytes(b"\n");
}

/// The line of addresses that were freed and may still be in a TLB.
pub fn unpurged_line(out: &mut dyn Out, area: &VmStructRecord) {
    range(out, area);
    out.bytes(b" unpurged vm_area\n");
}

fn range(out: &mut dyn Out, area: &VmStructRecord) {
    out!(out, "{:#010x}-{:#010x} {:7}", area.addr, area.addr.wrapping_add(area.size), area.size);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;

    const AREA: VmStructRecord = VmStructRecord {
        addr: 0xf745_3000,
        size: 40960,
        flags: vm_area::ALLOC,
        nr_pages: 9,
        caller: 0xc110_0000,
        caller_offset: 0xae0,
        caller_size: 0x1d20,
        ..VmStructRecord::EMPTY
    };

    fn of<'a>(name: &'a [u8], module: &'a [u8]) -> Caller<'a> {
        Caller { name, module }
    }

    #[test]
    fn lines_equal_those_of_a_real_kernel() {
        let want = "0xf7453000-0xf745d000   40960 load_module+0xae0/0x1d20 pages=9 vmalloc\n";
        assert_eq!(render(|out| line(out, &AREA, of(b"load_module", b""))), want.as_bytes());
        let area = VmStructRecord {
            addr: 0xf740_9000,
            size: 8192,
            flags: vm_area::IOREMAP,
            phys_addr: 0xf_5000,
            nr_pages: 0,
            caller_offset: 0xa9,
            caller_size: 0x170,
            ..AREA
        };
        let want = "0xf7409000-0xf740b000    8192 memremap+0xa9/0x170 phys=0x000f5000 ioremap\n";
        assert_eq!(render(|out| line(out, &area, of(b"memremap", b""))), want.as_bytes());
    }

    #[test]
    fn callers_without_a_name_are_addresses_and_freed_ranges_have_none() {
        let text = render(|out| line(out, &VmStructRecord { flags: vm_area::MAP, ..AREA }, Caller::default()));
        assert_eq!(text, b"0xf7453000-0xf745d000   40960 0xc1100000 pages=9 vmap\n");
        let want = "0xf7453000-0xf745d000   40960 setup+0xae0/0x1d20 [loop] pages=9 vmalloc\n";
        assert_eq!(render(|out| line(out, &AREA, of(b"setup", b"loop"))), want.as_bytes());
        assert_eq!(render(|out| unpurged_line(out, &AREA)), b"0xf7453000-0xf745d000   40960 unpurged vm_area\n");
    }
}
