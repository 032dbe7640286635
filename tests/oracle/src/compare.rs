//! What must be equal, and what the architecture leaves open.

use std::sync::OnceLock;

use iced_x86::{Mnemonic, OpKind, RflagsBits};

use crate::{
    aim,
    generate::Case,
    segments,
    state::{CODE, DATA, DATA_LEN, End, Outcome, SUMMARY, State},
};

/// EFLAGS that tell nothing: RF, which hosts and engines clear at different moments of a fault's delivery.
const RF: u32 = 1 << 16;

/// What comes out.
pub enum Comparison {
    /// All is equal.
    Equal,
    /// It differs where it may, by a named exception.
    Excused(&'static str),
    /// What differs, in words.
    Different(String),
}

/// Compares what the host and we made of a case.
pub fn compare(case: &Case, data: &[u8], expected: &Outcome, found: &Outcome) -> Comparison {
    let Some(what) = difference(case, data, expected, found) else { return Comparison::Equal };
    match excuse(case, data, expected, found) {
        Some(why) => Comparison::Excused(why),
        None => Comparison::Different(what),
    }
}

fn difference(case: &Case, data: &[u8], expected: &Outcome, found: &Outcome) -> Option<String> {
    if expected.end != found.end {
        return Some(format!("the host ends {:x?}, we {:x?}", expected.end, found.end));
    }
    registers(case, expected, found)
        .or_else(|| last_x87(case, expected, found))
        .or_else(|| memory(case, data, expected, found))
}

/// Why a difference is none.
fn excuse(case: &Case, data: &[u8], expected: &Outcome, found: &Outcome) -> Option<&'static str> {
    let insn = &case.instruction;
    let mnemonic = insn.mnemonic();
    if approximate(mnemonic) && difference(case, data, expected, &forgiven(expected, found)).is_none() {
        return Some("results that are only bounded: transcendentals, RCP, RSQRT");
    }
    if undefined_argument(case) {
        return Some("FYL2XP1 outside of its domain");
    }
    if insn.is_invalid() && is_lock_verw(&case.bytes) {
        return Some("LOCK VERW, which Zen allows against the manuals");
    }
    if matches!(mnemonic, Mnemonic::Loope | Mnemonic::Loopne) && (insn.has_rep_prefix() || insn.has_repne_prefix()) {
        return Some("LOOPE and LOOPNE with F2 or F3, from which Zen takes the condition");
    }
    if mnemonic == Mnemonic::Reservednop && expected.end == fault(6) {
        return Some("0F 0D with a register, which Zen does not have");
    }
    if mnemonic == Mnemonic::Enter && expected.end == fault(17) {
        return Some("ENTER asks that its last stack pointer be aligned, on Zen");
    }
    if matches!(mnemonic, Mnemonic::Ldmxcsr | Mnemonic::Fxrstor) && only_misaligned_mode(expected, found) {
        return Some("MXCSR.MM, which AMD's processors have");
    }
    let selector = mnemonic == Mnemonic::Push && insn.op0_register().is_segment_register();
    if selector && (expected.state == found.state || upper_half_faults(case, expected.end, found.end)) {
        return Some("the upper half of a 32-bit slot that a selector is pushed into");
    }
    let (End::Fault { vector: host, .. }, End::Fault { vector: ours, .. }) = (expected.end, found.end) else {
        return None;
    };
    if mnemonic == Mnemonic::Cvtpd2ps && found.end == fault(13) {
        return Some("CVTPD2PS without alignment, which Zen 3 allows against the manuals");
    }
    if wraps(case, expected.end, found.end) {
        return Some("an access that wraps around the end of a 4 GiB segment");
    }
    if partial(mnemonic) || insn.is_call_far() || insn.is_call_far_indirect() {
        return Some("which of several accesses faults first, and what is written by then");
    }
    if insn.is_call_near() || insn.is_call_near_indirect() {
        return (host != ours).then_some("whether a near call checks its target or pushes first");
    }
    let undefined = ours == 6 && near_the_end(case)
        || fetch_fault(expected.end)
        || fetch_fault(found.end)
        || insn.is_invalid()
        || matches!(mnemonic, Mnemonic::Ud0 | Mnemonic::Ud1);
    if undefined && matches!((host, ours), (6, 14) | (14, 6) | (13, 14) | (14, 13) | (6, 13) | (13, 6)) {
        return Some("how many bytes of what is no instruction are fetched");
    }
    None
}

/// Whether the host has loaded the bit that lets SSE's memory operands be unaligned, and no other that we lack.
fn only_misaligned_mode(expected: &Outcome, found: &Outcome) -> bool {
    const MM: u32 = 1 << 17;
    expected.end == End::Retired && found.end == fault(13) && expected.state.mxcsr & !0xffff == MM
}

/// Whether the host, which writes all of a slot, faulted for what its upper half alone does: it reaches the next
/// page, passes the segment's end, or asks for more alignment.
fn upper_half_faults(case: &Case, host: End, ours: End) -> bool {
    let slot = case.state.gpr[4].wrapping_sub(4);
    let End::Fault { vector, addr, .. } = host else { return false };
    let later = ours == End::Retired || matches!(ours, End::Fault { vector: 14, .. });
    case.instruction.stack_pointer_increment() == -4
        && match vector {
            14 => ours == End::Retired && addr.is_multiple_of(4096),
            12 => later && !slot.is_multiple_of(4),
            17 => later && slot % 4 == 2,
            _ => false,
        }
}

/// VERW among whose prefixes is LOCK.
fn is_lock_verw(bytes: &[u8]) -> bool {
    let opcode = bytes.iter().position(|&byte| byte == 0x0f).unwrap_or(0);
    bytes[..opcode].contains(&0xf0) && matches!(bytes[opcode..], [0x0f, 0, modrm, ..] if modrm >> 3 & 7 == 5)
}

/// Whether a longer instruction would not fit before the end of the page or of the short segment.
fn near_the_end(case: &Case) -> bool {
    case.state.pc() & 0x7ff > 0x7f0
}

/// #PF of the page behind the code.
fn fetch_fault(end: End) -> bool {
    matches!(end, End::Fault { vector: 14, addr, .. } if addr == CODE + 0x1000)
}

const fn fault(vector: u8) -> End {
    End::Fault { vector, code: 0, addr: 0 }
}

/// FYL2XP1 is defined up to some 0.29 either way.
fn undefined_argument(case: &Case) -> bool {
    const QUARTER: u16 = 0x3ffd;
    case.instruction.mnemonic() == Mnemonic::Fyl2xp1 && case.state.st[0].1 & 0x7fff >= QUARTER
}

/// An access across the end of the 4 GiB of a flat segment may violate its limit or wrap
/// (SDM Vol. 3A, "Limit Checking").
fn wraps(case: &Case, host: End, ours: End) -> bool {
    let state = &case.state;
    let at_the_end = |offset: u32| !(512..0xffff_fe00).contains(&offset);
    let operand = aim::linear(&case.instruction, state);
    let of_segment =
        |addr: u32| state.seg.into_iter().any(|selector| at_the_end(addr.wrapping_sub(segments::base(selector))));
    match (host, ours) {
        (End::Fault { vector: 12 | 13, code: 0, .. }, End::Fault { vector: 14, addr, .. })
        | (End::Fault { vector: 14, addr, .. }, End::Fault { vector: 12 | 13, code: 0, .. }) => of_segment(addr),
        // From an unaligned pointer.
        (End::Fault { vector: 12 | 13, .. }, End::Fault { vector: 17, .. }) => {
            of_segment(operand) || state.gpr.into_iter().any(at_the_end)
        }
        _ => false,
    }
}

/// Makers differ in what these access first, and so in where they fault and what they have written by then.
fn partial(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Cmpsb
            | Mnemonic::Cmpsw
            | Mnemonic::Cmpsd
            | Mnemonic::Movsb
            | Mnemonic::Movsw
            | Mnemonic::Movsd
            | Mnemonic::Bound
            | Mnemonic::Lds
            | Mnemonic::Les
            | Mnemonic::Lfs
            | Mnemonic::Lgs
            | Mnemonic::Lss
            | Mnemonic::Retf
            | Mnemonic::Iret
            | Mnemonic::Iretd
            | Mnemonic::Enter
            | Mnemonic::Pusha
            | Mnemonic::Pushad
            | Mnemonic::Popa
            | Mnemonic::Popad
            | Mnemonic::Maskmovq
            | Mnemonic::Maskmovdqu
            | Mnemonic::Fnstenv
            | Mnemonic::Fldenv
            | Mnemonic::Fnsave
            | Mnemonic::Frstor
            | Mnemonic::Fxsave
            | Mnemonic::Fxrstor
    )
}

/// What we found, with the host's numbers where ours are near, and its C1, PE and UE, which depend on the last bits.
fn forgiven(expected: &Outcome, found: &Outcome) -> Outcome {
    const LAST_BITS: u16 = 1 << 9 | 1 << 5 | 1 << 4;
    const SUMMARY_AND_BUSY: u16 = 1 << 15 | SUMMARY;
    /// Twice the error that RCPPS may have, 1.5 × 2^-12, in units of the last place of a single.
    const SINGLE: u32 = 0x3000;
    const SIGN: u32 = 1 << 31;
    /// The least normal single.
    const LEAST: u32 = 1 << 23;
    let mut forgiven = found.clone();
    let (ours, host) = (&mut forgiven.state, &expected.state);
    ours.status = ours.status & !(LAST_BITS | SUMMARY_AND_BUSY) | host.status & LAST_BITS;
    if ours.status & !ours.control & 0x3f != 0 {
        ours.status |= SUMMARY_AND_BUSY;
    }
    ours.last = host.last;
    for (ours, host) in ours.st.iter_mut().zip(&host.st) {
        let distance =
            (i128::from(ours.0) + (i128::from(ours.1) << 63)) - (i128::from(host.0) + (i128::from(host.1) << 63));
        if distance.unsigned_abs() < 0x400 {
            *ours = *host;
        }
    }
    for (ours, host) in ours.xmm.iter_mut().zip(&host.xmm) {
        let lane = |v: u128, i: u32| (v >> (32 * i)) as u32;
        // A tiny result is 0, and by how much it is off decides whether it is tiny.
        let rounded = |v: u32| if v & !SIGN <= LEAST + SINGLE { v & SIGN | LEAST } else { v };
        let near = |a: u32, b: u32| {
            let either_is_zero = a & !SIGN == 0 || b & !SIGN == 0;
            a.abs_diff(b) <= SINGLE || either_is_zero && rounded(a) == rounded(b)
        };
        let chosen = |i| if near(lane(*ours, i), lane(*host, i)) { lane(*host, i) } else { lane(*ours, i) };
        *ours = (0..4).map(|i| u128::from(chosen(i)) << (32 * i)).sum();
    }
    forgiven
}

/// Results of these are only bounded by the architecture.
fn approximate(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Rcpps
            | Mnemonic::Rcpss
            | Mnemonic::Rsqrtps
            | Mnemonic::Rsqrtss
            | Mnemonic::Fsin
            | Mnemonic::Fcos
            | Mnemonic::Fsincos
            | Mnemonic::Fptan
            | Mnemonic::Fpatan
            | Mnemonic::F2xm1
            | Mnemonic::Fyl2x
            | Mnemonic::Fyl2xp1
    )
}

fn registers(case: &Case, expected: &Outcome, found: &Outcome) -> Option<String> {
    let (a, b) = (&expected.state, &found.state);
    let flags = !(RF | open_flags(case));
    let mut different = Vec::new();
    for i in 0..8 {
        if a.gpr[i] != b.gpr[i] {
            different.push(format!("gpr {i}: {:#x}, not {:#x}", a.gpr[i], b.gpr[i]));
        }
    }
    if a.eip != b.eip {
        different.push(format!("eip: {:#x}, not {:#x}", a.eip, b.eip));
    }
    for i in 0..6 {
        // The host's return from its handler clears the RPL of a null selector.
        if a.seg[i] != b.seg[i] && (a.seg[i] > 3 || b.seg[i] > 3) {
            different.push(format!("segment {i}: {:#x}, not {:#x}", a.seg[i], b.seg[i]));
        }
    }
    if (a.eflags ^ b.eflags) & flags != 0 {
        different.push(format!("eflags: {:#x}, not {:#x}", a.eflags, b.eflags));
    }
    floating_point(a, b, &mut different);
    (!different.is_empty()).then(|| different.join("; "))
}

fn floating_point(a: &State, b: &State, different: &mut Vec<String>) {
    if a.control != b.control {
        different.push(format!("control: {:#x}, not {:#x}", a.control, b.control));
    }
    if a.status != b.status {
        different.push(format!("status: {:#x}, not {:#x}", a.status, b.status));
    }
    if a.tag != b.tag {
        different.push(format!("tag: {:#x}, not {:#x}", a.tag, b.tag));
    }
    for i in 0..8 {
        if a.st[i] != b.st[i] {
            different.push(format!("st{i}: {:x?}, not {:x?}", a.st[i], b.st[i]));
        }
        if a.xmm[i] != b.xmm[i] {
            different.push(format!("xmm{i}: {:#x}, not {:#x}", a.xmm[i], b.xmm[i]));
        }
    }
    if a.mxcsr != b.mxcsr {
        different.push(format!("mxcsr: {:#x}, not {:#x}", a.mxcsr, b.mxcsr));
    }
}

/// FOP, FIP and FDP of an instruction that has just raised an exception that is not masked: then all processors tell
/// them. FDP only of one with an operand in memory; some of AMD's clear it for others.
fn last_x87(case: &Case, expected: &Outcome, found: &Outcome) -> Option<String> {
    let raised = case.state.status & SUMMARY == 0 && expected.state.status & SUMMARY != 0;
    let control = matches!(
        case.instruction.mnemonic(),
        Mnemonic::Fldcw | Mnemonic::Fldenv | Mnemonic::Frstor | Mnemonic::Fxrstor
    );
    let (a, mut b) = (expected.state.last, found.state.last);
    if !case.instruction.op_kinds().any(|kind| kind == OpKind::Memory) {
        b.dp = a.dp;
    }
    (raised && !control && a != b).then(|| format!("last x87 instruction: {a:x?}, not {b:x?}"))
}

/// Flags that the manual leaves undefined, unless the host is of the kind whose choices we made ours.
fn open_flags(case: &Case) -> u32 {
    if host_is_ours() {
        return 0;
    }
    const BITS: [(u32, u32); 6] = [
        (RflagsBits::CF, 1),
        (RflagsBits::PF, 1 << 2),
        (RflagsBits::AF, 1 << 4),
        (RflagsBits::ZF, 1 << 6),
        (RflagsBits::SF, 1 << 7),
        (RflagsBits::OF, 1 << 11),
    ];
    let undefined = case.instruction.rflags_undefined();
    BITS.iter().filter(|(bit, _)| undefined & bit != 0).map(|(_, flag)| flag).sum()
}

/// An AMD processor of family 25, Zen 3, whose undefined flags we have.
fn host_is_ours() -> bool {
    static OURS: OnceLock<bool> = OnceLock::new();
    *OURS.get_or_init(|| {
        let vendor = std::arch::x86_64::__cpuid(0);
        let signature = std::arch::x86_64::__cpuid(1).eax;
        let family = (signature >> 8 & 15) + (signature >> 20 & 255);
        vendor.ebx.to_le_bytes() == *b"Auth" && family == 25
    })
}

/// The environment's pointers are not compared, nor MXCSR's mask: makers differ in when they keep them, and in
/// what they have.
fn ignored(case: &Case, addr: u32) -> bool {
    let part = match case.instruction.mnemonic() {
        Mnemonic::Fnstenv | Mnemonic::Fnsave => match case.instruction.memory_size().size() {
            14 | 94 => 6..14,
            _ => 12..28,
        },
        Mnemonic::Fxsave => return in_part(case, addr, 6..24) || in_part(case, addr, 28..32),
        _ => return false,
    };
    in_part(case, addr, part)
}

/// Whether `addr` lies in this part of the memory operand.
fn in_part(case: &Case, addr: u32, part: std::ops::Range<u32>) -> bool {
    part.contains(&addr.wrapping_sub(aim::linear(&case.instruction, &case.state)))
}

fn memory(case: &Case, before: &[u8], expected: &Outcome, found: &Outcome) -> Option<String> {
    if expected.data == found.data {
        return None;
    }
    let different: Vec<String> = (0..DATA_LEN)
        .filter(|&i| expected.data[i] != found.data[i] && !ignored(case, DATA + i as u32))
        .take(40)
        .map(|i| {
            format!("{:#x}: {:#x} to {:#x}, not {:#x}", DATA as usize + i, before[i], expected.data[i], found.data[i])
        })
        .collect();
    (!different.is_empty()).then(|| format!("memory {}", different.join(", ")))
}
