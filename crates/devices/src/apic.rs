//! What travels on the interrupt bus between I/O APIC and local APICs
//! (SDM Vol. 3A, "Advanced Programmable Interrupt Controller (APIC)").
use serde::{Deserialize, Serialize};

/// Vectors below are the processor's; an interrupt message with one of them is an error.
pub(crate) const LOWEST_VECTOR: u8 = 16;

/// How a message is taken by whom it reaches (SDM Vol. 3A, "Interrupt Command Register (ICR)").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryMode {
    /// The vector, to every CPU that is addressed.
    Fixed,
    /// The vector, to that one of the addressed CPUs which runs at the lowest priority.
    LowestPriority,
    /// A system management interrupt.
    Smi,
    /// A non-maskable interrupt; the vector is ignored.
    Nmi,
    /// The CPU's INIT.
    Init,
    /// Start-up IPI: a CPU that waits for it begins at page `vector`.
    Startup,
    /// An interrupt whose vector the 8259A pair gives.
    ExtInt,
}

impl DeliveryMode {
    /// From bits 10:8 of the ICR, an LVT entry or a redirection entry; `None` for the reserved
    /// encoding (remote read on older processors).
    pub(crate) fn from_bits(bits: u32) -> Option<DeliveryMode> {
        Some(match bits & 7 {
            0 => DeliveryMode::Fixed,
            1 => DeliveryMode::LowestPriority,
            2 => DeliveryMode::Smi,
            4 => DeliveryMode::Nmi,
            5 => DeliveryMode::Init,
            6 => DeliveryMode::Startup,
            7 => DeliveryMode::ExtInt,
            _ => return None,
        })
    }

    /// Whether the message's vector goes through IRR and ISR.
    pub fn has_vector(self) -> bool {
        matches!(self, DeliveryMode::Fixed | DeliveryMode::LowestPriority)
    }
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// The local APIC with this ID; 0xff is all of them.
    Physical(u8),
    /// Those whose logical destination register matches; 0xff is all of them.
    Logical(u8),
    /// The sender.
    Myself,
    /// Everyone.
    All,
    /// Everyone but the sender.
    Others,
}

/// A message on the interrupt bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApicMessage {
    /// How it is taken.
    pub mode: DeliveryMode,
    /// Vector, or the page of a start-up IPI.
    pub vector: u8,
    /// Level triggered: its end is broadcast to the I/O APIC.
    pub level: bool,
    /// The line is driven, not let go.
    pub assert: bool,
    /// Whom it is for.
    pub destination: Destination,
}

/// What a message does to the CPU beside its local APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CpuSignal {
    /// The NMI pin.
    Nmi,
    /// The INIT pin.
    Init,
    /// A CPU that waits for a start-up IPI begins in real mode at `vector` × 4 KiB.
    Startup {
        /// Number of the page.
        vector: u8,
    },
    /// The SMI pin.
    Smi,
}
