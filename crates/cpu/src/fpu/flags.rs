//! Bits of the x87 status and control words (SDM Vol. 1, "x87 FPU Status Register").

/// Exception flags, as the low byte of the status word has them.
pub(crate) type Flags = u16;

/// Invalid operation.
pub(crate) const IE: Flags = 1 << 0;
/// Denormal operand.
pub(crate) const DE: Flags = 1 << 1;
/// Division by zero.
pub(crate) const ZE: Flags = 1 << 2;
/// Overflow.
pub(crate) const OE: Flags = 1 << 3;
/// Underflow.
pub(crate) const UE: Flags = 1 << 4;
/// Inexact result.
pub(crate) const PE: Flags = 1 << 5;
/// Stack fault, which goes with IE.
pub(crate) const SF: Flags = 1 << 6;

/// Flags of exceptions that are found before the operation: unmasked, they keep it from happening.
pub(crate) const BEFORE: Flags = IE | DE | ZE;
/// The flags that have masks.
pub(crate) const ALL: Flags = 0x3f;

/// Condition codes.
pub(crate) const C0: u16 = 1 << 8;
/// See [`C0`].
pub(crate) const C1: u16 = 1 << 9;
/// See [`C0`].
pub(crate) const C2: u16 = 1 << 10;
/// See [`C0`].
pub(crate) const C3: u16 = 1 << 14;
