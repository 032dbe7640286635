use x86::{PageFaultCode, Selector, Vector};

/// An exception that the guest sees. Small and `Copy`: it travels in `Result`s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exception {
    /// Which one.
    pub vector: Vector,
    /// The error code, where the vector pushes one.
    pub code: u32,
    /// What goes into CR2; only for #PF.
    pub addr: u32,
}

impl Exception {
    const fn new(vector: Vector, code: u32) -> Self {
        Exception { vector, code, addr: 0 }
    }

    /// #DE.
    pub const fn de() -> Self {
        Self::new(Vector::DIVIDE_ERROR, 0)
    }
    /// #DB, as a fault or trap decided by DR6.
    pub const fn db() -> Self {
        Self::new(Vector::DEBUG, 0)
    }
    /// #BP.
    pub const fn bp() -> Self {
        Self::new(Vector::BREAKPOINT, 0)
    }
    /// #OF.
    pub const fn of() -> Self {
        Self::new(Vector::OVERFLOW, 0)
    }
    /// #BR.
    pub const fn br() -> Self {
        Self::new(Vector::BOUND_RANGE, 0)
    }
    /// #UD.
    pub const fn ud() -> Self {
        Self::new(Vector::INVALID_OPCODE, 0)
    }
    /// #NM.
    pub const fn nm() -> Self {
        Self::new(Vector::DEVICE_NOT_AVAILABLE, 0)
    }
    /// #MF.
    pub const fn mf() -> Self {
        Self::new(Vector::X87_ERROR, 0)
    }
    /// #DF.
    pub const fn df() -> Self {
        Self::new(Vector::DOUBLE_FAULT, 0)
    }
    /// #XM.
    pub const fn xm() -> Self {
        Self::new(Vector::SIMD_ERROR, 0)
    }
    /// #AC(0).
    pub const fn ac() -> Self {
        Self::new(Vector::ALIGNMENT_CHECK, 0)
    }
    /// #GP with a code; 0 names no selector.
    pub const fn gp(code: u32) -> Self {
        Self::new(Vector::GENERAL_PROTECTION, code)
    }
    /// #GP that names a selector.
    pub const fn gp_sel(selector: Selector) -> Self {
        Self::gp(selector.error_code())
    }
    /// #SS with a code; 0 names no selector.
    pub const fn ss(code: u32) -> Self {
        Self::new(Vector::STACK_FAULT, code)
    }
    /// #NP that names a selector.
    pub const fn np_sel(selector: Selector) -> Self {
        Self::new(Vector::SEGMENT_NOT_PRESENT, selector.error_code())
    }
    /// #TS that names a selector.
    pub const fn ts_sel(selector: Selector) -> Self {
        Self::new(Vector::INVALID_TSS, selector.error_code())
    }
    /// #PF at linear address `addr`.
    pub const fn pf(addr: u32, code: PageFaultCode) -> Self {
        Exception { vector: Vector::PAGE_FAULT, code: code.bits(), addr }
    }
}
