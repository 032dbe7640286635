//! The checks that a segment makes of each access through it
//! (SDM Vol. 3A, "Limit Checking", "Type Checking").

use x86::{LinearAddr, SegReg};

use super::SegmentRegister;
use crate::{Cpu, Exception};

impl SegmentRegister {
    /// Whether `len` bytes from `offset` lie inside the limit.
    pub(crate) const fn contains(&self, offset: u32, len: u32) -> bool {
        if len == 0 {
            return true;
        }
        let last = offset.wrapping_add(len - 1);
        let wraps = last < offset;
        if self.expand_down() {
            let top = if self.big() { u32::MAX } else { 0xffff };
            return offset > self.limit && last <= top && !wraps;
        }
        // A segment of 4 GiB has no end to run over: its accesses wrap.
        self.limit == u32::MAX || last <= self.limit && !wraps
    }

    /// A data segment whose valid offsets lie above its limit.
    pub(crate) const fn expand_down(&self) -> bool {
        self.rights & 0x1c == 0x14
    }

    const fn allows(&self, write: bool) -> bool {
        if write { self.rights & 0x1a == 0x12 } else { self.rights & 0x1a != 0x18 }
    }
}

/// The linear address of `len` bytes at `offset` in segment `reg`, if the segment allows the
/// access: otherwise #SS(0) for SS, #GP(0) for the others.
pub(crate) fn linear(cpu: &Cpu, reg: SegReg, offset: u32, len: u32, write: bool) -> Result<LinearAddr, Exception> {
    let seg = cpu.state.seg(reg);
    let typed = cpu.state.protected() && !cpu.state.v86();
    let allowed = !typed || !seg.unusable() && seg.allows(write);
    if allowed && seg.contains(offset, len) {
        return Ok(LinearAddr(seg.base.wrapping_add(offset)));
    }
    Err(if reg == SegReg::Ss { Exception::ss(0) } else { Exception::gp(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seg(limit: u32, rights: u32) -> SegmentRegister {
        SegmentRegister { base: 0, limit, rights, selector: 8 }
    }

    #[test]
    fn an_access_must_end_at_the_limit_or_before() {
        let s = seg(0x0fff, 0x93);
        assert!(s.contains(0xffc, 4) && !s.contains(0xffd, 4) && !s.contains(0x1000, 1));
        assert!(!s.contains(0xffff_ffff, 2), "it wraps");
    }

    #[test]
    fn an_expand_down_segment_is_valid_above_its_limit() {
        let small = seg(0x0fff, 0x97);
        assert!(!small.contains(0xfff, 1) && small.contains(0x1000, 4) && small.contains(0xffff, 1));
        assert!(!small.contains(0xffff, 2));
        let big = seg(0x0fff, 0x4097);
        assert!(big.contains(0x1_0000, 4) && big.contains(0xffff_fffc, 4) && !big.contains(0xffff_fffd, 4));
    }

    #[test]
    fn a_segment_of_4_gib_wraps() {
        assert!(seg(u32::MAX, 0xc093).contains(0xffff_fffe, 4));
    }

    #[test]
    fn rights_say_what_may_be_read_and_written() {
        for (rights, read, write) in
            [(0x91, true, false), (0x93, true, true), (0x99, false, false), (0x9b, true, false)]
        {
            let s = seg(0xffff, rights);
            assert_eq!((s.allows(false), s.allows(true)), (read, write), "{rights:#x}");
        }
    }
}
