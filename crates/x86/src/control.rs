use bitflags::bitflags;

bitflags! {
    /// CR0 (SDM Vol. 3A, "Control Registers").
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Cr0: u32 {
        /// Protection enable.
        const PE = 1 << 0;
        /// Monitor coprocessor.
        const MP = 1 << 1;
        /// Emulation: x87 instructions raise #NM, SSE #UD.
        const EM = 1 << 2;
        /// Task switched: the next FPU instruction raises #NM.
        const TS = 1 << 3;
        /// Extension type, always 1.
        const ET = 1 << 4;
        /// Numeric error: x87 errors raise #MF.
        const NE = 1 << 5;
        /// Write protect: supervisor writes honour read-only pages.
        const WP = 1 << 16;
        /// Alignment mask: allows alignment checks at CPL 3.
        const AM = 1 << 18;
        /// Not write-through.
        const NW = 1 << 29;
        /// Cache disable.
        const CD = 1 << 30;
        /// Paging.
        const PG = 1 << 31;
        const _ = !0;
    }

    /// CR4 (SDM Vol. 3A, "Control Registers").
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Cr4: u32 {
        /// Virtual-8086 mode extensions.
        const VME = 1 << 0;
        /// Protected-mode virtual interrupts.
        const PVI = 1 << 1;
        /// Time-stamp disable: RDTSC only at CPL 0.
        const TSD = 1 << 2;
        /// Debugging extensions.
        const DE = 1 << 3;
        /// Page size extensions: 4 MiB pages.
        const PSE = 1 << 4;
        /// Physical address extension.
        const PAE = 1 << 5;
        /// Machine-check enable.
        const MCE = 1 << 6;
        /// Page global enable.
        const PGE = 1 << 7;
        /// Performance-monitoring counter enable.
        const PCE = 1 << 8;
        /// FXSAVE and SSE are supported by the operating system.
        const OSFXSR = 1 << 9;
        /// Unmasked SIMD exceptions raise #XM.
        const OSXMMEXCPT = 1 << 10;
        /// User-mode instruction prevention.
        const UMIP = 1 << 11;
        /// Supervisor-mode execution prevention.
        const SMEP = 1 << 20;
        /// Supervisor-mode access prevention.
        const SMAP = 1 << 21;
        const _ = !0;
    }

    /// IA32_EFER, as far as a 32-bit processor has it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Efer: u32 {
        /// SYSCALL enable.
        const SCE = 1 << 0;
        /// Execute-disable enable.
        const NXE = 1 << 11;
        const _ = !0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_the_manuals() {
        assert_eq!(Cr0::PG.bits(), 0x8000_0000);
        assert_eq!(Cr0::WP.bits(), 0x0001_0000);
        assert_eq!((Cr0::PE | Cr0::ET | Cr0::NE).bits(), 0x31);
        assert_eq!((Cr4::PSE | Cr4::PGE | Cr4::OSFXSR | Cr4::OSXMMEXCPT).bits(), 0x690);
        assert_eq!(Efer::NXE.bits(), 0x800);
    }
}
