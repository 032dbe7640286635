//! Registers, and counters of the run.

use cpu::{Activity, CpuState};
use serde_json::{Value, json};
use x86::SegReg;

use super::{Answer, symbol_at};
use crate::{Result, Target};

/// The registers of a CPU, or of all CPUs.
pub fn regs(target: &Target<'_>, cpu: Option<usize>) -> Result<Answer> {
    let cpus = match cpu {
        Some(cpu) => vec![(cpu, target.cpu(cpu)?)],
        None => target.cpus.iter().copied().enumerate().collect(),
    };
    let mut text = String::new();
    let mut rows = Vec::new();
    for (number, state) in cpus {
        let symbol = symbol_at(target, state.paging(), x86::LinearAddr(state.pc()));
        text += &one(number, state, symbol.as_deref());
        rows.push(json_one(number, state, symbol));
    }
    Ok(Answer::new(text, rows))
}

const GENERAL: [&str; 8] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];

fn mode(state: &CpuState) -> &'static str {
    match (state.protected(), state.v86()) {
        (false, _) => "real mode",
        (true, true) => "virtual-8086 mode",
        (true, false) => "protected mode",
    }
}

fn activity(state: &CpuState) -> &'static str {
    match state.activity {
        Activity::Running => "running",
        Activity::Halted => "halted",
        Activity::Shutdown => "shut down",
        Activity::WaitForSipi => "waiting for a start-up IPI",
    }
}

/// The names of the bits that are set; fields of several bits and those always 1 aside.
fn names<F: bitflags::Flags<Bits = u32>>(flags: F) -> Vec<&'static str> {
    let single =
        |flag: &&bitflags::Flag<F>| flag.value().bits().count_ones() == 1 && !flag.name().starts_with("RESERVED");
    F::FLAGS
        .iter()
        .filter(single)
        .filter(|flag| flags.bits() & flag.value().bits() != 0)
        .map(|flag| flag.name())
        .collect()
}

fn one(number: usize, state: &CpuState, symbol: Option<&str>) -> String {
    let mut text = format!(
        "CPU {number}: ring {}, {}, {}, {} instructions retired\n",
        state.cpl,
        mode(state),
        activity(state),
        state.retired
    );
    for row in [[0, 3, 1, 2], [6, 7, 5, 4]] {
        let cells = row.map(|i: usize| format!("{} {:08x}", GENERAL[i], state.gpr[i]));
        text += &format!("{}\n", cells.join("  "));
    }
    let at = symbol.map_or(String::new(), |name| format!("  <{name}>"));
    text += &format!("eip {:08x}{at}\n", state.eip);
    let flags = state.eflags;
    text += &format!("eflags {:08x}  IOPL={} {}\n", flags.bits(), flags.iopl(), names(flags).join(" "));
    for reg in SegReg::ALL {
        let s = state.seg(reg);
        let null = if s.unusable() { "  null" } else { "" };
        let (selector, base, limit, rights) = (s.selector, s.base, s.limit, s.rights & 0xffff);
        text +=
            &format!("{} {selector:04x}  base {base:08x}  limit {limit:08x}  rights {rights:04x}{null}\n", reg.name());
    }
    for (name, s) in [("ldtr", &state.ldtr), ("tr", &state.tr)] {
        let (selector, base, limit) = (s.selector, s.base, s.limit);
        text += &format!("{name:<4} {selector:04x}  base {base:08x}  limit {limit:08x}\n");
    }
    for (name, table) in [("gdtr", &state.gdtr), ("idtr", &state.idtr)] {
        text += &format!("{name} base {:08x}  limit {:04x}\n", table.base, table.limit);
    }
    text += &format!("cr0 {:08x}  {}\n", state.cr0, names(state.cr0()).join(" "));
    text += &format!("cr2 {:08x}\ncr3 {:08x}\n", state.cr2, state.cr3);
    text += &format!("cr4 {:08x}  {}\n", state.cr4, names(state.cr4()).join(" "));
    if state.paging().enabled() && state.paging().pae() {
        let pointers: Vec<_> = state.pdpte.iter().zip(0..).map(|(entry, i)| format!("pdpte{i} {entry:016x}")).collect();
        text += &format!("{}\n", pointers.join("  "));
    }
    let dr = &state.dr;
    text += &format!(
        "dr0 {:08x}  dr1 {:08x}  dr2 {:08x}  dr3 {:08x}  dr6 {:08x}  dr7 {:08x}\n",
        dr[0], dr[1], dr[2], dr[3], dr[6], dr[7]
    );
    text += &format!(
        "efer {:08x}  mxcsr {:08x}  fctrl {:04x}  fstat {:04x}\n",
        state.msr.efer, state.mxcsr, state.fpu.control, state.fpu.status
    );
    text
}

fn json_one(number: usize, state: &CpuState, symbol: Option<String>) -> Value {
    let segment = |s: &cpu::SegmentRegister| json!({"selector": s.selector, "base": s.base, "limit": s.limit, "rights": s.rights & 0xffff, "null": s.unusable()});
    let mut row = json!({
        "cpu": number, "cpl": state.cpl, "mode": mode(state), "activity": activity(state), "retired": state.retired,
        "eip": state.eip, "symbol": symbol, "eflags": state.eflags.bits(), "eflags_bits": names(state.eflags),
        "ldtr": segment(&state.ldtr), "tr": segment(&state.tr),
        "gdtr": {"base": state.gdtr.base, "limit": state.gdtr.limit},
        "idtr": {"base": state.idtr.base, "limit": state.idtr.limit},
        "cr0": state.cr0, "cr2": state.cr2, "cr3": state.cr3, "cr4": state.cr4, "efer": state.msr.efer,
        "pdpte": state.pdpte,
        "dr": [state.dr[0], state.dr[1], state.dr[2], state.dr[3], 0, 0, state.dr[6], state.dr[7]],
        "mxcsr": state.mxcsr, "fctrl": state.fpu.control, "fstat": state.fpu.status,
    });
    for (name, value) in GENERAL.iter().zip(state.gpr) {
        row[*name] = value.into();
    }
    for reg in SegReg::ALL {
        row[reg.name()] = segment(state.seg(reg));
    }
    row
}

/// The counters of the run, one `name: value` a line.
pub fn stats(target: &Target<'_>) -> Result<Answer> {
    let instructions = ("instructions".to_owned(), target.cpus.iter().map(|cpu| cpu.retired).sum());
    let known = target.counters.iter().any(|(name, _)| *name == instructions.0);
    let rows: Vec<_> = (!known).then_some(&instructions).into_iter().chain(target.counters).collect();
    let text: String = rows.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let json: serde_json::Map<String, Value> =
        rows.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
    Ok(Answer::new(text, json))
}
