//! Instructions that may fault in the kernel, and where to go on when they do.
#![allow(unsafe_code)]

/// One row: as the assembler macros emit them.
#[repr(C)]
struct Entry {
    insn: u32,
    fixup: u32,
}

unsafe extern "C" {
    static __start___ex_table: Entry;
    static __stop___ex_table: Entry;
}

/// Where to continue after a fault of the instruction at `eip`; `None` if it must not fault.
pub fn search(eip: u32) -> Option<u32> {
    let (start, stop) = (&raw const __start___ex_table, &raw const __stop___ex_table);
    let count = (stop as usize - start as usize) / size_of::<Entry>();
    // SAFETY: the linker script puts the rows between the two.
    let table = unsafe { core::slice::from_raw_parts(start, count) };
    table.iter().find(|entry| entry.insn == eip).map(|entry| entry.fixup)
}
