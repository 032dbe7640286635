//! What the kernel says of a fault that it does not resolve, at points for who looks on from outside.

/// Called when a page fault of a program leads to a signal, before it is sent: EAX holds the address of the
/// saved registers, EDX the linear address that faulted, ECX a [`Refusal`].
pub const REFUSED: &str = "page_fault_refused";
/// Called when the kernel itself has faulted and cannot go on: EAX holds the address of the saved registers,
/// ECX the error code.
pub const DIED: &str = "kernel_died";
/// Called when the kernel ends the machine: EAX holds the address of its last words, ECX how many bytes they are.
pub const PANICKED: &str = "kernel_panicked";

/// Where EIP is among the saved registers.
pub const SAVED_EIP: u32 = 48;

/// What a program's page fault leads to, as one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The error code, of which no processor sets more than 16 bits.
    pub error_code: u16,
    /// The signal.
    pub signal: u8,
    /// The program has a handler for it, which will run.
    pub is_handled: bool,
}

impl Refusal {
    /// As the point has it in ECX.
    pub const fn to_word(self) -> u32 {
        self.error_code as u32 | (self.signal as u32) << 16 | (self.is_handled as u32) << 24
    }

    /// From ECX.
    pub const fn of_word(word: u32) -> Self {
        Refusal { error_code: word as u16, signal: (word >> 16) as u8, is_handled: word >> 24 & 1 != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_word() {
        for is_handled in [false, true] {
            let refusal = Refusal { error_code: 0x8017, signal: 11, is_handled };
            assert_eq!(Refusal::of_word(refusal.to_word()), refusal);
        }
    }
}
