//! The ROM: it takes one record after the other, puts the machine into the state that the record asks
//! for, and reports what became of it on port 0xe9, a line a case:
//!
//! ```text
//! ~NNNNNNNN WWVVVVVVVV… |OOOOVVVVVVVV…      words of state that changed | doublewords of the arena that changed
//! ~NNNNNNNN R                               the case ended in a reset, by a triple fault
//! ```
//!
//! All numbers are hexadecimal: the case, a word's index and value, an offset in the arena divided by 4.

mod real;

use iced_x86::{
    BlockEncoderOptions, IcedError,
    code_asm::{
        CodeAssembler, CodeLabel, al, ax, byte_ptr, ch, cl, cr0, cr2, cr3, cr4, cs, dr0, dr1, dr2, dr3, dr6, dr7, ds,
        dword_ptr, dx, eax, ebp, ebx, ecx, edi, edx, es, esi, esp, fs, gs, ptr, ss, word_ptr,
    },
};

use super::layout::*;

type Assembled = Result<(), IcedError>;

/// Offset of the code that the reset vector leads to, and of what it loads, in the segment F000.
const BOOT: usize = 0xe000;
const GDT: u32 = 0xf_e100;
const GDTR: u32 = 0xf_e0f0;
/// The handler's jump.
const HANDLER: u32 = MONITOR + 5;
/// Where the handler goes on with a code segment of its own.
const CLEAN: u32 = MONITOR + 10;
/// Where a case that came back in real mode is taken up.
const REAL_CLEAN: u32 = MONITOR + 15;
/// Selectors of the ROM's own GDT: 16-bit code of the segment F000, 16-bit data from 0.
const REAL_CODE: u16 = 0x18;
const REAL_DATA: u16 = 0x20;
/// More changes of the arena than this are not told apart.
const MOST_CHANGES: u32 = 160;

const fn init(word: usize) -> u32 {
    INIT + word as u32 * 4
}

const fn save(word: usize) -> u32 {
    SAVE + word as u32 * 4
}

/// A ROM without records: [`RECORDS_LEN`] bytes of them can be put at its beginning.
pub fn rom(base: &[u8]) -> Vec<u8> {
    let mut rom = vec![0; ROM_LEN];
    rom[RECORDS_LEN..][..base.len()].copy_from_slice(base);
    let code = assemble().expect("the monitor assembles");
    assert!(code.len() <= 0x2000, "the monitor fits its two pages");
    let mut put = |addr: u32, bytes: &[u8]| {
        let at = (addr - (0x10_0000 - LOW_LEN as u32)) as usize + ROM_LEN - LOW_LEN;
        rom[at..at + bytes.len()].copy_from_slice(bytes);
    };
    for vector in 0..256_u32 {
        // push imm32; jmp handler.
        let stub = STUBS + vector * 16;
        put(stub, &[0x68]);
        put(stub + 1, &vector.to_le_bytes());
        put(stub + 5, &[0xe9]);
        put(stub + 6, &HANDLER.wrapping_sub(stub + 10).to_le_bytes());
    }
    put(MONITOR, &code);
    for (offset, bytes) in real::parts().expect("the part in real mode assembles") {
        put(0xf_0000 + offset, &bytes);
    }
    put(GDTR, &[0x27, 0]);
    put(GDTR + 2, &GDT.to_le_bytes());
    put(GDT, &[0; 8]);
    put(GDT + 8, &0x00cf_9b00_0000_ffff_u64.to_le_bytes());
    put(GDT + 16, &0x00cf_9300_0000_ffff_u64.to_le_bytes());
    put(GDT + u32::from(REAL_CODE), &0x0000_9b0f_0000_ffff_u64.to_le_bytes());
    put(GDT + u32::from(REAL_DATA), &0x0000_9300_0000_ffff_u64.to_le_bytes());
    // cli; lgdt cs:[GDTR]; mov eax, cr0; or al, 1; mov cr0, eax; jmp 8:MONITOR
    let mut boot = vec![0xfa, 0x66, 0x2e, 0x0f, 0x01, 0x16];
    boot.extend((GDTR as u16).to_le_bytes());
    boot.extend([0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, 0x66, 0xea]);
    boot.extend(MONITOR.to_le_bytes());
    boot.extend([0x08, 0x00]);
    put(0xf_0000 + BOOT as u32, &boot);
    put(0xf_fff0, &[0xea, BOOT as u8, (BOOT >> 8) as u8, 0x00, 0xf0]);
    rom
}

/// The monitor, at [`MONITOR`]; jumps of 5 bytes lead to its beginning, to [`HANDLER`], [`CLEAN`], [`REAL_CLEAN`].
fn assemble() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(32)?;
    let mut labels = Labels::new(&mut a);
    // Long forms, so that they stand at known places.
    for _ in 0..4 {
        a.db(&[0xe9])?;
        a.dd(&[0])?;
    }
    begin(&mut a, &mut labels)?;
    prepare(&mut a, &mut labels)?;
    launch(&mut a)?;
    catch(&mut a, &mut labels)?;
    report(&mut a, &mut labels)?;
    print(&mut a, &mut labels)?;
    // Where the jumps go is known only once everything is placed.
    let result = a.assemble_options(MONITOR.into(), BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
    let mut code = result.inner.code_buffer.clone();
    for (i, label) in [labels.start, labels.handler, labels.clean, labels.real].iter().enumerate() {
        let end = i * 5 + 5;
        let displacement = (result.label_ip(label)? as u32).wrapping_sub(MONITOR + end as u32);
        code[end - 4..end].copy_from_slice(&displacement.to_le_bytes());
    }
    Ok(code)
}

struct Labels {
    start: CodeLabel,
    handler: CodeLabel,
    clean: CodeLabel,
    real: CodeLabel,
    next: CodeLabel,
    advance: CodeLabel,
    /// Prints the case's number.
    print_head: CodeLabel,
    /// Prints the CL lowest hexadecimal digits of EAX; keeps all but EAX, CL, DX.
    print_hex: CodeLabel,
}

impl Labels {
    fn new(a: &mut CodeAssembler) -> Labels {
        Labels {
            start: a.create_label(),
            handler: a.create_label(),
            clean: a.create_label(),
            real: a.create_label(),
            next: a.create_label(),
            advance: a.create_label(),
            print_head: a.create_label(),
            print_hex: a.create_label(),
        }
    }
}

/// Prints one character.
fn put_char(a: &mut CodeAssembler, character: u8) -> Assembled {
    a.mov(al, i32::from(character))?;
    a.out(0xe9, al)
}

fn tell_phase(a: &mut CodeAssembler, phase: u8) -> Assembled {
    a.mov(al, i32::from(phase))?;
    a.mov(dx, i32::from(PHASE_PORT))?;
    a.out(dx, al)
}

fn flat_segments(a: &mut CodeAssembler) -> Assembled {
    a.mov(eax, u32::from(sel::MONITOR_DATA))?;
    a.mov(ds, eax)?;
    a.mov(es, eax)?;
    a.mov(ss, eax)?;
    a.mov(esp, MONITOR_STACK)
}

/// After reset: the first time, or by a triple fault.
fn begin(a: &mut CodeAssembler, labels: &mut Labels) -> Assembled {
    let mut again = a.create_label();
    a.set_label(&mut labels.start)?;
    flat_segments(a)?;
    a.mov(al, 0xff)?; // no interrupts from the controllers
    a.out(0x21, al)?;
    a.out(0xa1, al)?;
    a.cmp(dword_ptr(V_MAGIC), MAGIC as i32)?;
    a.je(again)?;
    a.mov(dword_ptr(V_MAGIC), MAGIC as i32)?;
    a.mov(dword_ptr(V_DIRTY), 1)?;
    a.mov(dword_ptr(V_RECORD), RECORDS as i32)?;
    a.cld()?;
    a.mov(eax, 0xcccc_cccc_u32)?;
    // Code that goes astray ends soon.
    for (start, end) in [(0, PAGE), (PAGE * 2, ARENA), (BEHIND, BASE), (SHADOW + ARENA_LEN as u32, LOW_RAM)] {
        a.mov(edi, start)?;
        a.mov(ecx, (end - start) / 4)?;
        a.rep().stosd()?;
    }
    a.mov(esi, BASE_IN_ROM)?;
    a.mov(edi, BASE)?;
    a.mov(ecx, ARENA_LEN as u32 / 4)?;
    a.rep().movsd()?;
    a.jmp(labels.next)?;
    a.set_label(&mut again)?;
    a.mov(dword_ptr(V_DIRTY), 1)?;
    a.call(labels.print_head)?;
    put_char(a, b'R')?;
    put_char(a, b'\n')?;
    a.set_label(&mut labels.advance)?;
    a.mov(eax, dword_ptr(V_RECORD))?;
    a.add(eax, dword_ptr(eax))?;
    a.mov(dword_ptr(V_RECORD), eax)
}

/// Arena, shadow and state from the record; ends the run behind the last one.
fn prepare(a: &mut CodeAssembler, labels: &mut Labels) -> Assembled {
    let (mut go, mut patch, mut done) = (a.create_label(), a.create_label(), a.create_label());
    let mut clean = a.create_label();
    a.set_label(&mut labels.next)?;
    a.mov(dword_ptr(V_RUNNING), 0)?;
    a.mov(esi, dword_ptr(V_RECORD))?;
    a.cmp(dword_ptr(esi), 0)?;
    a.jne(go)?;
    a.mov(dx, 0x8900)?; // Bochs ends at this word on this port
    for character in *b"Shutdown" {
        a.mov(al, i32::from(character))?;
        a.out(dx, al)?;
    }
    a.hlt()?;
    a.set_label(&mut go)?;
    a.cld()?;
    a.cmp(dword_ptr(V_DIRTY), 0)?;
    a.je(clean)?;
    for target in [ARENA, SHADOW] {
        a.mov(esi, BASE)?;
        a.mov(edi, target)?;
        a.mov(ecx, ARENA_LEN as u32 / 4)?;
        a.rep().movsd()?;
    }
    a.mov(dword_ptr(V_DIRTY), 0)?;
    a.set_label(&mut clean)?;
    a.mov(esi, dword_ptr(V_RECORD))?;
    a.add(esi, 8)?;
    a.mov(edi, INIT)?;
    a.mov(ecx, WORDS as u32)?;
    a.rep().movsd()?;
    a.set_label(&mut patch)?;
    a.movzx(ebx, word_ptr(esi))?;
    a.movzx(ecx, word_ptr(esi + 2))?;
    a.add(esi, 4)?;
    a.test(ecx, ecx)?;
    a.je(done)?;
    a.mov(eax, esi)?;
    a.mov(edx, ecx)?;
    a.lea(edi, ptr(ebx + ARENA))?;
    a.rep().movsb()?;
    a.mov(esi, eax)?;
    a.mov(ecx, edx)?;
    a.lea(edi, ptr(ebx + SHADOW))?;
    a.rep().movsb()?;
    a.jmp(patch)?;
    a.set_label(&mut done)?;
    // LTR will mark the TSS busy: no news.
    a.or(byte_ptr(SHADOW + u32::from(sel::TSS) + 5), 2)?;
    a.mov(esi, INIT)?;
    a.mov(edi, SAVE)?;
    a.mov(ecx, WORDS as u32)?;
    a.rep().movsd()
}

/// Into the state that the record asks for. Whatever this raises is the case's result.
fn launch(a: &mut CodeAssembler) -> Assembled {
    let (mut no_efer, mut v86, mut same, mut enter) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label());
    let mut real = a.create_label();
    a.mov(dword_ptr(V_PHASE), 0)?;
    a.mov(dword_ptr(V_REAL), 0)?;
    a.mov(dword_ptr(V_RUNNING), 1)?;
    tell_phase(a, 1)?;
    a.xor(edx, edx)?;
    for i in 0..3 {
        a.mov(ecx, 0x174 + i)?;
        a.mov(eax, dword_ptr(init(word::SYSENTER_CS) + i * 4))?;
        a.wrmsr()?;
    }
    reset_msrs(a)?;
    a.test(byte_ptr(init(word::ENTER)), enter::EFER as i32)?;
    a.je(no_efer)?;
    a.mov(ecx, 0xc000_0080_u32)?;
    a.mov(eax, dword_ptr(init(word::EFER)))?;
    a.wrmsr()?;
    a.set_label(&mut no_efer)?;
    a.mov(eax, dword_ptr(init(word::CR2)))?;
    a.mov(cr2, eax)?;
    a.mov(eax, dword_ptr(init(word::CR4)))?;
    a.mov(cr4, eax)?;
    a.mov(eax, dword_ptr(init(word::CR3)))?;
    a.mov(cr3, eax)?;
    for (i, register) in [dr0, dr1, dr2, dr3].into_iter().enumerate() {
        a.mov(eax, dword_ptr(init(word::DR0 + i)))?;
        a.mov(register, eax)?;
    }
    a.mov(eax, dword_ptr(init(word::DR6)))?;
    a.mov(dr6, eax)?;
    a.mov(eax, dword_ptr(init(word::CR0)))?;
    a.mov(cr0, eax)?;
    a.lgdt(ptr(init(word::GDTR) + 2))?;
    a.lidt(ptr(init(word::IDTR) + 2))?;
    a.lldt(word_ptr(init(word::LDTR)))?;
    a.ltr(word_ptr(init(word::TR)))?;
    a.mov(eax, dword_ptr(init(word::DR7)))?;
    a.mov(dr7, eax)?;
    a.test(byte_ptr(init(word::ENTER)), enter::V86 as i32)?;
    a.jne(v86)?;
    a.test(byte_ptr(init(word::ENTER)), enter::REAL as i32)?;
    a.jne(real)?;
    a.test(byte_ptr(init(word::ENTER)), enter::OUTER as i32)?;
    a.je(same)?;
    a.push(dword_ptr(init(word::SS)))?;
    a.push(dword_ptr(init(word::ESP)))?;
    a.jmp(enter)?;
    a.set_label(&mut same)?;
    a.mov(ss, word_ptr(init(word::SS)))?;
    a.mov(esp, dword_ptr(init(word::ESP)))?;
    a.set_label(&mut enter)?;
    for word in [word::EFLAGS, word::CS, word::EIP] {
        a.push(dword_ptr(init(word)))?;
    }
    a.mov(es, word_ptr(init(word::ES)))?;
    a.mov(fs, word_ptr(init(word::FS)))?;
    a.mov(gs, word_ptr(init(word::GS)))?;
    general_registers(a)?;
    a.mov(ds, word_ptr(init(word::DS)).cs())?;
    a.iretd()?;
    a.set_label(&mut v86)?;
    for word in [word::GS, word::FS, word::DS, word::ES, word::SS, word::ESP, word::EFLAGS, word::CS, word::EIP] {
        a.push(dword_ptr(init(word)))?;
    }
    general_registers(a)?;
    a.iretd()?;
    a.set_label(&mut real)?;
    a.lgdt(ptr(GDTR).cs())?;
    a.mov(eax, u32::from(REAL_DATA))?;
    for register in [es, ss, ds, fs, gs] {
        a.mov(register, eax)?;
    }
    // Far jump.
    a.db(&[0xea])?;
    a.dd(&[real::ENTRY])?;
    a.dw(&[REAL_CODE])
}

/// PAT, the types of memory and IA32_TSC_AUX, if the case may change them.
fn reset_msrs(a: &mut CodeAssembler) -> Assembled {
    let mut keep = a.create_label();
    a.test(byte_ptr(init(word::ENTER)), enter::MSR as i32)?;
    a.je(keep)?;
    a.xor(eax, eax)?;
    for (first, last) in [(0x200, 0x20f), (0x250, 0x250), (0x258, 0x259), (0x268, 0x26f), (0x2ff, 0x2ff)] {
        for number in first..=last {
            a.mov(ecx, number)?;
            a.wrmsr()?;
        }
    }
    a.mov(ecx, 0xc000_0103_u32)?;
    a.wrmsr()?;
    a.mov(ecx, 0x277)?;
    a.mov(eax, 0x0007_0406)?;
    a.mov(edx, eax)?;
    a.wrmsr()?;
    a.xor(edx, edx)?;
    a.set_label(&mut keep)
}

fn general_registers(a: &mut CodeAssembler) -> Assembled {
    for (i, register) in [eax, ecx, edx, ebx, esp, ebp, esi, edi].into_iter().enumerate() {
        if word::EAX + i != word::ESP {
            a.mov(register, dword_ptr(init(word::EAX + i)))?;
        }
    }
    Ok(())
}

/// All vectors lead here, with their number pushed: saves everything and leaves the case's mode.
fn catch(a: &mut CodeAssembler, labels: &mut Labels) -> Assembled {
    let (mut first, mut no_efer, mut debug) = (a.create_label(), a.create_label(), a.create_label());
    let (mut registers, mut protected) = (a.create_label(), a.create_label());
    a.set_label(&mut labels.handler)?;
    a.push(eax)?;
    a.push(ds)?;
    a.mov(eax, u32::from(sel::MONITOR_DATA))?;
    a.mov(ds, eax)?;
    a.pop(dword_ptr(save(word::DS)))?;
    a.pushfd()?;
    a.pop(dword_ptr(save(word::EFLAGS)))?;
    a.cmp(dword_ptr(V_PHASE), 0)?;
    a.je(first)?;
    a.mov(dword_ptr(save(word::GUARDED)), 1)?;
    a.jmp(debug)?;
    a.set_label(&mut first)?;
    a.pop(dword_ptr(save(word::EAX)))?;
    a.pop(dword_ptr(save(word::VECTOR)))?;
    a.jmp(registers)?;
    a.set_label(&mut labels.real)?;
    a.mov(ebx, u32::from(sel::MONITOR_DATA))?;
    a.mov(ds, ebx)?;
    a.mov(ebx, dword_ptr(save(word::EAX + 3)))?;
    a.set_label(&mut registers)?;
    for (i, register) in [eax, ecx, edx, ebx, esp, ebp, esi, edi].into_iter().enumerate().skip(1) {
        a.mov(dword_ptr(save(word::EAX + i)), register)?;
    }
    a.and(dword_ptr(save(word::DS)), 0xffff)?;
    for (i, register) in [(word::ES, es), (word::SS, ss), (word::FS, fs), (word::GS, gs)] {
        a.mov(word_ptr(save(i)), register)?;
        a.mov(word_ptr(save(i) + 2), 0)?;
    }
    for (i, register) in [(word::CR0, cr0), (word::CR2, cr2), (word::CR3, cr3), (word::CR4, cr4)] {
        a.mov(eax, register)?;
        a.mov(dword_ptr(save(i)), eax)?;
    }
    a.sgdt(ptr(save(word::GDTR) + 2))?;
    a.mov(word_ptr(save(word::CS)), cs)?;
    a.mov(word_ptr(save(word::CS) + 2), 0)?;
    a.cmp(dword_ptr(V_REAL), 0)?;
    a.je(protected)?;
    // The way here has changed these.
    a.mov(word_ptr(save(word::CS)), 0xf000)?;
    for (to, from) in [(word::CR0, V_REAL_CR0), (word::GDTR, V_REAL_GDTR), (word::GDTR + 1, V_REAL_GDTR + 4)] {
        a.mov(eax, dword_ptr(from))?;
        a.mov(dword_ptr(save(to)), eax)?;
    }
    a.set_label(&mut protected)?;
    a.sidt(ptr(save(word::IDTR) + 2))?;
    a.sldt(word_ptr(save(word::LDTR)))?;
    a.str(word_ptr(save(word::TR)))?;
    for i in 0..3 {
        a.mov(ecx, 0x174 + i)?;
        a.rdmsr()?;
        a.mov(dword_ptr(save(word::SYSENTER_CS) + i * 4), eax)?;
    }
    a.test(byte_ptr(init(word::ENTER)), enter::EFER as i32)?;
    a.je(no_efer)?;
    a.mov(ecx, 0xc000_0080_u32)?;
    a.rdmsr()?;
    a.mov(dword_ptr(save(word::EFER)), eax)?;
    a.set_label(&mut no_efer)?;
    a.mov(dword_ptr(V_PHASE), 1)?;
    a.set_label(&mut debug)?;
    // With DR7.GD this raises #DB once, which comes back to the label above.
    for (i, register) in [(20, dr0), (21, dr1), (22, dr2), (23, dr3), (24, dr6), (25, dr7)] {
        a.mov(eax, register)?;
        a.mov(dword_ptr(save(i)), eax)?;
    }
    a.xor(eax, eax)?;
    a.mov(dr7, eax)?;
    a.mov(eax, cr0)?;
    a.and(eax, 0x7fff_ffff)?;
    a.mov(cr0, eax)?;
    a.mov(eax, 0x11)?;
    a.mov(cr0, eax)?;
    a.xor(eax, eax)?;
    a.mov(cr3, eax)?;
    a.mov(cr4, eax)?;
    a.lgdt(ptr(GDTR).cs())?;
    flat_segments(a)?;
    a.push(u32::from(sel::MONITOR_CODE) as i32)?;
    a.push(CLEAN as i32)?;
    a.retf()?;
    a.set_label(&mut labels.clean)?;
    a.xor(eax, eax)?;
    a.mov(fs, eax)?;
    a.mov(gs, eax)?;
    a.lldt(ax)?;
    // All of EFLAGS, VIF and VIP too: POPFD leaves these to the processor.
    let mut plain = a.create_label();
    a.push(2)?;
    a.push(u32::from(sel::MONITOR_CODE) as i32)?;
    a.call(plain)?;
    a.set_label(&mut plain)?;
    a.add(dword_ptr(esp), 5)?; // behind IRETD
    a.iretd()?;
    let mut no_efer = a.create_label();
    a.test(byte_ptr(init(word::ENTER)), enter::EFER as i32)?;
    a.je(no_efer)?;
    a.mov(ecx, 0xc000_0080_u32)?;
    a.xor(eax, eax)?;
    a.xor(edx, edx)?;
    a.wrmsr()?;
    a.set_label(&mut no_efer)
}

/// The line of a case that came back.
fn report(a: &mut CodeAssembler, labels: &mut Labels) -> Assembled {
    let (mut next_word, mut same, mut scan, mut done) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label());
    tell_phase(a, 0)?;
    a.cld()?;
    a.call(labels.print_head)?;
    a.xor(ebx, ebx)?;
    a.set_label(&mut next_word)?;
    a.mov(eax, dword_ptr(ebx * 4 + SAVE))?;
    a.cmp(eax, dword_ptr(ebx * 4 + INIT))?;
    a.je(same)?;
    a.mov(ebp, eax)?;
    a.mov(eax, ebx)?;
    a.mov(cl, 2)?;
    a.call(labels.print_hex)?;
    a.mov(eax, ebp)?;
    a.mov(cl, 8)?;
    a.call(labels.print_hex)?;
    a.set_label(&mut same)?;
    a.inc(ebx)?;
    a.cmp(ebx, word::REPORTED as i32)?;
    a.jb(next_word)?;
    put_char(a, b'|')?;
    a.mov(esi, ARENA)?;
    a.mov(edi, SHADOW)?;
    a.mov(ecx, ARENA_LEN as u32 / 4)?;
    a.mov(ebp, MOST_CHANGES)?;
    a.set_label(&mut scan)?;
    a.cmp(ecx, ecx)?; // equal if there is nothing left to compare
    a.repe().cmpsd()?;
    a.je(done)?;
    a.mov(ebx, ecx)?;
    a.lea(eax, ptr(esi - (ARENA + 4)))?;
    a.shr(eax, 2)?;
    a.mov(cl, 4)?;
    a.call(labels.print_hex)?;
    a.mov(eax, dword_ptr(esi - 4))?;
    a.mov(cl, 8)?;
    a.call(labels.print_hex)?;
    a.mov(eax, dword_ptr(edi - 4))?;
    a.mov(dword_ptr(esi - 4), eax)?;
    a.mov(ecx, ebx)?;
    a.dec(ebp)?;
    a.jne(scan)?;
    a.mov(dword_ptr(V_DIRTY), 1)?;
    a.set_label(&mut done)?;
    put_char(a, b'\n')?;
    undo_patches(a)?;
    a.jmp(labels.advance)
}

/// The arena and its shadow are as every case finds them, but for what the case had patched: that too, without
/// all of it being copied, which takes Bochs longer than all else.
fn undo_patches(a: &mut CodeAssembler) -> Assembled {
    let (mut patch, mut done) = (a.create_label(), a.create_label());
    a.mov(edx, dword_ptr(V_RECORD))?;
    a.add(edx, 8 + WORDS as i32 * 4)?;
    a.set_label(&mut patch)?;
    a.movzx(ebp, word_ptr(edx + 2))?;
    a.test(ebp, ebp)?;
    a.je(done)?;
    for target in [ARENA, SHADOW] {
        a.movzx(ebx, word_ptr(edx))?;
        a.lea(esi, ptr(ebx + BASE))?;
        a.lea(edi, ptr(ebx + target))?;
        a.mov(ecx, ebp)?;
        a.rep().movsb()?;
    }
    a.lea(edx, ptr(edx + ebp + 4))?;
    a.jmp(patch)?;
    a.set_label(&mut done)?;
    // LTR's mark.
    let rights = u32::from(sel::TSS) + 4;
    a.mov(eax, dword_ptr(BASE + rights))?;
    for target in [ARENA, SHADOW] {
        a.mov(dword_ptr(target + rights), eax)?;
    }
    Ok(())
}

fn print(a: &mut CodeAssembler, labels: &mut Labels) -> Assembled {
    a.set_label(&mut labels.print_head)?;
    put_char(a, b'~')?;
    a.mov(eax, dword_ptr(V_RECORD))?;
    a.mov(eax, dword_ptr(eax + 4))?;
    a.mov(cl, 8)?;
    a.call(labels.print_hex)?;
    put_char(a, b' ')?;
    a.ret()?;

    let (mut align, mut digit, mut out) = (a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut labels.print_hex)?;
    // The first digit to the top.
    a.mov(edx, eax)?;
    a.mov(ch, cl)?;
    a.set_label(&mut align)?;
    a.cmp(ch, 8)?;
    a.je(digit)?;
    a.shl(edx, 4)?;
    a.inc(ch)?;
    a.jmp(align)?;
    a.set_label(&mut digit)?;
    a.rol(edx, 4)?;
    a.mov(eax, edx)?;
    a.and(eax, 15)?;
    a.add(al, i32::from(b'0'))?;
    a.cmp(al, i32::from(b'9') + 1)?;
    a.jb(out)?;
    a.add(al, i32::from(b'a' - b'0' - 10))?;
    a.set_label(&mut out)?;
    a.out(0xe9, al)?;
    a.dec(cl)?;
    a.jne(digit)?;
    a.ret()
}
