//! The registers as gdb numbers them: the order of the target description.

use cpu::{CpuState, F80};
use x86::{Eflags, SegReg};

/// A register, by its number in the target description.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Register(pub usize);

/// The kinds of register, with what tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    General(usize),
    Eip,
    Eflags,
    Segment(SegReg),
    St(u8),
    Fctrl,
    Fstat,
    Ftag,
    Fiseg,
    Fioff,
    Foseg,
    Fooff,
    Fop,
    Xmm(usize),
    Mxcsr,
    OrigEax,
    SegmentBase(SegReg),
    Cr0,
    Cr2,
    Cr3,
    Cr4,
    Efer,
    GdtrBase,
    IdtrBase,
    Cpl,
}

/// Where a feature of the description ends, so that the description and this table agree.
pub const CORE: usize = 32;
/// See [`CORE`]: xmm0–7 and mxcsr.
pub const SSE: usize = CORE + 9;
/// See [`CORE`]: orig_eax.
pub const LINUX: usize = SSE + 1;
/// All registers.
pub const COUNT: usize = LINUX + 10;

/// The names, in order.
pub const NAMES: [&str; COUNT] = [
    "eax",
    "ecx",
    "edx",
    "ebx",
    "esp",
    "ebp",
    "esi",
    "edi",
    "eip",
    "eflags",
    "cs",
    "ss",
    "ds",
    "es",
    "fs",
    "gs",
    "st0",
    "st1",
    "st2",
    "st3",
    "st4",
    "st5",
    "st6",
    "st7",
    "fctrl",
    "fstat",
    "ftag",
    "fiseg",
    "fioff",
    "foseg",
    "fooff",
    "fop",
    "xmm0",
    "xmm1",
    "xmm2",
    "xmm3",
    "xmm4",
    "xmm5",
    "xmm6",
    "xmm7",
    "mxcsr",
    "orig_eax",
    "fs_base",
    "gs_base",
    "cr0",
    "cr2",
    "cr3",
    "cr4",
    "efer",
    "gdtr_base",
    "idtr_base",
    "cpl",
];

impl Register {
    /// All, in order.
    pub fn all() -> impl Iterator<Item = Register> {
        (0..COUNT).map(Register)
    }

    /// Bytes.
    pub fn size(self) -> usize {
        match self.kind() {
            Kind::St(_) => 10,
            Kind::Xmm(_) => 16,
            _ => 4,
        }
    }

    fn kind(self) -> Kind {
        use SegReg::{Cs, Ds, Es, Fs, Gs, Ss};
        match self.0 {
            n @ 0..8 => Kind::General(n),
            8 => Kind::Eip,
            9 => Kind::Eflags,
            n @ 10..16 => Kind::Segment([Cs, Ss, Ds, Es, Fs, Gs][n - 10]),
            n @ 16..24 => Kind::St((n - 16) as u8),
            n @ 24..32 => {
                use Kind::{Fctrl, Fioff, Fiseg, Fooff, Fop, Foseg, Fstat, Ftag};
                [Fctrl, Fstat, Ftag, Fiseg, Fioff, Foseg, Fooff, Fop][n - 24]
            }
            n @ 32..40 => Kind::Xmm(n - 32),
            40 => Kind::Mxcsr,
            41 => Kind::OrigEax,
            42 => Kind::SegmentBase(Fs),
            43 => Kind::SegmentBase(Gs),
            n => {
                use Kind::{Cpl, Cr0, Cr2, Cr3, Cr4, Efer, GdtrBase, IdtrBase};
                [Cr0, Cr2, Cr3, Cr4, Efer, GdtrBase, IdtrBase, Cpl][(n - 44).min(7)]
            }
        }
    }

    /// The register's bytes, little end first.
    pub fn read(self, cpu: &CpuState) -> Vec<u8> {
        let value = match self.kind() {
            Kind::St(i) => {
                let F80 { significand, sign_exponent } = cpu.fpu.r[usize::from((cpu.fpu.top() + i) & 7)];
                return [&significand.to_le_bytes()[..], &sign_exponent.to_le_bytes()[..]].concat();
            }
            Kind::Xmm(i) => return cpu.xmm[i].to_le_bytes().to_vec(),
            Kind::General(n) => cpu.gpr[n],
            Kind::Eip => cpu.eip,
            Kind::Eflags => cpu.eflags.bits(),
            Kind::Segment(reg) => cpu.seg(reg).selector.into(),
            Kind::Fctrl => cpu.fpu.control.into(),
            Kind::Fstat => cpu.fpu.status.into(),
            Kind::Ftag => full_tag(cpu).into(),
            Kind::Fiseg => cpu.fpu.cs.into(),
            Kind::Fioff => cpu.fpu.ip,
            Kind::Foseg => cpu.fpu.ds.into(),
            Kind::Fooff => cpu.fpu.dp,
            Kind::Fop => cpu.fpu.opcode.into(),
            Kind::Mxcsr => cpu.mxcsr,
            Kind::OrigEax => u32::MAX,
            Kind::SegmentBase(reg) => cpu.seg(reg).base,
            Kind::Cr0 => cpu.cr0,
            Kind::Cr2 => cpu.cr2,
            Kind::Cr3 => cpu.cr3,
            Kind::Cr4 => cpu.cr4,
            Kind::Efer => cpu.msr.efer,
            Kind::GdtrBase => cpu.gdtr.base,
            Kind::IdtrBase => cpu.idtr.base,
            Kind::Cpl => cpu.cpl.into(),
        };
        value.to_le_bytes().to_vec()
    }

    /// Sets the register; says whether it could be. A value that is there already always
    /// can. The mode, the translation and the segments are the guest's to set: changed from
    /// outside, they would not agree with the descriptors and translations that the CPU holds.
    pub fn write(self, cpu: &mut CpuState, bytes: &[u8]) -> bool {
        if bytes.len() != self.size() {
            return false;
        }
        if self.read(cpu) == bytes {
            return true;
        }
        let value = bytes.iter().take(4).rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
        match self.kind() {
            Kind::General(n) => cpu.gpr[n] = value,
            Kind::Eip => cpu.eip = value,
            Kind::Eflags => {
                let fixed = Eflags::VM.bits() | Eflags::RESERVED_1.bits();
                cpu.eflags = Eflags::from_bits_retain(value & 0x3f_7fd5 & !fixed | cpu.eflags.bits() & fixed);
            }
            Kind::St(i) => {
                let (significand, sign_exponent) = bytes.split_at(8);
                let wide = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
                let at = usize::from((cpu.fpu.top() + i) & 7);
                cpu.fpu.r[at] = F80 { significand: wide(significand), sign_exponent: wide(sign_exponent) as u16 };
            }
            Kind::Xmm(i) => cpu.xmm[i] = bytes.iter().rev().fold(0, |value, &byte| value << 8 | u128::from(byte)),
            Kind::Fctrl => cpu.fpu.control = value as u16,
            Kind::Fstat => cpu.fpu.status = value as u16,
            Kind::Ftag => cpu.fpu.tag = (0..8).filter(|i| value >> (2 * i) & 3 != 3).fold(0, |tag, i| tag | 1 << i),
            Kind::Fiseg => cpu.fpu.cs = value as u16,
            Kind::Fioff => cpu.fpu.ip = value,
            Kind::Foseg => cpu.fpu.ds = value as u16,
            Kind::Fooff => cpu.fpu.dp = value,
            Kind::Fop => cpu.fpu.opcode = value as u16 & 0x7ff,
            // A reserved bit would make the next LDMXCSR-like instruction of the host fault.
            Kind::Mxcsr if value >> 16 == 0 => cpu.mxcsr = value,
            Kind::Cr2 => cpu.cr2 = value,
            // gdb sets it to -1 when it changes EIP in a system call.
            Kind::OrigEax => {}
            _ => return false,
        }
        true
    }
}

/// The 16-bit tag word from the abridged one (SDM Vol. 1, "x87 FPU Tag Word").
fn full_tag(cpu: &CpuState) -> u16 {
    (0..8).fold(0, |word, i| {
        let F80 { significand, sign_exponent } = cpu.fpu.r[i];
        let exponent = sign_exponent & 0x7fff;
        let tag = match () {
            _ if cpu.fpu.tag >> i & 1 == 0 => 3,
            _ if exponent == 0 && significand == 0 => 1,
            _ if exponent == 0 || exponent == 0x7fff || significand >> 63 == 0 => 2,
            _ => 0,
        };
        word | tag << (2 * i)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpu::CpuModel;

    fn named(name: &str) -> Register {
        Register(NAMES.iter().position(|&known| known == name).unwrap())
    }

    fn state() -> CpuState {
        CpuState::multiboot(CpuModel::default(), 0x10_0020, 0x9000)
    }

    #[test]
    fn registers_are_read_by_their_names() {
        let mut cpu = state();
        cpu.xmm[3] = 0x0102;
        cpu.seg[SegReg::Gs as usize].base = 0xb000;
        let read = |name| {
            let bytes = named(name).read(&cpu);
            bytes.iter().rev().fold(0u128, |value, &byte| value << 8 | u128::from(byte))
        };
        for (name, value) in [("eax", 0x2bad_b002), ("eip", 0x10_0020), ("cs", 8), ("ss", 0x10), ("cr0", 0x11)] {
            assert_eq!(read(name), value, "{name}");
        }
        assert_eq!((read("xmm3"), read("gs_base"), read("orig_eax")), (0x102, 0xb000, 0xffff_ffff));
        assert_eq!((read("fctrl"), read("ftag"), read("mxcsr"), read("cpl")), (0x37f, 0xffff, 0x1f80, 0));
    }

    #[test]
    fn sizes_are_those_of_the_description() {
        let sizes: usize = Register::all().map(Register::size).sum();
        assert_eq!(sizes, 16 * 4 + 8 * 10 + 8 * 4 + 8 * 16 + 4 + 4 + 10 * 4);
        assert!(Register::all().all(|reg| reg.read(&state()).len() == reg.size()));
    }

    #[test]
    fn a_stack_register_follows_top() {
        let mut cpu = state();
        cpu.fpu.status = 7 << 11;
        cpu.fpu.tag = 0x80;
        assert!(named("st0").write(&mut cpu, &[0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]));
        assert_eq!(cpu.fpu.r[7], F80 { significand: 1 << 63, sign_exponent: 0x3fff });
        assert_eq!(named("ftag").read(&cpu), 0x3fffu32.to_le_bytes());
    }

    #[test]
    fn what_belongs_to_the_mode_is_not_set_from_outside() {
        let mut cpu = state();
        for name in ["cs", "cr0", "cr3", "cr4", "efer", "cpl", "fs_base", "gdtr_base"] {
            assert!(!named(name).write(&mut cpu, &0x7b_u32.to_le_bytes()), "{name}");
            let same = named(name).read(&cpu);
            assert!(named(name).write(&mut cpu, &same), "{name}");
        }
        assert!(named("eflags").write(&mut cpu, &0xffff_ffff_u32.to_le_bytes()));
        assert!(!cpu.eflags.contains(Eflags::VM) && cpu.eflags.contains(Eflags::RESERVED_1));
        assert!(!named("eax").write(&mut cpu, &[1, 2]));
    }
}
