//! Programs and kernels of a few instructions, each made for one fault.

/// Machine code as it grows; `call`s of it append instructions.
#[derive(Default)]
pub struct Code {
    bytes: Vec<u8>,
}

/// A general-purpose register by its number in an encoding.
#[derive(Clone, Copy)]
pub enum Reg {
    Eax = 0,
    Ecx = 1,
    Edx = 2,
    Ebx = 3,
    Ebp = 5,
    Esi = 6,
    Edi = 7,
}

impl Code {
    /// Bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn word(self, word: u32) -> Self {
        self.raw(&word.to_le_bytes())
    }

    /// `mov reg, value`
    pub fn set(self, reg: Reg, value: u32) -> Self {
        self.raw(&[0xb8 + reg as u8]).word(value)
    }

    /// `mov dword ptr [addr], value`
    pub fn store(self, addr: u32, value: u32) -> Self {
        self.raw(&[0xc7, 0x05]).word(addr).word(value)
    }

    /// `mov eax, [addr]`
    pub fn load(self, addr: u32) -> Self {
        self.raw(&[0xa1]).word(addr)
    }

    /// `int 0x80` with EAX and the first arguments.
    pub fn call(self, number: u32, args: &[u32]) -> Self {
        use Reg::{Ebp, Ebx, Ecx, Edi, Edx, Esi};
        let regs = [Ebx, Ecx, Edx, Esi, Edi, Ebp];
        let code = args.iter().zip(regs).fold(self, |code, (&arg, reg)| code.set(reg, arg));
        code.set(Reg::Eax, number).raw(&[0xcd, 0x80])
    }

    /// Waits until the doubleword at `addr` is not 0.
    pub fn wait_for(self, addr: u32) -> Self {
        // again: cmp dword ptr [addr], 0; je again
        self.raw(&[0x83, 0x3d]).word(addr).raw(&[0, 0x74, 0xf7])
    }

    /// What `other` is, behind it.
    pub fn append(self, other: Code) -> Self {
        self.raw(&other.bytes)
    }

    /// How many bytes there are.
    pub fn len(&self) -> u32 {
        self.bytes.len() as u32
    }
}

/// Where a program's code begins.
pub const PROGRAM: u32 = 0x0804_8054;

/// A static program of one segment, read and executed, with some bytes behind its code.
pub fn program(code: Code) -> Vec<u8> {
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |elf: &mut Vec<u8>, words: &[u16]| words.iter().for_each(|w| elf.extend_from_slice(&w.to_le_bytes()));
    let word = |elf: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|w| elf.extend_from_slice(&w.to_le_bytes()));
    half(&mut elf, &[2, 3]);
    word(&mut elf, &[1, PROGRAM, 52, 0, 0]);
    half(&mut elf, &[52, 32, 1, 0, 0, 0]);
    let size = 84 + code.len();
    word(&mut elf, &[1, 0, 0x0804_8000, 0x0804_8000, size, size, 5, 0x1000]);
    elf.extend_from_slice(&code.bytes);
    elf
}

/// Where a kernel is loaded; its code begins behind the header.
const KERNEL: u32 = 0x10_0000;
const HEADER: u32 = 32;

/// A Multiboot kernel that is this code, entered in flat protected mode.
pub fn kernel(code: Code) -> Vec<u8> {
    let (magic, flags) = (0x1bad_b002u32, 1u32 << 16);
    let checksum = 0u32.wrapping_sub(magic).wrapping_sub(flags);
    let header = [magic, flags, checksum, KERNEL, KERNEL, 0, 0, KERNEL + HEADER];
    header.iter().flat_map(|word| word.to_le_bytes()).chain(code.bytes).collect()
}

/// Where the kernels below have their tables, and the page that they are about: above all that is loaded.
const TABLES: u32 = 0x300_0000;
pub const PAGE: u32 = 0x315_0000;
/// P, R/W; and U/S with them.
pub const SUPERVISOR: u32 = 3;
pub const USER: u32 = 7;

/// `mov crN, eax` with this value; CR0's bits are added to what it has.
fn control(code: Code, number: u8, value: u32) -> Code {
    match number {
        0 => code.raw(&[0x0f, 0x20, 0xc0, 0x0d]).word(value).raw(&[0x0f, 0x22, 0xc0]),
        n => code.set(Reg::Eax, value).raw(&[0x0f, 0x22, 0xc0 | n << 3]),
    }
}

/// 32-bit paging: the kernel's page, and [`PAGE`] with `bits` in both its entries. `cr4` and CR0's PG and WP are
/// set.
pub fn paged(bits: u32, cr4: u32) -> Code {
    let (low, high) = (TABLES + 0x1000, TABLES + 0x2000);
    let place = |page: u32| (page >> 12 & 0x3ff) * 4;
    let code = Code::default()
        .store(TABLES + (KERNEL >> 22) * 4, low + SUPERVISOR)
        .store(TABLES + (PAGE >> 22) * 4, high + bits)
        .store(low + place(KERNEL), KERNEL + SUPERVISOR)
        .store(high + place(PAGE), PAGE + bits);
    let code = control(code, 4, cr4);
    control(control(code, 3, TABLES), 0, 1 << 31 | 1 << 16)
}

/// PAE paging with NX: the same, with the upper half of the entry's bits.
pub fn paged_pae(high_bits: u32) -> Code {
    const EFER: u32 = 0xc000_0080;
    let [directory, low, high] = [TABLES + 0x1000, TABLES + 0x2000, TABLES + 0x3000];
    let place = |page: u32| (page >> 12 & 0x1ff) * 8;
    let code = Code::default()
        .store(TABLES, directory + 1)
        .store(directory + (KERNEL >> 21) * 8, low + SUPERVISOR)
        .store(directory + (PAGE >> 21) * 8, high + SUPERVISOR)
        .store(low + place(KERNEL), KERNEL + SUPERVISOR)
        .store(high + place(PAGE), PAGE + SUPERVISOR)
        .store(high + place(PAGE) + 4, high_bits)
        .set(Reg::Ecx, EFER)
        .set(Reg::Edx, 0)
        .set(Reg::Eax, 1 << 11)
        .raw(&[0x0f, 0x30]); // wrmsr
    control(control(control(code, 4, 1 << 5), 3, TABLES), 0, 1 << 31 | 1 << 16)
}

/// Paging goes on, and the tables map nothing: not even the next instruction.
pub fn paged_without_tables() -> Code {
    control(control(Code::default(), 3, TABLES), 0, 1 << 31)
}

/// Goes to an address.
pub fn jump(code: Code, addr: u32) -> Code {
    code.set(Reg::Eax, addr).raw(&[0xff, 0xe0])
}
