//! CPUID: says exactly what is implemented (SDM Vol. 2, "CPUID").

use iced_x86::Instruction;
use x86::msr;

use crate::{Cpu, CpuModel, CpuState, Exception, Gpr, slow::Flow};

/// Features in leaf 1, EDX.
mod edx {
    pub const FPU: u32 = 1 << 0;
    pub const DE: u32 = 1 << 2;
    pub const PSE: u32 = 1 << 3;
    pub const TSC: u32 = 1 << 4;
    pub const MSR: u32 = 1 << 5;
    pub const PAE: u32 = 1 << 6;
    pub const CX8: u32 = 1 << 8;
    pub const APIC: u32 = 1 << 9;
    pub const SEP: u32 = 1 << 11;
    pub const MTRR: u32 = 1 << 12;
    pub const PGE: u32 = 1 << 13;
    pub const CMOV: u32 = 1 << 15;
    pub const PAT: u32 = 1 << 16;
    pub const PSE36: u32 = 1 << 17;
    pub const CLFSH: u32 = 1 << 19;
    pub const MMX: u32 = 1 << 23;
    pub const FXSR: u32 = 1 << 24;
    pub const SSE: u32 = 1 << 25;
    pub const SSE2: u32 = 1 << 26;
    pub const HTT: u32 = 1 << 28;
}

/// Features in leaf 1, ECX.
mod ecx {
    pub const SSE3: u32 = 1 << 0;
    pub const SSSE3: u32 = 1 << 9;
    pub const SSE4_1: u32 = 1 << 19;
    pub const MOVBE: u32 = 1 << 22;
    pub const POPCNT: u32 = 1 << 23;
    pub const RDRAND: u32 = 1 << 30;
}

/// Features in leaf 7.
mod leaf7 {
    /// In EBX.
    pub const SMEP: u32 = 1 << 7;
    /// In EBX.
    pub const SMAP: u32 = 1 << 20;
    /// In ECX.
    pub const UMIP: u32 = 1 << 2;
}

/// Execute disable, in leaf 0x80000001, EDX.
const NX: u32 = 1 << 20;
/// RDTSCP, in leaf 0x80000001, EDX.
const RDTSCP: u32 = 1 << 27;

/// What a model tells.
struct Identity {
    /// Leaf 1, EAX: family, model, stepping.
    signature: u32,
    edx: u32,
    ecx: u32,
    /// Leaf 7: EBX, ECX.
    leaf7: [u32; 2],
    /// Leaf 0x80000001, EDX.
    extended: u32,
    /// Highest standard leaf.
    last: u32,
    /// Padded with zeros to 48 bytes.
    brand: &'static str,
}

const PENTIUM3: u32 = edx::FPU
    | edx::DE
    | edx::PSE
    | edx::TSC
    | edx::MSR
    | edx::PAE
    | edx::CX8
    | edx::APIC
    | edx::SEP
    | edx::MTRR
    | edx::PGE
    | edx::CMOV
    | edx::PAT
    | edx::PSE36
    | edx::MMX
    | edx::FXSR
    | edx::SSE;
const CORE2: u32 = PENTIUM3 | edx::SSE2 | edx::CLFSH;

fn identity(model: CpuModel) -> Identity {
    match model {
        CpuModel::Pentium3 => Identity {
            signature: 0x0683,
            edx: PENTIUM3,
            ecx: 0,
            leaf7: [0; 2],
            extended: 0,
            last: 2,
            brand: "Pagewalk virtual CPU (pentium3)",
        },
        CpuModel::Core2 => Identity {
            signature: 0x06f6,
            edx: CORE2,
            ecx: ecx::SSE3 | ecx::SSSE3,
            leaf7: [0; 2],
            extended: NX,
            last: 4,
            brand: "Pagewalk virtual CPU (core2)",
        },
        CpuModel::Max => Identity {
            signature: 0x06f6,
            edx: CORE2,
            ecx: ecx::SSE3 | ecx::SSSE3 | ecx::SSE4_1 | ecx::MOVBE | ecx::POPCNT | ecx::RDRAND,
            leaf7: [leaf7::SMEP | leaf7::SMAP, leaf7::UMIP],
            extended: NX | RDTSCP,
            last: 7,
            brand: "Pagewalk virtual CPU (max)",
        },
    }
}

/// Family, model and stepping, as EDX holds them after RESET too.
pub(crate) fn signature(model: CpuModel) -> u32 {
    identity(model).signature
}

/// Whether the model has IA32_TSC_AUX, and RDTSCP with it.
pub(super) fn has_tsc_aux(model: CpuModel) -> bool {
    identity(model).extended & RDTSCP != 0
}

/// Whether the model has a local APIC.
pub(super) fn has_apic(model: CpuModel) -> bool {
    identity(model).edx & edx::APIC != 0
}

/// Whether the model has execute disable, and IA32_EFER with it.
pub(super) fn has_nx(model: CpuModel) -> bool {
    identity(model).extended & NX != 0
}

/// Whether the model has supervisor-mode execution prevention.
pub(super) fn has_smep(model: CpuModel) -> bool {
    identity(model).leaf7[0] & leaf7::SMEP != 0
}

/// Whether the model has supervisor-mode access prevention, and CLAC and STAC with it.
pub(super) fn has_smap(model: CpuModel) -> bool {
    identity(model).leaf7[0] & leaf7::SMAP != 0
}

/// Whether the model has user-mode instruction prevention.
pub(super) fn has_umip(model: CpuModel) -> bool {
    identity(model).leaf7[1] & leaf7::UMIP != 0
}

/// CPUID.
pub(super) fn cpuid(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    let state = &cpu.state;
    let leaf = known_leaf(state.model, state.gpr(Gpr::Eax));
    let mut registers = answer(state.model, leaf, state.gpr(Gpr::Ecx));
    place(state, leaf, &mut registers);
    let [eax, ebx, ecx, edx] = registers;
    for (reg, value) in [(Gpr::Eax, eax), (Gpr::Ebx, ebx), (Gpr::Ecx, ecx), (Gpr::Edx, edx)] {
        cpu.state.set_gpr(reg, value);
    }
    Ok(Flow::Next)
}

/// Puts into the answers of leaves 1 and 4 what differs between the CPUs of a machine, and between machines.
fn place(state: &CpuState, leaf: u32, registers: &mut [u32; 4]) {
    let cpus = u32::from(state.cpu_count);
    let one_package = cpus > 1 && has_cores(state.model);
    let [eax, ebx, _, edx] = registers;
    match leaf {
        1 => {
            *ebx |= u32::from(state.apic_id) << 24;
            if one_package {
                *ebx |= cpus << 16;
                *edx |= edx::HTT;
            }
            if state.msr.apic_base & msr::APIC_BASE_ENABLE == 0 {
                *edx &= !edx::APIC;
            }
        }
        4 if one_package && *eax != 0 => {
            let shared = if *eax >> 5 & 7 == 2 { cpus - 1 } else { 0 };
            *eax |= (cpus - 1) << 26 | shared << 14;
        }
        _ => {}
    }
}

/// Whether the model has several CPUs in one package; of others each is a package of its own.
fn has_cores(model: CpuModel) -> bool {
    identity(model).last >= 4
}

const LAST_EXTENDED: u32 = 0x8000_0008;

/// The leaf that answers: one above the highest answers as the highest standard one does.
fn known_leaf(model: CpuModel, leaf: u32) -> u32 {
    let last = identity(model).last;
    if leaf <= last.max(3) || (0x8000_0000..=LAST_EXTENDED).contains(&leaf) { leaf } else { last }
}

/// EAX, EBX, ECX, EDX of a machine with one CPU.
pub fn answer(model: CpuModel, leaf: u32, subleaf: u32) -> [u32; 4] {
    let id = identity(model);
    let modern = id.last > 2;
    match known_leaf(model, leaf) {
        0 => {
            let [b, d, c] = ["Genu", "ineI", "ntel"].map(word);
            [id.last, b, c, d]
        }
        1 => {
            let line = if id.edx & edx::CLFSH != 0 { 8 << 8 } else { 0 };
            [id.signature, line, id.ecx, id.edx]
        }
        // Descriptors of TLBs and caches: 16 KiB L1 and 256 KiB L2, or 32 KiB and 4 MiB.
        2 if modern => [0x05b0_b101, 0x0056_57f0, 0, 0x2cb4_3049],
        2 => [0x0302_0101, 0, 0, 0x0c04_0882],
        4 if modern => cache(subleaf),
        7 if id.last >= 7 && subleaf == 0 => [0, id.leaf7[0], id.leaf7[1], 0],
        0x8000_0000 => [LAST_EXTENDED, 0, 0, 0],
        0x8000_0001 => [0, 0, 0, id.extended],
        leaf @ 0x8000_0002..=0x8000_0004 => {
            let mut text = [0; 48];
            text[..id.brand.len()].copy_from_slice(id.brand.as_bytes());
            let part = &text[(leaf - 0x8000_0002) as usize * 16..];
            std::array::from_fn(|i| {
                u32::from_le_bytes([part[4 * i], part[4 * i + 1], part[4 * i + 2], part[4 * i + 3]])
            })
        }
        0x8000_0006 if modern => [0, 0, 0x1000_8040, 0],
        // 36 physical and 32 linear address bits.
        0x8000_0008 => [0x2024, 0, 0, 0],
        _ => [0; 4],
    }
}

/// Leaf 4: 32 KiB of L1 data, 32 KiB of L1 code, 4 MiB of L2, lines of 64 bytes.
fn cache(subleaf: u32) -> [u32; 4] {
    let level =
        |kind: u32, level: u32, ways: u32, sets: u32| [kind | level << 5 | 1 << 8, (ways - 1) << 22 | 63, sets - 1, 0];
    match subleaf {
        0 => level(1, 1, 8, 64),
        1 => level(2, 1, 8, 64),
        2 => level(3, 2, 16, 4096),
        _ => [0; 4],
    }
}

/// Four characters as a register holds them.
fn word(text: &str) -> u32 {
    text.bytes().rev().fold(0, |word, byte| word << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendor_reads_across_ebx_edx_ecx() {
        let [_, b, c, d] = answer(CpuModel::Core2, 0, 0);
        let text: Vec<u8> = [b, d, c].iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(text, b"GenuineIntel");
    }

    #[test]
    fn the_brand_fills_three_leaves() {
        let text: Vec<u8> = (0x8000_0002..=0x8000_0004)
            .flat_map(|leaf| answer(CpuModel::Max, leaf, 0))
            .flat_map(u32::to_le_bytes)
            .take_while(|&b| b != 0)
            .collect();
        assert_eq!(text, b"Pagewalk virtual CPU (max)");
    }

    #[test]
    fn a_leaf_above_the_highest_answers_as_the_highest() {
        assert_eq!(answer(CpuModel::Core2, 99, 1), answer(CpuModel::Core2, 4, 1));
        assert_eq!(answer(CpuModel::Pentium3, 99, 0), answer(CpuModel::Pentium3, 2, 0));
    }

    #[test]
    fn no_model_tells_of_what_is_not_there() {
        for model in [CpuModel::Pentium3, CpuModel::Core2, CpuModel::Max] {
            let [.., edx] = answer(model, 1, 0);
            let (vme, mce) = (1 << 1, 1 << 7);
            assert_eq!(edx & (vme | mce), 0, "{model:?}");
        }
    }

    #[test]
    fn each_cpu_tells_its_own_apic_id_and_how_many_share_its_package() {
        let tell = |model, apic_id, cpu_count, leaf| {
            let state = CpuState { apic_id, cpu_count, ..CpuState::reset(model) };
            let mut registers = answer(model, leaf, 2);
            place(&state, leaf, &mut registers);
            registers
        };
        assert_eq!(tell(CpuModel::Core2, 0, 1, 1), answer(CpuModel::Core2, 1, 0));
        let [_, ebx, _, edx] = tell(CpuModel::Core2, 3, 4, 1);
        assert_eq!((ebx, edx & edx::HTT), (0x0304_0800, edx::HTT));
        let [_, ebx, _, edx] = tell(CpuModel::Pentium3, 1, 2, 1);
        assert_eq!((ebx, edx & edx::HTT), (0x0100_0000, 0), "a package of its own");
        assert_eq!(tell(CpuModel::Max, 0, 4, 4)[0], answer(CpuModel::Max, 4, 2)[0] | 3 << 26 | 3 << 14);
    }

    #[test]
    fn a_local_apic_that_is_switched_off_is_not_told_of() {
        let mut state = CpuState::reset(CpuModel::Core2);
        state.msr.apic_base &= !msr::APIC_BASE_ENABLE;
        let mut registers = answer(state.model, 1, 0);
        place(&state, 1, &mut registers);
        assert_eq!(registers[3] & edx::APIC, 0);
    }

    #[test]
    fn each_model_has_the_paging_of_its_chip() {
        for (model, nx, guards) in [
            (CpuModel::Pentium3, 0, [0, 0]),
            (CpuModel::Core2, 0x0010_0000, [0, 0]),
            (CpuModel::Max, 0x0010_0000, [0x0010_0080, 4]),
        ] {
            let (pae, mtrr, pge, pse36) = (1 << 6, 1 << 12, 1 << 13, 1 << 17);
            let all = pae | mtrr | pge | pse36;
            assert_eq!(answer(model, 1, 0)[3] & all, all, "{model:?}");
            assert_eq!(answer(model, 0x8000_0001, 0)[3] & NX, nx, "{model:?}");
            let id = identity(model);
            assert_eq!(id.leaf7, guards);
            assert!(id.leaf7 == [0, 0] || answer(model, 7, 0) == [0, guards[0], guards[1], 0]);
        }
    }
}
