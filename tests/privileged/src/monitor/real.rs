//! The monitor's part in real mode: the way into a case, and out of one.

use iced_x86::{
    IcedError,
    code_asm::{
        CodeAssembler, ax, cr0, ds, dword_ptr, eax, ebp, ebx, ecx, edi, edx, es, esi, esp, fs, gs, ptr, ss, word_ptr,
    },
};

use super::{GDTR, REAL_CLEAN, init, save};
use crate::layout::*;

/// Where the parts stand in the segment F000.
pub const ENTRY: u32 = 0x9000;
pub const HANDLER: u32 = 0x9400;
const STUBS_AT: u32 = REAL_STUBS & 0xffff;
const ROM_SEGMENT: u16 = 0xf000;

/// All of it: offset in the segment F000, bytes.
pub fn parts() -> Result<Vec<(u32, Vec<u8>)>, IcedError> {
    let mut parts = vec![(ENTRY, entry()?), (HANDLER, handler()?)];
    for vector in 0..256_u32 {
        let stub = STUBS_AT + vector * 8;
        // push imm16; jmp handler.
        let mut bytes = vec![0x68, vector as u8, 0, 0xe9];
        bytes.extend((HANDLER.wrapping_sub(stub + 6) as u16).to_le_bytes());
        parts.push((stub, bytes));
    }
    Ok(parts)
}

/// A far jump; `wide` takes a 32-bit offset.
fn jump_far(a: &mut CodeAssembler, selector: u16, offset: u32, wide: bool) -> Result<(), IcedError> {
    let mut bytes = if wide { vec![0x66, 0xea] } else { vec![0xea] };
    bytes.extend(&offset.to_le_bytes()[..if wide { 4 } else { 2 }]);
    bytes.extend(selector.to_le_bytes());
    a.db(&bytes)
}

/// From a 16-bit segment in protected mode, with data segments of base 0, into the case.
fn entry() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    a.mov(eax, cr0)?;
    a.and(eax, !1)?;
    a.mov(cr0, eax)?;
    // The jump that makes CS a segment of real mode leads to what follows it.
    let behind = a.assemble(ENTRY.into())?.len() as u32 + 5;
    jump_far(&mut a, ROM_SEGMENT, ENTRY + behind, false)?;
    // LGDT with a base of 32 bits.
    a.db(&[0x66, 0x0f, 0x01, 0x16])?;
    a.dw(&[init(word::GDTR) as u16 + 2])?;
    a.mov(ss, word_ptr(init(word::SS)))?;
    a.mov(esp, dword_ptr(init(word::ESP)))?;
    for word in [word::EFLAGS, word::CS, word::EIP] {
        a.push(dword_ptr(init(word)))?;
    }
    a.mov(es, word_ptr(init(word::ES)))?;
    a.mov(fs, word_ptr(init(word::FS)))?;
    a.mov(gs, word_ptr(init(word::GS)))?;
    for (i, register) in [eax, ecx, edx, ebx, esp, ebp, esi, edi].into_iter().enumerate() {
        if word::EAX + i != word::ESP {
            a.mov(register, dword_ptr(init(word::EAX + i)))?;
        }
    }
    a.mov(ds, word_ptr(init(word::DS)))?;
    a.iretd()?;
    a.assemble(ENTRY.into())
}

/// From a vector, with its number pushed, to [`REAL_CLEAN`] in protected mode; what changes by that is saved.
fn handler() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    a.pushfd()?;
    a.push(eax)?;
    a.push(ds)?;
    a.xor(ax, ax)?;
    a.mov(ds, ax)?;
    a.pop(word_ptr(save(word::DS)))?;
    a.pop(dword_ptr(save(word::EAX)))?;
    a.pop(dword_ptr(save(word::EFLAGS)))?;
    a.pop(word_ptr(save(word::VECTOR)))?;
    a.mov(word_ptr(save(word::VECTOR) + 2), 0)?;
    a.mov(dword_ptr(save(word::EAX + 3)), ebx)?;
    a.mov(dword_ptr(V_REAL), 1)?;
    a.mov(eax, cr0)?;
    a.mov(dword_ptr(V_REAL_CR0), eax)?;
    a.sgdt(ptr(V_REAL_GDTR + 2))?;
    // LGDT with a base of 32 bits, by CS.
    a.db(&[0x66, 0x2e, 0x0f, 0x01, 0x16])?;
    a.dw(&[GDTR as u16])?;
    a.or(eax, 1)?;
    a.mov(cr0, eax)?;
    jump_far(&mut a, sel::MONITOR_CODE, REAL_CLEAN, true)?;
    a.assemble(HANDLER.into())
}
