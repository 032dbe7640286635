//! From guest bytes to a block.

use std::cell::Cell;

use iced_x86::{DecoderError, FlowControl, Instruction};
use memory::line_mask;
use x86::{LinearAddr, PhysAddr};

use super::{
    Block, Insn, Key, Op,
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

/// Most conditional branches within a block: behind one that is not taken it goes on.
const MAX_BRANCHES: usize = 6;

/// Most bytes of a block: an instruction has at most 15.
const MAX_BYTES: usize = 320;

/// How much a translation may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effort {
    /// The block runs once: what makes it faster would cost more than it spares.
    Once,
    /// The block is kept.
    ForGood,
}

/// Makes blocks, in the same memory each time.
pub(crate) struct Translator(Box<Block>);

// SAFETY: the block's pointers lead into itself, and it has no links.
unsafe impl Send for Translator {}

impl Translator {
    pub(crate) fn new() -> Self {
        Translator(Box::new(Block::empty()))
    }

    /// Translates the block that begins at `key`, to run it once: it is gone with the next translation, and
    /// nothing may be linked with it. `stops_before` says which linear addresses must begin a block of
    /// their own.
    ///
    /// # Errors
    /// The fault of the second page, for an instruction that crosses into it.
    pub(crate) fn once(
        &mut self,
        cpu: &mut Cpu,
        key: Key,
        stops_before: impl Fn(LinearAddr) -> bool,
    ) -> Result<*const Block, Exception> {
        translate(cpu, key, stops_before, Effort::Once, &mut self.0)?;
        let block: *mut Block = &raw mut *self.0;
        // SAFETY: the last block in this place has run.
        unsafe { Block::finish(block) };
        Ok(block)
    }

    /// Whether `block` is the one that runs once.
    pub(crate) fn is_current(&self, block: *const Block) -> bool {
        std::ptr::eq(&raw const *self.0, block)
    }

    /// As [`Translator::once`], to keep the block.
    pub(crate) fn for_good(
        &mut self,
        cpu: &mut Cpu,
        key: Key,
        stops_before: impl Fn(LinearAddr) -> bool,
    ) -> Result<Box<Block>, Exception> {
        translate(cpu, key, stops_before, Effort::ForGood, &mut self.0)?;
        let Block { key, len, second, linkable, dead, ref insns, ref plain, ref ops, .. } = *self.0;
        let (insns, plain, ops) = (insns.clone(), plain.clone(), ops.clone());
        Ok(Box::new(Block { key, len, second, linkable, dead, insns, plain, ops, ..Block::empty() }))
    }
}

/// Translates the block that begins at `key` into `block`, but for [`Block::finish`].
fn translate(
    cpu: &mut Cpu,
    key: Key,
    stops_before: impl Fn(LinearAddr) -> bool,
    effort: Effort,
    block: &mut Block,
) -> Result<(), Exception> {
    let mode = Mode(key.mode);
    let page_left = 0x1000 - (key.linear() & 0xfff) as usize;
    let mut bytes = [0; MAX_BYTES];
    let window = &mut bytes[..page_left.min(MAX_BYTES)];
    cpu.mem().read(PhysAddr(key.phys.into()), window);

    let max = if mode.has(mode::SINGLE) { 1 } else { MAX_INSNS };
    let mut decoder = decode::decoder(mode.bits(), window, key.eip);
    let insns = &mut block.insns;
    insns.clear();
    let mut len = 0;
    let mut second = None;
    let mut branches = 0;
    while insns.len() < max && decoder.can_decode() {
        if !insns.is_empty() && stops_before(LinearAddr(key.linear().wrapping_add(len))) {
            break;
        }
        let last = insns.push_mut(Insn { insn: Instruction::default(), slow: Cell::new(slow::found_late) });
        decoder.decode_out(&mut last.insn);
        let encoding = &window[len as usize..];
        decode::not_too_long(&mut last.insn, mode.bits(), encoding);
        fpu::keep_opcode(&mut last.insn, encoding);
        if decoder.last_error() == DecoderError::NoMoreBytes {
            if len != 0 {
                insns.pop();
                break;
            }
            (last.insn, second) = decode_crossing(cpu, key, mode, page_left)?;
        }
        decode::recognise(&mut last.insn, cpu.state.model);
        len += last.insn.len() as u32;
        if second.is_some() {
            break;
        }
        if ends_block(&last.insn) {
            let goes_on = effort == Effort::ForGood && branches < MAX_BRANCHES && lower::is_branch(&last.insn, mode);
            if !goes_on {
                break;
            }
            branches += 1;
        }
    }

    let starts_at_stop = stops_before(LinearAddr(key.linear()));
    note_code(cpu, key, len, second);
    block.key = key;
    block.len = len;
    block.second = second;
    block.linkable = effort == Effort::ForGood && !mode.has(mode::SINGLE) && !starts_at_stop;
    operations(cpu, block, mode, effort);
    if let Some(second) = second {
        block.linkable &= mode.has(mode::FLAT_CS);
        look_at_second_page(cpu, block, second);
    }
    Ok(())
}

/// Lets a block whose instruction crosses a page into frame `second` begin with a look at it, if others may jump there.
fn look_at_second_page(cpu: &mut Cpu, block: &mut Block, second: u32) {
    if block.linkable {
        let page = (block.key.linear() | 0xfff).wrapping_add(1);
        let expected = expectation(cpu, second, page);
        let op = Op { imm: expected as u32, disp: (expected >> 32) as u32, ..Op::new(hot::SECOND_PAGE) };
        block.ops[Block::HEAD].handler = hot::HEAD_PAST;
        block.ops.insert(Block::HEAD + 1, op);
    }
}

/// What the projection for fetches says of the page at linear address `page` if it leads to `frame`.
fn expectation(cpu: &mut Cpu, frame: u32, page: u32) -> u64 {
    (cpu.mem().host_base() as u64).wrapping_add(u64::from(frame) << 12).wrapping_sub(u64::from(page))
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
    let mut insn = decode::decoder(mode.bits(), &bytes, key.eip).decode();
    decode::not_too_long(&mut insn, mode.bits(), &bytes);
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
            cpu.revoke_write(pfn);
        }
    }
}

/// The operations: what is expected of the page, the head, one or more an instruction, the exits.
fn operations(cpu: &mut Cpu, block: &mut Block, mode: Mode, effort: Effort) {
    let Block { key, len, ref mut insns, ref mut plain, ref mut ops, ref mut dead, .. } = *block;
    *dead = 0;
    plain.clear();
    let expectation = match mode.has(mode::FLAT_CS) {
        true => expectation(cpu, key.phys >> 12, key.linear() & !0xfff),
        false => 0,
    };
    ops.clear();
    ops.push(Op { link: std::ptr::without_provenance(expectation as usize), ..Op::new(hot::EXIT) });
    ops.push(Op { disp: key.eip, ..Op::new(hot::HEAD) });
    // Which instructions run by a handler that neither faults nor leaves the block once its memory
    // operand, if any, was reached.
    let mut quiet = 0u64;
    for (index, Insn { insn, slow }) in insns.iter_mut().enumerate() {
        let simple = lower::simple(insn, mode, true);
        quiet |= u64::from(simple.is_some()) << index;
        let op =
            simple.or_else(|| lower::kernel(insn, mode)).or_else(|| lower::float(insn, mode)).unwrap_or_else(|| {
                slow.set(slow::of(insn));
                Op::new(hot::SLOW)
            });
        ops.push(Op { insn: index as u8, ..op });
    }
    let after = key.eip.wrapping_add(len);
    let last = insns.len() - 1;
    let for_good = effort == Effort::ForGood;
    let mut fused = 0;
    if for_good {
        plain.extend_from_slice(&ops[Block::HEAD + 1..]);
        (fused, *dead) = improve(&mut ops[Block::HEAD + 1..], insns, mode, quiet);
    }
    let exit = |eip, patched| Op { imm: eip, src: patched, insn: last as u8, ..Op::new(hot::EXIT) };
    // Where a way out belongs to an operation before it, that operation's link leads there: handlers and host code
    // then need not go by the exit. That of a branch is taken.
    let linked = for_good && last > 0 && !lower::is_branch(&insns[last - 1].insn, mode);
    match lower::way_out(&insns[last].insn, mode) {
        WayOut::Unknown => {}
        WayOut::Next => {
            link_to(ops, u8::from(for_good));
            ops.push(exit(after, for_good.into()));
        }
        WayOut::Jump { target } => {
            ops.pop();
            link_to(ops, u8::from(linked));
            ops.push(exit(target, linked.into()));
        }
        WayOut::Call { target } => {
            link_to(ops, 1);
            ops.push(exit(target, 1));
        }
        WayOut::Branch { target } => {
            link_to(ops, 2);
            let mut behind = exit(after, 0);
            if linked {
                let place = ops.len() - 2;
                ops[place].link = std::ptr::without_provenance(2);
                behind.src = 2;
            }
            ops.extend([behind, exit(target, 2)]);
        }
    }
    // The branches within, which give back what of the budget the block has taken for what lies behind them.
    for (index, Insn { insn, .. }) in insns[..last].iter().enumerate() {
        if lower::is_branch(insn, mode) {
            let place = Block::HEAD + 1 + index;
            let distance = ops.len() - place;
            ops[place].link = std::ptr::without_provenance(distance);
            ops[place].imm = (last - index) as u32;
            if fused >> index & 1 != 0 {
                ops[place - 1].link = std::ptr::without_provenance(2);
            }
            ops.push(Op { insn: index as u8, ..exit(insn.near_branch32(), distance as u8) });
        }
    }
}

/// Makes the operations of a block's instructions faster: computes no flags that nobody sees, joins
/// operations, and finds what executes those that must be looked at. Says which branches became one with the
/// instruction before them, and whose flags nobody sees. `quiet` has a bit for each instruction, see [`Live::step_back`].
fn improve(ops: &mut [Op], insns: &mut [Insn], mode: Mode, quiet: u64) -> (u64, u64) {
    let mut dead = 0;
    let mut live = Live::at_end();
    for (op, Insn { insn, slow }) in ops.iter_mut().zip(insns.iter_mut()).rev() {
        slow.set(slow::of(insn));
        let quiet = quiet >> op.insn & 1 != 0;
        if quiet
            && live.are_dead(insn)
            && let Some(cheaper) = lower::simple(insn, mode, false)
        {
            *op = Op { insn: op.insn, ..cheaper };
            dead |= 1 << op.insn;
        }
        live.step_back(insn, quiet);
    }
    let mut fused = 0;
    for (place, pair) in insns.windows(2).enumerate() {
        if let Some(op) = lower::fused(&pair[0].insn, &pair[1].insn, mode) {
            ops[place] = Op { insn: place as u8, ..op };
            fused |= 1 << (place + 1);
        }
    }
    hot::fuse::join(ops);
    (fused, dead)
}

/// Lets the last operation's link lead to the one `distance` further on; by 0, to none.
fn link_to(ops: &mut [Op], distance: u8) {
    if let Some(op) = ops.last_mut() {
        op.link = std::ptr::without_provenance(distance.into());
    }
}
