//! Bytes of instructions that the assembler has no names for in every operand size and code size.

/// Code for a segment of 16 or 32 bits.
#[derive(Clone, Debug)]
pub struct Asm {
    pub bits: u8,
    pub bytes: Vec<u8>,
}

impl Asm {
    pub fn new(bits: u8) -> Asm {
        Asm { bits, bytes: Vec::new() }
    }

    /// Raw bytes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The operand-size prefix, if `size` needs it here.
    pub fn size(&mut self, size: u8) -> &mut Self {
        if size != self.bits {
            self.bytes.push(0x66);
        }
        self
    }

    /// ModRM (and displacement) for an absolute memory operand.
    pub fn mem(&mut self, reg: u8, offset: u32) -> &mut Self {
        if self.bits == 32 {
            self.bytes.push(reg << 3 | 5);
        } else {
            self.bytes.push(reg << 3 | 6);
        }
        self.immediate(self.bits, offset)
    }

    /// ModRM for two registers.
    pub fn regs(&mut self, reg: u8, rm: u8) -> &mut Self {
        self.raw(&[0xc0 | reg << 3 | rm])
    }

    /// An immediate of 8, 16 or 32 bits.
    pub fn immediate(&mut self, size: u8, value: u32) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes()[..usize::from(size / 8)]);
        self
    }

    /// The override prefix of a segment register, ES to GS.
    pub fn segment(&mut self, register: u8) -> &mut Self {
        self.raw(&[[0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65][usize::from(register)]])
    }
}
