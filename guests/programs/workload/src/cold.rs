//! Code that is new each time that it runs.
#![allow(unsafe_code)]

use std::{io, ptr};

use crate::{EMPTY_SUM, Random, Round, mix};

/// Memory that can be written and executed; given back when the program ends.
fn code_buffer(bytes: usize) -> io::Result<*mut u8> {
    let rights = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    // SAFETY: a new mapping at a place that the kernel chooses.
    let at = unsafe { libc::mmap(ptr::null_mut(), bytes, rights, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.cast()) }
}

/// Replaces the immediate of an instruction and calls it, `count` times.
pub fn patch(count: u32) -> io::Result<Round> {
    const MOV_EAX_IMM32: u8 = 0xb8;
    const RET: u8 = 0xc3;
    let code = code_buffer(4096)?;
    // SAFETY: the buffer is longer; the instruction is `mov eax, imm32`, then `ret`.
    let function: extern "C" fn() -> u32 = unsafe {
        code.write(MOV_EAX_IMM32);
        code.add(5).write(RET);
        std::mem::transmute(code)
    };
    Ok(Box::new(move || {
        let mut sum = EMPTY_SUM;
        for value in 0..count {
            // SAFETY: the immediate's four bytes.
            unsafe { code.add(1).cast::<u32>().write_volatile(value.to_le()) };
            sum = mix(sum, function());
        }
        Ok(sum)
    }))
}

/// Programs that take turns in the buffer, so that what ran before is never what runs next.
const PROGRAMS: u32 = 4;

/// Copies a program of `kib` KiB into a buffer and runs it once; the next round copies
/// another one over it.
pub fn run_once(kib: u32) -> io::Result<Round> {
    let bytes = kib as usize * 1024;
    let programs: Vec<Program> = (1..=PROGRAMS).map(|seed| Program::new(seed, bytes)).collect();
    let code = code_buffer(bytes)?;
    // SAFETY: the buffer is that long.
    unsafe { code.write_bytes(0xcc, bytes) };
    let all = programs.iter().fold(EMPTY_SUM, |sum, program| mix(sum, program.answer));
    let mut turn = 0;
    Ok(Box::new(move || {
        let program: &Program = &programs[turn];
        turn = (turn + 1) % programs.len();
        // SAFETY: the program is as long as the buffer, follows the C calling convention and
        // touches nothing but its own stack frame.
        let answer = unsafe {
            ptr::copy_nonoverlapping(program.code.as_ptr(), code, program.code.len());
            std::mem::transmute::<*mut u8, extern "C" fn(u32) -> u32>(code)(EMPTY_SUM)
        };
        if answer == program.answer { Ok(all) } else { Err(io::Error::other("generated code gave a wrong answer")) }
    }))
}

/// The registers that generated code computes with, by their numbers in the encoding: EAX,
/// ECX, EDX, EBX, ESI, EDI.
const REGISTERS: [u8; 6] = [0, 1, 2, 3, 6, 7];
/// How many of them have a low byte with a name.
const BYTE_REGISTERS: u32 = 4;
/// Words of the stack frame that generated code uses.
const SLOTS: u32 = 16;
/// Every so many instructions there is a conditional jump to the next.
const JUMP_EVERY: u32 = 8;
/// No instruction is longer, and the end of a program is not either.
const MARGIN: usize = 16;

/// Straight-line code, made at random, and what it gives.
struct Program {
    code: Vec<u8>,
    answer: u32,
}

impl Program {
    /// A function `extern "C" fn(u32) -> u32` of exactly `bytes` bytes, with its answer for
    /// [`EMPTY_SUM`] as computed here.
    fn new(seed: u32, bytes: usize) -> Program {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9));
        // push ebx, esi, edi; sub esp, 64; mov eax, [esp + 80]
        let mut code = vec![0x53, 0x56, 0x57, 0x83, 0xec, 64, 0x8b, 0x44, 0x24, 80];
        let mut state = State { registers: [EMPTY_SUM, 0, 0, 0, 0, 0], slots: [0; SLOTS as usize] };
        for &register in &REGISTERS[1..] {
            code.extend([0x31, 0xc0 | register << 3 | register]); // xor r, r
        }
        for slot in 0..SLOTS as u8 {
            code.extend([0x89, 0x44, 0x24, slot * 4]); // mov [esp + slot], eax
        }
        state.slots = [EMPTY_SUM; SLOTS as usize];
        let mut count = 0;
        while code.len() + 2 * MARGIN < bytes {
            emit(&mut code, &mut state, &mut random);
            count += 1;
            if count % JUMP_EVERY == 0 {
                code.extend([0x70 | (random.next() % 16) as u8, 0]); // jcc to the next instruction
            }
        }
        code.resize(bytes.saturating_sub(MARGIN).max(code.len()), 0x90); // nop
        code.extend([0x83, 0xc4, 64, 0x5f, 0x5e, 0x5b, 0xc3]); // add esp, 64; pop edi, esi, ebx; ret
        code.resize(bytes.max(code.len()), 0xcc);
        Program { code, answer: state.registers[0] }
    }
}

/// What a program computes with.
struct State {
    registers: [u32; 6],
    slots: [u32; SLOTS as usize],
}

/// Adds an instruction and does what it will do.
fn emit(code: &mut Vec<u8>, state: &mut State, random: &mut Random) {
    let (to, from) = (random.next() as usize % 6, random.next() as usize % 6);
    let (rm, reg) = (REGISTERS[to], REGISTERS[from]);
    let both = 0xc0 | reg << 3 | rm;
    let immediate = random.next();
    let (old, other) = (state.registers[to], state.registers[from]);
    state.registers[to] = match random.next() % 14 {
        0 => {
            code.extend([0x01, both]); // add
            old.wrapping_add(other)
        }
        1 => {
            code.extend([0x29, both]); // sub
            old.wrapping_sub(other)
        }
        2 => {
            code.extend([0x31, both]); // xor
            old ^ other
        }
        3 => {
            code.extend([0x89, both]); // mov
            other
        }
        4 => {
            code.push(0xb8 | rm); // mov r, imm32
            code.extend(immediate.to_le_bytes());
            immediate
        }
        5 => {
            code.extend([0x81, 0xc0 | rm]); // add r, imm32
            code.extend(immediate.to_le_bytes());
            old.wrapping_add(immediate)
        }
        6 => {
            code.extend([0x83, 0xf0 | rm, immediate as u8]); // xor r, imm8
            old ^ immediate as i8 as u32
        }
        7 => {
            let count = 1 + immediate % 31;
            code.extend([0xc1, 0xc0 | rm, count as u8]); // rol r, imm8
            old.rotate_left(count)
        }
        8 => {
            code.extend([0x8d, 0x44 | rm << 3, 0x80 | reg << 3 | rm, immediate as u8]); // lea r, [r + r*4 + disp8]
            old.wrapping_add(other.wrapping_mul(4)).wrapping_add(immediate as i8 as u32)
        }
        9 => {
            code.extend([0x0f, 0xaf, 0xc0 | rm << 3 | reg]); // imul
            old.wrapping_mul(other)
        }
        10 => {
            let slot = immediate % SLOTS;
            code.extend([0x89, 0x44 | rm << 3, 0x24, slot as u8 * 4]); // mov [esp + slot], r
            state.slots[slot as usize] = old;
            old
        }
        11 => {
            let slot = immediate % SLOTS;
            code.extend([0x03, 0x44 | rm << 3, 0x24, slot as u8 * 4]); // add r, [esp + slot]
            old.wrapping_add(state.slots[slot as usize])
        }
        12 => {
            let byte = immediate % BYTE_REGISTERS;
            code.extend([0x0f, 0xb6, 0xc0 | rm << 3 | byte as u8]); // movzx r, r8
            state.registers[byte as usize] & 0xff
        }
        _ => {
            code.extend([0xf7, 0xd0 | rm]); // not
            !old
        }
    };
}
