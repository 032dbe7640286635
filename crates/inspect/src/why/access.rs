//! The instruction that faulted, with its operands.

use cpu::FaultRecord;
use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, OpAccess, Register, UsedMemory};
use serde_json::{Value, json};
use x86::{LinearAddr, PageFaultCode, SegReg};

use super::{base, in_brackets};
use crate::{
    Reader, Target,
    lens::{MAX_INSTRUCTION, instruction_words, symbol_at},
};

/// An instruction in words.
pub struct Code {
    /// Where it is and what it is.
    pub line: String,
    /// Its operands with their values, a line each.
    pub operands: Vec<String>,
    /// All of it, for programs.
    pub json: Value,
}

/// What the access was: `fetch`, `write` or `read`. Without NX and SMEP the error code tells fetches from reads
/// no more than that the instruction's own bytes end where the fault is.
pub fn kind(target: &Target<'_>, record: &FaultRecord, addr: u32, code: PageFaultCode) -> &'static str {
    if code.contains(PageFaultCode::ID) {
        return "fetch";
    }
    if code.contains(PageFaultCode::WR) {
        return "write";
    }
    let (read, _) = bytes(target, record);
    let is_fetch = read < MAX_INSTRUCTION && record.pc().wrapping_add(read as u32) == addr;
    if is_fetch { "fetch" } else { "read" }
}

fn bytes(target: &Target<'_>, record: &FaultRecord) -> (usize, [u8; MAX_INSTRUCTION]) {
    let mut bytes = [0; MAX_INSTRUCTION];
    let read = Reader::new(target.mem, record.paging).read(LinearAddr(record.pc()), &mut bytes);
    (read, bytes)
}

/// The instruction of a fault.
pub fn code(target: &Target<'_>, record: &FaultRecord) -> Code {
    let pc = record.pc();
    let (read, bytes) = bytes(target, record);
    let bits = if record.seg[SegReg::Cs as usize].big() { 32 } else { 16 };
    let insn = Decoder::with_ip(bits, &bytes[..read], record.eip.into(), DecoderOptions::NONE).decode();
    let symbol = symbol_at(target, record.paging, LinearAddr(pc));
    let words = match () {
        _ if read == 0 => "no instruction: its page is not mapped".to_owned(),
        _ if insn.is_invalid() => "(bad)".to_owned(),
        _ => instruction_words(&insn),
    };
    let hex = bytes[..if insn.is_invalid() { 0 } else { insn.len() }].iter().map(|byte| format!("{byte:02x}"));
    let json = json!({
        "addr": pc, "eip": record.eip, "symbol": symbol, "text": words,
        "bytes": hex.collect::<Vec<_>>().join(" "),
    });
    let mut code = Code { line: format!("{pc:#010x}{}: {words}", in_brackets(symbol)), operands: Vec::new(), json };
    if !insn.is_invalid() {
        code.operands(target, record, &insn);
    }
    code
}

impl Code {
    fn operands(&mut self, target: &Target<'_>, record: &FaultRecord, insn: &Instruction) {
        let mut factory = InstructionInfoFactory::new();
        let info = factory.info(insn);
        let mut names: Vec<Register> = Vec::new();
        for used in info.used_registers() {
            let full = used.register().full_register32();
            if is_read(used.access()) && full.is_gpr32() && !names.contains(&full) {
                names.push(full);
            }
        }
        let registers: Vec<(String, u32)> =
            names.iter().map(|&name| (format!("{name:?}").to_lowercase(), gpr(record, name))).collect();
        let places: Vec<Place> = info.used_memory().iter().filter_map(|used| Place::of(target, record, used)).collect();
        if !registers.is_empty() {
            let words: Vec<String> = registers.iter().map(|(name, value)| format!("{name}={value:#010x}")).collect();
            self.operands.push(words.join(" "));
        }
        self.operands.extend(places.iter().map(Place::line));
        let registers = registers.into_iter().map(|(name, value)| (name, Value::from(value)));
        self.json["registers"] = Value::Object(registers.collect());
        self.json["memory"] = places.iter().map(Place::json).collect();
    }
}

fn is_read(access: OpAccess) -> bool {
    !matches!(access, OpAccess::None | OpAccess::Write | OpAccess::CondWrite)
}

fn gpr(record: &FaultRecord, register: Register) -> u32 {
    record.gpr[(register as usize - Register::EAX as usize) & 7]
}

/// An operand in memory.
struct Place {
    segment: SegReg,
    linear: u32,
    size: usize,
    access: &'static str,
    /// What is there; `None` if nothing is mapped.
    value: Option<Vec<u8>>,
}

impl Place {
    fn of(target: &Target<'_>, record: &FaultRecord, used: &UsedMemory) -> Option<Self> {
        let access = match used.access() {
            OpAccess::NoMemAccess | OpAccess::None => return None,
            OpAccess::Write | OpAccess::CondWrite => "write",
            OpAccess::ReadWrite | OpAccess::ReadCondWrite => "read and write",
            _ => "read",
        };
        let segment = SegReg::ALL[(used.segment() as usize).checked_sub(Register::ES as usize)?];
        let value_of = |register: Register| match register {
            register if register.is_segment_register() => base(record, segment).into(),
            register if register.is_gpr32() => u64::from(gpr(record, register)),
            register => u64::from(gpr(record, register.full_register32())) & 0xffff,
        };
        let linear = used.virtual_address(0, |register, _, _| Some(value_of(register)))? as u32;
        let size = used.memory_size().size();
        let value = Reader::new(target.mem, record.paging).bytes(LinearAddr(linear), size);
        Some(Place { segment, linear, size, access, value })
    }

    fn words(&self) -> Option<String> {
        let value = self.value.as_ref().filter(|value| (1..=8).contains(&value.len()))?;
        let number = value.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        Some(format!("{number:#0digits$x}", digits = 2 + 2 * value.len()))
    }

    fn line(&self) -> String {
        let Place { segment, linear, size, access, value } = self;
        let holds = match (self.words(), value) {
            (Some(words), _) => format!(", which holds {words}"),
            (None, Some(_)) => String::new(),
            (None, None) => ", where nothing can be read".to_owned(),
        };
        let bytes = if *size == 1 { "byte" } else { "bytes" };
        format!("{access} of {size} {bytes} at {}:{linear:#010x}{holds}", segment.name())
    }

    fn json(&self) -> Value {
        json!({
            "segment": self.segment.name(), "linear": self.linear, "size": self.size, "access": self.access,
            "value": self.words(),
        })
    }
}
