//! Which instructions there are, which of them both processors have, and which are left out and why.

use std::collections::BTreeSet;

use iced_x86::{Code, CpuidFeature, Mnemonic};

use crate::ours::Ours;

/// CPUID features that a program can ask for, as (feature, leaf, register, bit); registers count EAX, EBX, ECX, EDX.
const BITS: [(CpuidFeature, u32, usize, u32); 51] = [
    (CpuidFeature::FPU, 1, 3, 0),
    (CpuidFeature::FPU287, 1, 3, 0),
    (CpuidFeature::FPU387, 1, 3, 0),
    (CpuidFeature::TSC, 1, 3, 4),
    (CpuidFeature::MSR, 1, 3, 5),
    (CpuidFeature::CX8, 1, 3, 8),
    (CpuidFeature::SEP, 1, 3, 11),
    (CpuidFeature::CMOV, 1, 3, 15),
    (CpuidFeature::CLFSH, 1, 3, 19),
    (CpuidFeature::MMX, 1, 3, 23),
    (CpuidFeature::FXSR, 1, 3, 24),
    (CpuidFeature::SSE, 1, 3, 25),
    (CpuidFeature::SSE2, 1, 3, 26),
    (CpuidFeature::SSE3, 1, 2, 0),
    (CpuidFeature::PCLMULQDQ, 1, 2, 1),
    (CpuidFeature::MONITOR, 1, 2, 3),
    (CpuidFeature::VMX, 1, 2, 5),
    (CpuidFeature::SSSE3, 1, 2, 9),
    (CpuidFeature::SSE4_1, 1, 2, 19),
    (CpuidFeature::SSE4_2, 1, 2, 20),
    (CpuidFeature::MOVBE, 1, 2, 22),
    (CpuidFeature::POPCNT, 1, 2, 23),
    (CpuidFeature::AES, 1, 2, 25),
    (CpuidFeature::XSAVE, 1, 2, 26),
    (CpuidFeature::AVX, 1, 2, 28),
    (CpuidFeature::F16C, 1, 2, 29),
    (CpuidFeature::FMA, 1, 2, 12),
    (CpuidFeature::RDRAND, 1, 2, 30),
    (CpuidFeature::BMI1, 7, 1, 3),
    (CpuidFeature::AVX2, 7, 1, 5),
    (CpuidFeature::BMI2, 7, 1, 8),
    (CpuidFeature::INVPCID, 7, 1, 10),
    (CpuidFeature::RTM, 7, 1, 11),
    (CpuidFeature::RDSEED, 7, 1, 18),
    (CpuidFeature::ADX, 7, 1, 19),
    (CpuidFeature::SMAP, 7, 1, 20),
    (CpuidFeature::CLFLUSHOPT, 7, 1, 23),
    (CpuidFeature::CLWB, 7, 1, 24),
    (CpuidFeature::SHA, 7, 1, 29),
    (CpuidFeature::RDPID, 7, 2, 22),
    (CpuidFeature::GFNI, 7, 2, 8),
    (CpuidFeature::MOVDIRI, 7, 2, 27),
    (CpuidFeature::MOVDIR64B, 7, 2, 28),
    (CpuidFeature::SYSCALL, 0x8000_0001, 3, 11),
    (CpuidFeature::RDTSCP, 0x8000_0001, 3, 27),
    (CpuidFeature::D3NOWEXT, 0x8000_0001, 3, 30),
    (CpuidFeature::D3NOW, 0x8000_0001, 3, 31),
    (CpuidFeature::LZCNT, 0x8000_0001, 2, 5),
    (CpuidFeature::SSE4A, 0x8000_0001, 2, 6),
    (CpuidFeature::PREFETCHW, 0x8000_0001, 2, 8),
    (CpuidFeature::XOP, 0x8000_0001, 2, 11),
];

/// What every processor since the Pentium Pro has and no bit tells of.
const ALWAYS: [CpuidFeature; 10] = [
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::CPUID,
    CpuidFeature::RDPMC,
    CpuidFeature::MULTIBYTENOP,
    CpuidFeature::PAUSE,
    CpuidFeature::SMM,
];

/// What becomes of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// Both must do the same.
    Compare,
    /// It is not run, for this reason.
    LeaveOut(&'static str),
}

/// The features of both processors.
pub struct Catalogue {
    ours: BTreeSet<CpuidFeature>,
    host: BTreeSet<CpuidFeature>,
}

impl Catalogue {
    /// From both CPUIDs.
    pub fn new(ours: &mut Ours) -> Catalogue {
        Catalogue { ours: features(|leaf| ours.cpuid(leaf)), host: host_features() }
    }

    /// Whether an instruction is of the processor that we model, in 32-bit or 16-bit code.
    pub fn is_modelled(&self, code: Code) -> bool {
        let op_code = code.op_code();
        op_code.is_instruction()
            && (op_code.mode16() || op_code.mode32())
            && code.cpuid_features().iter().all(|feature| self.ours.contains(feature))
    }

    /// Whether both processors can be asked.
    pub fn verdict(&self, code: Code) -> Verdict {
        if code == Code::INVALID {
            return Verdict::Compare;
        }
        if let Some(reason) = left_out(code.mnemonic()) {
            return Verdict::LeaveOut(reason);
        }
        let has = |set: &BTreeSet<CpuidFeature>| code.cpuid_features().iter().all(|feature| set.contains(feature));
        match (has(&self.ours), has(&self.host)) {
            (true, true) => Verdict::Compare,
            (true, false) => Verdict::LeaveOut("the host lacks it"),
            (false, true) => Verdict::LeaveOut("the model lacks it"),
            // Neither has it, as far as a bit can tell: #UD, or what the opcode was before.
            (false, false) if code.cpuid_features().iter().all(|f| BITS.iter().any(|(bit, ..)| bit == f)) => {
                Verdict::Compare
            }
            (false, false) => Verdict::LeaveOut("no processor of this kind"),
        }
    }
}

fn features(mut cpuid: impl FnMut(u32) -> [u32; 4]) -> BTreeSet<CpuidFeature> {
    let last = cpuid(0)[0];
    let last_extended = cpuid(0x8000_0000)[0];
    let mut has = |leaf: u32, register: usize, bit: u32| {
        let known = if leaf < 0x8000_0000 { leaf <= last } else { leaf <= last_extended };
        known && cpuid(leaf)[register] >> bit & 1 != 0
    };
    let told = BITS.iter().filter(|&&(_, leaf, register, bit)| has(leaf, register, bit)).map(|&(feature, ..)| feature);
    let told: BTreeSet<CpuidFeature> = told.collect();
    told.into_iter().chain(ALWAYS).collect()
}

#[cfg(target_arch = "x86_64")]
fn host_features() -> BTreeSet<CpuidFeature> {
    features(|leaf| {
        let answer = std::arch::x86_64::__cpuid_count(leaf, 0);
        [answer.eax, answer.ebx, answer.ecx, answer.edx]
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn host_features() -> BTreeSet<CpuidFeature> {
    BTreeSet::new()
}

/// What two processors under two operating systems can't agree on.
fn left_out(mnemonic: Mnemonic) -> Option<&'static str> {
    use Mnemonic::*;
    Some(match mnemonic {
        Cpuid => "tells which processor it is",
        Rdtsc | Rdtscp | Rdpmc | Rdpid => "reads a clock or a counter",
        Rdrand | Rdseed => "gives random numbers",
        Sysenter | Syscall => "calls the host's operating system",
        Int1 => "a hypervisor under the host takes it for its own",
        Movdiri | Movdir64b => {
            "a hypervisor can hide it, but nobody can forbid it: CPUID does not tell whether the host has it"
        }
        Sysexit => "is no instruction in AMD's long mode",
        Sgdt | Sidt | Sldt | Str | Smsw => "reads what the host's operating system has set, or hides (UMIP)",
        _ => return None,
    })
}

/// Bytes that must not run on the host, whatever a decoder thinks of them: system and hypervisor calls.
pub fn calls_the_host(bytes: &[u8]) -> bool {
    let prefix = |byte: &u8| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
    let start = bytes.iter().position(|byte| !prefix(byte)).unwrap_or(bytes.len());
    match bytes[start..] {
        [0x0f, 0x05 | 0x07 | 0x34 | 0x35, ..] | [0xcd, 0x80, ..] => true,
        // But CLAC, STAC, SMSW, LMSW.
        [0x0f, 0x01, modrm, ..] => modrm >= 0xc0 && !matches!(modrm, 0xca | 0xcb | 0xe0..=0xe7 | 0xf0..=0xf7),
        _ => false,
    }
}

/// The row of the table that an instruction belongs to.
pub fn family(code: Code) -> &'static str {
    use iced_x86::FlowControl as Flow;
    let op_code = code.op_code();
    let has = |feature| code.cpuid_features().contains(&feature);
    if code == Code::INVALID {
        return "no instruction";
    }
    if code.is_privileged() {
        return "privileged, in ring 3";
    }
    for (feature, name) in [
        (CpuidFeature::SSE4_1, "SSE4.1"),
        (CpuidFeature::SSSE3, "SSSE3"),
        (CpuidFeature::SSE3, "SSE3"),
        (CpuidFeature::SSE2, "SSE2"),
        (CpuidFeature::SSE, "SSE"),
        (CpuidFeature::MMX, "MMX"),
    ] {
        if has(feature) {
            return name;
        }
    }
    if op_code.fpu_instruction_like() {
        return "x87";
    }
    if has(CpuidFeature::CMOV) || has(CpuidFeature::CX8) || has(CpuidFeature::FXSR) {
        return if has(CpuidFeature::FXSR) { "x87" } else { "data movement" };
    }
    match code.flow_control() {
        Flow::Interrupt | Flow::Exception => return "interrupts and exceptions",
        Flow::Return if matches!(code.mnemonic(), Mnemonic::Iret | Mnemonic::Iretd) => {
            return "interrupts and exceptions";
        }
        Flow::Next => {}
        _ if is_far(code) => return "segments and far transfers",
        _ => return "branches",
    }
    by_mnemonic(code)
}

fn is_far(code: Code) -> bool {
    code.is_jmp_far()
        || code.is_call_far()
        || code.is_jmp_far_indirect()
        || code.is_call_far_indirect()
        || code.mnemonic() == Mnemonic::Retf
}

fn by_mnemonic(code: Code) -> &'static str {
    use Mnemonic::*;
    let op_code = code.op_code();
    let segment = (0..op_code.op_count()).any(|i| {
        use iced_x86::OpCodeOperandKind as Kind;
        matches!(op_code.op_kind(i), Kind::es | Kind::cs | Kind::ss | Kind::ds | Kind::fs | Kind::gs | Kind::seg_reg)
    });
    match code.mnemonic() {
        _ if segment => "segments and far transfers",
        Lds | Les | Lfs | Lgs | Lss | Lar | Lsl | Verr | Verw | Arpl => "segments and far transfers",
        Bound => "interrupts and exceptions",
        Add | Adc | Sub | Sbb | Cmp | Inc | Dec | Neg | Mul | Imul | Div | Idiv | Aaa | Aad | Aam | Aas | Daa | Das
        | Xadd | Cmpxchg => "arithmetic",
        And | Or | Xor | Not | Test => "logic",
        Shl | Shr | Sar | Sal | Rol | Ror | Rcl | Rcr | Shld | Shrd => "shifts",
        Bt | Bts | Btr | Btc | Bsf | Bsr | Popcnt | Lzcnt | Tzcnt => "bits",
        Push | Pop | Pusha | Pushad | Popa | Popad | Pushf | Pushfd | Popf | Popfd | Enter | Leave => "stack",
        Movsb | Movsw | Movsd | Cmpsb | Cmpsw | Cmpsd | Scasb | Scasw | Scasd | Lodsb | Lodsw | Lodsd | Stosb
        | Stosw | Stosd | Insb | Insw | Insd | Outsb | Outsw | Outsd => "strings",
        _ => "data movement",
    }
}

/// Whether an opcode is of the coprocessor.
trait FpuLike {
    fn fpu_instruction_like(&self) -> bool;
}

impl FpuLike for iced_x86::OpCodeInfo {
    fn fpu_instruction_like(&self) -> bool {
        let code = self.code();
        code.mnemonic() == Mnemonic::Wait
            || code
                .cpuid_features()
                .iter()
                .any(|feature| matches!(feature, CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387))
    }
}
