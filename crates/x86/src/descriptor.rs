/// A segment or gate descriptor, eight bytes (SDM Vol. 3A, "Segment Descriptors").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Descriptor(pub u64);

/// The type of a system descriptor, S = 0 (SDM Vol. 3A, "System Descriptor Types").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the manual's")]
pub enum SystemType {
    Tss16Available = 1,
    Ldt = 2,
    Tss16Busy = 3,
    CallGate16 = 4,
    TaskGate = 5,
    InterruptGate16 = 6,
    TrapGate16 = 7,
    Tss32Available = 9,
    Tss32Busy = 11,
    CallGate32 = 12,
    InterruptGate32 = 14,
    TrapGate32 = 15,
}

impl SystemType {
    /// The type with this number, unless it is reserved.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits & 15 {
            1 => Self::Tss16Available,
            2 => Self::Ldt,
            3 => Self::Tss16Busy,
            4 => Self::CallGate16,
            5 => Self::TaskGate,
            6 => Self::InterruptGate16,
            7 => Self::TrapGate16,
            9 => Self::Tss32Available,
            11 => Self::Tss32Busy,
            12 => Self::CallGate32,
            14 => Self::InterruptGate32,
            15 => Self::TrapGate32,
            _ => return None,
        })
    }
}

impl Descriptor {
    /// Base address, from its three parts.
    #[inline]
    pub const fn base(self) -> u32 {
        ((self.0 >> 16) & 0xff_ffff) as u32 | ((self.0 >> 56) as u32) << 24
    }

    /// Limit in bytes, after the G bit: the last valid offset of an expand-up segment.
    #[inline]
    pub const fn limit(self) -> u32 {
        let raw = (self.0 & 0xffff) as u32 | ((self.0 >> 32) as u32 & 0xf_0000);
        if self.granularity() { raw << 12 | 0xfff } else { raw }
    }

    /// The four type bits.
    #[inline]
    pub const fn type_bits(self) -> u8 {
        (self.0 >> 40) as u8 & 15
    }

    /// S: a code or data segment rather than a system descriptor.
    #[inline]
    pub const fn is_segment(self) -> bool {
        self.0 >> 44 & 1 != 0
    }

    /// Descriptor privilege level.
    #[inline]
    pub const fn dpl(self) -> u8 {
        (self.0 >> 45) as u8 & 3
    }

    /// Present.
    #[inline]
    pub const fn present(self) -> bool {
        self.0 >> 47 & 1 != 0
    }

    /// D/B: 32-bit operands and stack.
    #[inline]
    pub const fn big(self) -> bool {
        self.0 >> 54 & 1 != 0
    }

    /// G: the limit counts 4 KiB units.
    #[inline]
    pub const fn granularity(self) -> bool {
        self.0 >> 55 & 1 != 0
    }

    /// A code segment.
    #[inline]
    pub const fn is_code(self) -> bool {
        self.is_segment() && self.type_bits() & 8 != 0
    }

    /// A conforming code segment.
    #[inline]
    pub const fn is_conforming(self) -> bool {
        self.is_code() && self.type_bits() & 4 != 0
    }

    /// An expand-down data segment.
    #[inline]
    pub const fn is_expand_down(self) -> bool {
        self.is_segment() && self.type_bits() & 12 == 4
    }

    /// A data segment that can be written.
    #[inline]
    pub const fn is_writable(self) -> bool {
        self.is_segment() && self.type_bits() & 10 == 2
    }

    /// A data segment, or a code segment that can be read.
    #[inline]
    pub const fn is_readable(self) -> bool {
        self.is_segment() && self.type_bits() & 10 != 8
    }

    /// The type of a system descriptor; `None` for segments and reserved types.
    pub const fn system_type(self) -> Option<SystemType> {
        if self.is_segment() { None } else { SystemType::from_bits(self.type_bits()) }
    }

    /// A gate's target selector.
    #[inline]
    pub const fn gate_selector(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// A gate's target offset, all 32 bits (16-bit gates use the low half).
    #[inline]
    pub const fn gate_offset(self) -> u32 {
        (self.0 & 0xffff) as u32 | (self.0 >> 32) as u32 & 0xffff_0000
    }

    /// How many parameters a call gate copies.
    pub const fn gate_param_count(self) -> u8 {
        (self.0 >> 32) as u8 & 31
    }

    /// Builds a code or data segment. `access` is byte 5 (P, DPL, S, type); `big` sets D/B;
    /// a limit above 1 MiB is stored in 4 KiB units.
    pub const fn segment(base: u32, limit: u32, access: u8, big: bool) -> Self {
        let (limit, g) = if limit > 0xf_ffff { (limit >> 12, 1u64) } else { (limit, 0) };
        Descriptor(
            (limit & 0xffff) as u64
                | ((base & 0xff_ffff) as u64) << 16
                | (access as u64) << 40
                | ((limit >> 16) as u64) << 48
                | (big as u64) << 54
                | g << 55
                | ((base >> 24) as u64) << 56,
        )
    }

    /// Builds a gate. `access` is byte 5 (P, DPL, type).
    pub const fn gate(selector: u16, offset: u32, access: u8) -> Self {
        Descriptor(
            (offset & 0xffff) as u64 | (selector as u64) << 16 | (access as u64) << 40 | ((offset >> 16) as u64) << 48,
        )
    }
}

/// Byte offsets in a 32-bit TSS (SDM Vol. 3A, "Task-State Segment").
#[allow(missing_docs, reason = "the names are the manual's")]
pub mod tss {
    pub const LINK: u32 = 0;
    pub const ESP0: u32 = 4;
    pub const SS0: u32 = 8;
    pub const CR3: u32 = 28;
    pub const EIP: u32 = 32;
    pub const EFLAGS: u32 = 36;
    pub const EAX: u32 = 40;
    pub const ES: u32 = 72;
    pub const LDT: u32 = 96;
    pub const TRAP: u32 = 100;
    pub const IO_MAP_BASE: u32 = 102;
    /// Bytes of the fixed part.
    pub const SIZE: u32 = 104;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flat_code_segment_of_every_kernel_reads_back() {
        let d = Descriptor(0x00cf_9a00_0000_ffff);
        assert_eq!((d.base(), d.limit(), d.dpl()), (0, 0xffff_ffff, 0));
        assert!(d.present() && d.is_code() && d.is_readable() && d.big() && !d.is_conforming() && !d.is_writable());
        assert_eq!(Descriptor::segment(0, 0xffff_ffff, 0x9a, true), d);
    }

    #[test]
    fn a_gate_reads_back() {
        let d = Descriptor::gate(0x60, 0xc012_3456, 0xee);
        assert_eq!((d.gate_selector(), d.gate_offset(), d.dpl()), (0x60, 0xc012_3456, 3));
        assert_eq!(d.system_type(), Some(SystemType::InterruptGate32));
    }

    #[test]
    fn a_byte_granular_segment_keeps_its_limit_and_base() {
        let d = Descriptor::segment(0x1234_5678, 0x67, 0x89, false);
        assert_eq!((d.base(), d.limit()), (0x1234_5678, 0x67));
        assert_eq!(d.system_type(), Some(SystemType::Tss32Available));
    }
}
