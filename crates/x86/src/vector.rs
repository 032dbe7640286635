use core::fmt;

/// An interrupt or exception vector (SDM Vol. 3A, "Exception and Interrupt Vectors").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Vector(pub u8);

macro_rules! vectors {
    ($($name:ident = $number:literal, $mnemonic:literal;)*) => {
        #[allow(missing_docs, reason = "the names are the manual's")]
        impl Vector { $(pub const $name: Vector = Vector($number);)* }

        impl Vector {
            /// The manual's mnemonic, such as `#GP`; `None` outside the exceptions.
            pub const fn mnemonic(self) -> Option<&'static str> {
                match self.0 { $($number => Some($mnemonic),)* _ => None }
            }
        }
    };
}

vectors! {
    DIVIDE_ERROR = 0, "#DE";
    DEBUG = 1, "#DB";
    NMI = 2, "NMI";
    BREAKPOINT = 3, "#BP";
    OVERFLOW = 4, "#OF";
    BOUND_RANGE = 5, "#BR";
    INVALID_OPCODE = 6, "#UD";
    DEVICE_NOT_AVAILABLE = 7, "#NM";
    DOUBLE_FAULT = 8, "#DF";
    INVALID_TSS = 10, "#TS";
    SEGMENT_NOT_PRESENT = 11, "#NP";
    STACK_FAULT = 12, "#SS";
    GENERAL_PROTECTION = 13, "#GP";
    PAGE_FAULT = 14, "#PF";
    X87_ERROR = 16, "#MF";
    ALIGNMENT_CHECK = 17, "#AC";
    MACHINE_CHECK = 18, "#MC";
    SIMD_ERROR = 19, "#XM";
}

/// Whether the delivery of this exception pushes an error code.
pub const fn has_error_code(vector: Vector) -> bool {
    matches!(vector.0, 8 | 10..=14 | 17)
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(name) => f.write_str(name),
            None => write!(f, "vector {:#04x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_exceptions_push_an_error_code() {
        let with: u32 = (0..32).filter(|&v| has_error_code(Vector(v))).map(|v| 1u32 << v).sum();
        assert_eq!(with, 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17);
    }
}
