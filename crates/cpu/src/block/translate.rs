//! From guest bytes to a block.

use iced_x86::{DecoderError, FlowControl, Instruction};
use memory::line_mask;
use x86::{LinearAddr, PhysAddr};

use super::{
    Block, Insn, Key, Op, Operations,
    live::Live,
    lower::{self, WayOut},
};
use crate::{
    Cpu, Exception, decode,
    engine::mode::{self, Mode},
    exec::hot,
    fpu, mmu, slow,
};

/// Most instructions of a block.
const MAX_INSNS: usize = 64;

/// Most bytes of a block: an instruction has at most 15.
const MAX_BYTES: usize = 320;

/// Translates the block that begins at `key`. `stops_before` says which linear addresses must begin
/// a block of their own.
///
/// # Errors
/// The fault of the second page, for an instruction that crosses into it.
pub(crate) fn translate(
    cpu: &mut Cpu,
    key: Key,
    stops_before: impl Fn(LinearAddr) -> bool,
) -> Result<Box<Block>, Exception> {
    let mode = Mode(key.mode);
    let page_left = 0x1000 - (key.linear() & 0xfff) as usize;
    let mut bytes = [0; MAX_BYTES];
    let window = &mut bytes[..page_left.min(MAX_BYTES)];
    cpu.mem().read(PhysAddr(key.phys.into()), window);

    let max = if mode.has(mode::SINGLE) { 1 } else { MAX_INSNS };
    let mut decoder = decode::decoder(mode.bits(), window, key.eip);
    let mut insns = Vec::with_capacity(max);
    let mut len = 0;
    let mut second = None;
    while insns.len() < max && decoder.can_decode() {
        if !insns.is_empty() && stops_before(LinearAddr(key.linear().wrapping_add(len))) {
            break;
        }
        let mut insn = decode::not_too_long(decoder.decode(), mode.bits(), &window[len as usize..]);
        fpu::keep_opcode(&mut insn, &window[len as usize..]);
        if decoder.last_error() == DecoderError::NoMoreBytes {
            if !insns.is_empty() {
                break;
            }
            (insn, second) = decode_crossing(cpu, key, mode, page_left)?;
        }
        let insn = decode::recognise(insn, cpu.state.model);
        len += insn.len() as u32;
        insns.push(Insn { insn, slow: slow::found_late });
        if second.is_some() || ends_block(&insn) {
            break;
        }
    }

    let starts_at_stop = stops_before(LinearAddr(key.linear()));
    let linkable = second.is_none() && !mode.has(mode::SINGLE) && !starts_at_stop;
    note_code(cpu, key, len, second);
    let ops = operations(cpu, key, mode, &mut insns, len);
    Ok(Block::new(key, len, second, linkable, insns, ops))
}

/// Decodes the instruction that begins in the last `first_len` bytes of its page and goes on in the next.
fn decode_crossing(
    cpu: &mut Cpu,
    key: Key,
    mode: Mode,
    first_len: usize,
) -> Result<(Instruction, Option<u32>), Exception> {
    let next = LinearAddr(key.linear()).wrapping_add(first_len as u32);
    let second = mmu::fetch::translate_second(cpu, next)?;
    let mut bytes = [0; 32];
    let (first, rest) = bytes.split_at_mut(first_len);
    cpu.mem().read(PhysAddr(key.phys.into()), first);
    cpu.mem().read(second, rest);
    let insn = decode::decoder(mode.bits(), &bytes, key.eip).decode();
    let mut insn = decode::not_too_long(insn, mode.bits(), &bytes);
    fpu::keep_opcode(&mut insn, &bytes);
    Ok((insn, Some(second.frame())))
}

/// Repeated string instructions end their block, so that their iterations may use all of the
/// budget that is left.
fn ends_block(insn: &Instruction) -> bool {
    insn.flow_control() != FlowControl::Next || insn.has_rep_prefix() || insn.has_repne_prefix()
}

/// Lets memory tell when the code is overwritten.
fn note_code(cpu: &mut Cpu, key: Key, len: u32, second: Option<u32>) {
    let offset = key.phys & 0xfff;
    let first_len = len.min(0x1000 - offset);
    let first = (key.phys >> 12, line_mask(offset, first_len));
    for (pfn, lines) in [Some(first), second.map(|pfn| (pfn, line_mask(0, len - first_len)))].into_iter().flatten() {
        let known = cpu.mem().code_lines(pfn) != 0;
        cpu.mem().mark_code(pfn, lines);
        if !known {
            cpu.projection().revoke_write(pfn);
        }
    }
}

/// The operations: what is expected of the page, the head, one or more an instruction, the exits.
fn operations(cpu: &mut Cpu, key: Key, mode: Mode, insns: &mut [Insn], len: u32) -> Operations {
    let expectation = match mode.has(mode::FLAT_CS) {
        true => (cpu.mem().host_base() as u64)
            .wrapping_add(u64::from(key.phys & !0xfff))
            .wrapping_sub(u64::from(key.linear() & !0xfff)),
        false => 0,
    };
    let mut ops = Vec::with_capacity(insns.len() + 4);
    ops.push(Op { link: std::ptr::without_provenance(expectation as usize), ..Op::new(hot::EXIT) });
    ops.push(Op { disp: key.eip, ..Op::new(hot::HEAD) });
    let after = key.eip.wrapping_add(len);
    let last = insns.len() - 1;
    let first = ops.len();
    // Which instructions run by a handler that neither faults nor leaves the block once its memory
    // operand, if any, was reached.
    let mut quiet = 0u64;
    for (index, Insn { insn, slow }) in insns.iter_mut().enumerate() {
        let simple = lower::simple(insn, mode, true);
        quiet |= u64::from(simple.is_some()) << index;
        let op = simple.or_else(|| lower::float(insn, mode)).unwrap_or_else(|| {
            *slow = slow::of(insn);
            Op::new(hot::SLOW)
        });
        ops.push(Op { insn: index as u8, ..op });
    }
    let mut live = Live::at_end();
    for (op, Insn { insn, .. }) in ops[first..].iter_mut().zip(insns.iter()).rev() {
        let quiet = quiet >> op.insn & 1 != 0;
        if quiet
            && live.are_dead(insn)
            && let Some(cheaper) = lower::simple(insn, mode, false)
        {
            *op = Op { insn: op.insn, ..cheaper };
        }
        live.step_back(insn, quiet);
    }
    let fused = last.checked_sub(1).and_then(|n| Some((n, lower::fused(&insns[n].insn, &insns[last].insn, mode)?)));
    if let Some((n, op)) = fused {
        ops[first + n] = Op { insn: n as u8, ..op };
    }
    hot::fuse::join(&mut ops[first..]);
    let exit = |eip, patched| Op { imm: eip, src: patched, insn: last as u8, ..Op::new(hot::EXIT) };
    // Where a way out belongs to an operation before it, that operation's link leads there.
    match lower::way_out(&insns[last].insn, mode) {
        WayOut::Unknown => {}
        WayOut::Next => ops.push(exit(after, 0)),
        WayOut::Jump { target } => {
            ops.pop();
            ops.push(exit(target, 0));
        }
        WayOut::Call { target } => {
            link_to(&mut ops, 1);
            ops.push(exit(target, 1));
        }
        WayOut::Branch { target } => {
            link_to(&mut ops, 2);
            let mut behind = exit(after, 0);
            if fused.is_some() {
                let place = ops.len() - 2;
                ops[place].link = std::ptr::without_provenance(2);
                behind.src = 2;
            }
            ops.extend([behind, exit(target, 2)]);
        }
    }
    Operations(ops)
}

/// Lets the last operation's link lead to the one `distance` further on.
fn link_to(ops: &mut [Op], distance: usize) {
    if let Some(op) = ops.last_mut() {
        op.link = std::ptr::without_provenance(distance);
    }
}
