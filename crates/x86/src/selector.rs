/// A segment selector (SDM Vol. 3A, "Segment Selectors").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Selector(pub u16);

impl Selector {
    /// Requested privilege level, 0 to 3.
    #[inline]
    pub const fn rpl(self) -> u8 {
        (self.0 & 3) as u8
    }

    /// The selector names an entry of the LDT, not of the GDT.
    #[inline]
    pub const fn local(self) -> bool {
        self.0 & 4 != 0
    }

    /// Byte offset of the descriptor in its table.
    #[inline]
    pub const fn offset(self) -> u32 {
        (self.0 & 0xfff8) as u32
    }

    /// The selector is null: entry 0 of the GDT, whatever its RPL.
    #[inline]
    pub const fn is_null(self) -> bool {
        self.0 & 0xfffc == 0
    }

    /// The error code that names this selector: index and TI, with bits 1:0 clear.
    #[inline]
    pub const fn error_code(self) -> u32 {
        (self.0 & 0xfffc) as u32
    }
}

/// A segment register, numbered as instructions encode it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say all")]
pub enum SegReg {
    Es = 0,
    Cs = 1,
    Ss = 2,
    Ds = 3,
    Fs = 4,
    Gs = 5,
}

impl SegReg {
    /// All six, in encoding order.
    pub const ALL: [SegReg; 6] = [SegReg::Es, SegReg::Cs, SegReg::Ss, SegReg::Ds, SegReg::Fs, SegReg::Gs];

    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        ["es", "cs", "ss", "ds", "fs", "gs"][self as usize]
    }
}
