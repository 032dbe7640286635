//! What starts our kernel on a machine without a loader that knows Multiboot.
//!
//! A disk with an image of physical memory from 1 MiB on: the kernel, the Multiboot
//! information, the initramfs. And a ROM that ends at 4 GiB, where the processor begins: it
//! goes to protected mode, reads the disk and enters the kernel as a Multiboot loader does.

use goblin::elf::{Elf, program_header::PT_LOAD};

/// Where the image goes: where kernels are linked.
const LOAD_ADDR: u32 = 1 << 20;
const PAGE_BYTES: usize = 4096;
/// The smallest ROM that Bochs takes.
const ROM_BYTES: usize = 1 << 16;
const SECTOR_BYTES: usize = 512;
/// A disk is as many of these: 16 heads with 63 sectors each.
const CYLINDER_BYTES: usize = 16 * 63 * SECTOR_BYTES;
/// A kernel beyond this is none of ours.
const MAX_KERNEL_BYTES: usize = 64 << 20;
/// What a Multiboot loader leaves in EAX.
const MULTIBOOT_MAGIC: u32 = 0x2bad_b002;

/// What a machine is given.
pub struct Start {
    /// The ROM.
    pub rom: Vec<u8>,
    /// The first ATA disk.
    pub disk: Vec<u8>,
}

/// What starts `kernel`.
///
/// # Errors
///
/// In words: the kernel is no ELF file for 32 bits that is linked at 1 MiB, or all is longer
/// than memory.
pub fn start(kernel: &[u8], initramfs: &[u8], command_line: &str, memory_mib: u32) -> Result<Start, String> {
    let (mut memory, entry) = kernel_memory(kernel)?;
    let info_addr = next_page(&mut memory);
    memory.extend(information(info_addr, command_line, memory_mib, initramfs.len() as u32));
    let module_addr = next_page(&mut memory);
    debug_assert_eq!(module_addr, info_addr + PAGE_BYTES as u32);
    memory.extend(initramfs);
    let end = memory.len() + LOAD_ADDR as usize;
    if end > (memory_mib as usize) << 20 {
        return Err(format!("kernel and initramfs end at {} MiB, memory at {memory_mib}", end >> 20));
    }
    let mut rom = vec![0xff; ROM_BYTES];
    let sectors = memory.len().div_ceil(SECTOR_BYTES) as u32;
    let tail = tail(sectors, info_addr, entry);
    rom[ROM_BYTES - tail.len()..].copy_from_slice(&tail);
    memory.resize(memory.len().next_multiple_of(CYLINDER_BYTES), 0);
    Ok(Start { rom, disk: memory })
}

/// Fills up the last page; the physical address of the next.
fn next_page(memory: &mut Vec<u8>) -> u32 {
    memory.resize(memory.len().next_multiple_of(PAGE_BYTES), 0);
    LOAD_ADDR + memory.len() as u32
}

/// What the kernel's segments make of memory, zeroed data included, and its entry.
fn kernel_memory(kernel: &[u8]) -> Result<(Vec<u8>, u32), String> {
    let elf = Elf::parse(kernel).map_err(|error| format!("the kernel: {error}"))?;
    let mut memory = Vec::new();
    for segment in elf.program_headers.iter().filter(|segment| segment.p_type == PT_LOAD) {
        let bytes = kernel.get(segment.file_range()).ok_or("the kernel is cut short")?;
        let start =
            (segment.p_paddr as usize).checked_sub(LOAD_ADDR as usize).ok_or("the kernel begins below 1 MiB")?;
        let end = start + segment.p_memsz as usize;
        if end > MAX_KERNEL_BYTES || bytes.len() > segment.p_memsz as usize {
            return Err("the kernel is too long".into());
        }
        memory.resize(end.max(memory.len()), 0);
        memory[start..start + bytes.len()].copy_from_slice(bytes);
    }
    Ok((memory, elf.entry as u32))
}

/// The Multiboot information at `addr`, with a memory map and one module on the next page.
fn information(addr: u32, command_line: &str, memory_mib: u32, module_len: u32) -> Vec<u8> {
    /// Which fields are there: memory sizes, command line, modules, memory map.
    const FLAGS: u32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6;
    const INFO_BYTES: u32 = 116;
    const MODULE_BYTES: u32 = 16;
    const RANGE_BYTES: u32 = 24;
    const LOW_KIB: u32 = 640;

    let high_kib = memory_mib * 1024 - 1024;
    let modules = addr + INFO_BYTES;
    let ranges = modules + MODULE_BYTES;
    let line = ranges + 2 * RANGE_BYTES;
    let module = addr + PAGE_BYTES as u32;
    let mut words = vec![FLAGS, LOW_KIB, high_kib, 0, line, 1, modules, 0, 0, 0, 0, 2 * RANGE_BYTES, ranges];
    words.resize(INFO_BYTES as usize / 4, 0);
    words.extend([module, module + module_len, line, 0]);
    for (start, kib) in [(0, LOW_KIB), (LOAD_ADDR, high_kib)] {
        // The length of the rest, where it is, how long, and that it is RAM.
        words.extend([RANGE_BYTES - 4, start, 0, kib * 1024, 0, 1]);
    }
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.extend(command_line.bytes());
    bytes.push(0);
    bytes
}

/// The end of the ROM. The processor begins 16 bytes before 4 GiB, in real mode with a base
/// that makes offsets in the last 64 KiB those of code below 4 GiB (SDM Vol. 3A, "First
/// Instruction Executed").
fn tail(sectors: u32, info: u32, entry: u32) -> [u8; 256] {
    const BASE: u32 = 0xffff_ff00;
    const PROTECTED: u32 = 0x20;
    const GDT: u32 = 0xa0;
    const GDT_POINTER: u32 = 0xb8;
    let mut tail = [0xf4; 256]; // hlt
    let mut put = |at: u32, bytes: &[u8]| tail[at as usize..][..bytes.len()].copy_from_slice(bytes);

    let mut real = vec![0xfa]; // cli
    real.extend([0x66, 0x2e, 0x0f, 0x01, 0x16, (0xff00 + GDT_POINTER) as u8, 0xff]); // o32 lgdt cs:[GDT_POINTER]
    real.extend([0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0]); // mov eax, cr0; or al, 1; mov cr0, eax
    real.extend([0x66, 0xea]); // jmp 8:PROTECTED
    real.extend((BASE + PROTECTED).to_le_bytes());
    real.extend([0x08, 0x00]);
    put(0, &real);

    let mut protected = vec![0xb8, 0x10, 0, 0, 0]; // mov eax, 0x10
    protected.extend([0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8]); // mov ds, es, ss, fs, gs, ax
    protected.extend([0xe4, 0x92, 0x0c, 0x02, 0xe6, 0x92]); // in al, 0x92; or al, 2; out 0x92, al: the line A20
    protected.push(0xfc); // cld
    for (mov, value) in [(0xbf, LOAD_ADDR), (0xbd, sectors)] {
        protected.push(mov); // mov edi, ebp
        protected.extend(value.to_le_bytes());
    }
    protected.extend([0x31, 0xf6]); // xor esi, esi: the sector
    let next = protected.len();
    // A sector by its number (ATA-4, READ SECTOR(S)).
    protected.extend([0x66, 0xba, 0xf2, 0x01, 0xb0, 0x01, 0xee]); // mov dx, 0x1f2; mov al, 1; out dx, al
    protected.extend([0x89, 0xf0]); // mov eax, esi
    for _ in 0..3 {
        protected.extend([0x42, 0xee, 0xc1, 0xe8, 0x08]); // inc edx; out dx, al; shr eax, 8
    }
    protected.extend([0x0c, 0xe0, 0x42, 0xee]); // or al, 0xe0; inc edx; out dx, al
    protected.extend([0x42, 0xb0, 0x20, 0xee]); // inc edx; mov al, 0x20; out dx, al
    protected.extend([0xec, 0xa8, 0x08, 0x74, 0xfb]); // in al, dx; test al, 8; jz: until there is data
    protected.extend([0x66, 0xba, 0xf0, 0x01, 0xb9, 0, 1, 0, 0]); // mov dx, 0x1f0; mov ecx, 256
    protected.extend([0x66, 0xf3, 0x6d, 0x46, 0x4d]); // rep insw; inc esi; dec ebp
    let back = next as i64 - (protected.len() as i64 + 2);
    protected.extend([0x75, back as i8 as u8]); // jnz
    for (mov, value) in [(0xb8, MULTIBOOT_MAGIC), (0xbb, info), (0xb9, entry)] {
        protected.push(mov); // mov eax, ebx, ecx
        protected.extend(value.to_le_bytes());
    }
    protected.extend([0xff, 0xe1]); // jmp ecx
    debug_assert!(protected.len() as u32 <= GDT - PROTECTED);
    put(PROTECTED, &protected);

    // Nothing, flat code, flat data.
    put(GDT, &[[0; 8], [0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0], [0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0]].concat());
    let base = (BASE + GDT).to_le_bytes();
    put(GDT_POINTER, &[&[3 * 8 - 1, 0], &base[..]].concat());
    put(0xf0, &[0xe9, 0x0d, 0xff]); // jmp to the start of the tail
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rom_ends_with_a_jump_at_the_reset_vector() {
        let Start { rom, disk } = start(images::KERNEL, &[1; 5000], "console=ttyS0", 64).unwrap();
        assert!(disk.windows(5000).any(|bytes| bytes == [1; 5000]));
        let at = rom.len() - 16;
        let target = at as i64 + 3 + i64::from(i16::from_le_bytes([rom[at + 1], rom[at + 2]]));
        assert_eq!((rom[at], target), (0xe9, rom.len() as i64 - 256));
    }

    #[test]
    fn the_information_leads_to_line_and_module() {
        let bytes = information(0x20_0000, "a b", 64, 5000);
        let word = |at: u32| u32::from_le_bytes(bytes[at as usize..][..4].try_into().unwrap());
        let line = (word(16) - 0x20_0000) as usize;
        assert_eq!(&bytes[line..], b"a b\0");
        let module = word(24) - 0x20_0000;
        assert_eq!((word(module), word(module + 4)), (0x20_1000, 0x20_1000 + 5000));
        assert!(bytes.len() < PAGE_BYTES);
    }

    #[test]
    fn what_is_no_kernel_or_too_long_is_refused() {
        assert!(start(b"no ELF file", &[], "", 64).is_err());
        let refusal = start(images::KERNEL, &vec![0; 4 << 20], "", 4).err().unwrap();
        assert_eq!(refusal, "kernel and initramfs end at 6 MiB, memory at 4");
    }
}
