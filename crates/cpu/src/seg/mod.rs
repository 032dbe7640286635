//! Segment registers, their checks and their loading.

mod check;
mod load;

pub(crate) use check::linear;
pub(crate) use load::{Found, drop_inaccessible, find, find_stack, null, prepare, prepare_data, real, v86};

use serde::{Deserialize, Serialize};
use x86::{Descriptor, Selector};

/// A segment register: the visible selector and the hidden descriptor cache
/// (SDM Vol. 3A, "Segment Registers").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[repr(C)]
pub struct SegmentRegister {
    /// Base, linear.
    pub base: u32,
    /// Limit in bytes, after G.
    pub limit: u32,
    /// Bits 15:0: byte 5 and byte 6's upper half of the descriptor (type, S, DPL, P at 7:0;
    /// AVL, L, D/B, G at 15:12), as VMX's access rights have them; bit 16 set: unusable (null).
    pub rights: u32,
    /// The selector.
    pub selector: u16,
}

impl SegmentRegister {
    /// The bit of `rights` that says the register holds a null selector.
    pub const UNUSABLE: u32 = 1 << 16;
    /// The bits of `rights` that tell a data segment which can be written, expands up and is present.
    pub(crate) const UNLIMITED_MASK: u32 = Self::UNUSABLE | 0x9e;
    /// What these bits are then.
    pub(crate) const UNLIMITED: u32 = 0x92;

    /// What a load of `descriptor` through `selector` leaves in the register.
    pub const fn from_descriptor(selector: Selector, descriptor: Descriptor) -> Self {
        SegmentRegister {
            base: descriptor.base(),
            limit: descriptor.limit(),
            rights: (descriptor.0 >> 40) as u32 & 0xf0ff,
            selector: selector.0,
        }
    }

    /// A segment as real mode or virtual-8086 mode sets it up.
    pub const fn real(selector: u16) -> Self {
        SegmentRegister { base: (selector as u32) << 4, limit: 0xffff, rights: 0x93, selector }
    }

    /// D/B: default size 32 bits.
    pub const fn big(self) -> bool {
        self.rights & 1 << 14 != 0
    }

    /// Descriptor privilege level.
    pub const fn dpl(self) -> u8 {
        (self.rights >> 5) as u8 & 3
    }

    /// Holds a null selector: every access through it faults.
    pub const fn unusable(self) -> bool {
        self.rights & Self::UNUSABLE != 0
    }

    /// A data segment, writable, expand-up, of 4 GiB from its base: no access through it needs a check.
    pub(crate) const fn unlimited(&self) -> bool {
        self.limit == !0 && self.rights & Self::UNLIMITED_MASK == Self::UNLIMITED
    }

    /// Base 0, limit 4 GiB − 1, expand-up, usable, readable, and writable unless code: no
    /// access through it needs a check.
    pub const fn flat(self) -> bool {
        let t = self.rights & 0x1f;
        self.base == 0
            && self.limit == !0
            && self.rights & (Self::UNUSABLE | 0x80) == 0x80
            && (t & !1 == 0x12 || t & !5 == 0x1a)
    }
}
