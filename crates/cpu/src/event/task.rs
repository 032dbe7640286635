//! Task switches (SDM Vol. 3A, "Task Switching").

use x86::{Cr0, Eflags, LinearAddr, SegReg, Selector, SystemType, tss};

use super::{frame::Stack, iret::writable};
use crate::{
    Cpu, Exception,
    mmu::{
        access::{self, View},
        flush, pdpte,
    },
    seg::{self, Found, SegmentRegister},
};

/// What causes a task switch: decides about links, NT and busy bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// JMP: the old task ends.
    Jump,
    /// CALL, an interrupt or an exception: the new task is nested in the old one.
    Nest,
    /// IRET with NT: back along the link.
    Return,
}

/// The bit of a TSS descriptor's type that says it is busy.
const BUSY: u8 = 2;
/// The task-switch bit of DR6.
const DR6_BT: u32 = 1 << 15;

/// Switches to the task of a task gate in the IDT and pushes the error code there.
pub(super) fn through_gate(
    cpu: &mut Cpu,
    selector: Selector,
    eip: u32,
    flags: Eflags,
    error_code: Option<u32>,
) -> Result<(), Exception> {
    let task = available(cpu, selector, Exception::gp_sel)?;
    switch(cpu, task, Reason::Nest, eip, flags, error_code)
}

/// Pushes an exception's error code in the new task, whose stack pointer moves once the stack is entered.
fn push_error_code(cpu: &mut Cpu, code: u32) -> Result<Stack, Exception> {
    let wide = cpu.state.tr.rights & 0xf == SystemType::Tss32Busy as u32;
    let mut stack = Stack::current(cpu);
    stack.push(cpu, &[code], if wide { 4 } else { 2 })?;
    Ok(stack)
}

/// The TSS that `selector` names, if a switch to it may begin.
pub(crate) fn available(
    cpu: &mut Cpu,
    selector: Selector,
    wrong: fn(Selector) -> Exception,
) -> Result<Found, Exception> {
    if selector.is_null() || selector.local() {
        return Err(wrong(selector));
    }
    let task = seg::find(cpu, selector, wrong)?;
    match task.descriptor.system_type() {
        Some(SystemType::Tss16Available | SystemType::Tss32Available) => task.present(),
        _ => Err(wrong(selector)),
    }
}

/// IRET with NT set: switches back to the task that the current TSS links to.
pub(super) fn return_to_link(cpu: &mut Cpu, next_eip: u32) -> Result<(), Exception> {
    let link = Selector(access::read_u16(cpu, LinearAddr(cpu.state.tr.base), View::Supervisor)?);
    if link.local() {
        return Err(Exception::ts_sel(link));
    }
    let task = seg::find(cpu, link, Exception::ts_sel)?;
    if !matches!(task.descriptor.system_type(), Some(SystemType::Tss16Busy | SystemType::Tss32Busy)) {
        return Err(Exception::ts_sel(link));
    }
    let flags = cpu.eflags();
    switch(cpu, task.present()?, Reason::Return, next_eip, flags, None)
}

/// What a TSS holds of a task, whatever its width.
struct Image {
    cr3: Option<u32>,
    eip: u32,
    eflags: u32,
    gpr: [u32; 8],
    /// By [`SegReg`] number; a 16-bit TSS has no FS and GS.
    seg: [u16; 6],
    ldt: u16,
    trap: bool,
}

/// Where things lie in a TSS.
struct Layout {
    item: u32,
    eip: u32,
    ldt: u32,
    /// Last byte that must be inside the limit.
    last: u32,
    segments: usize,
}

const LAYOUT_32: Layout = Layout { item: 4, eip: tss::EIP, ldt: tss::LDT, last: tss::SIZE - 1, segments: 6 };
const LAYOUT_16: Layout = Layout { item: 2, eip: 14, ldt: 42, last: 43, segments: 4 };

fn layout(rights: u32) -> &'static Layout {
    if rights & 8 != 0 { &LAYOUT_32 } else { &LAYOUT_16 }
}

/// Switches to `task`. `eip` and `flags` are what the old task resumes with; `error_code` is pushed in the
/// new one. An `Err` after
/// the new task's registers are loaded is raised in the new task.
pub(crate) fn switch(
    cpu: &mut Cpu,
    task: Found,
    reason: Reason,
    eip: u32,
    flags: Eflags,
    error_code: Option<u32>,
) -> Result<(), Exception> {
    let new_tr = SegmentRegister::from_descriptor(task.selector, task.descriptor);
    let new_layout = layout(new_tr.rights);
    if new_tr.limit < new_layout.last {
        return Err(Exception::ts_sel(task.selector));
    }
    let old_tr = cpu.state.tr;
    let old_layout = layout(old_tr.rights);
    let saved_len = old_layout.item * (10 + old_layout.segments as u32);
    if old_tr.limit < old_layout.eip + saved_len - 1 {
        return Err(Exception::ts_sel(Selector(old_tr.selector)));
    }

    // Everything that can fault in the old task.
    let new_base = LinearAddr(new_tr.base);
    let image = read_image(cpu, new_base, new_layout)?;
    let saved_at = LinearAddr(old_tr.base).wrapping_add(old_layout.eip);
    let saved = saved_image(cpu, old_layout, reason, eip, flags);
    access::probe_write(cpu, saved_at, saved_len, View::Supervisor)?;
    let old_busy_at = LinearAddr(cpu.state.gdtr.base).wrapping_add(Selector(old_tr.selector).offset() + 5);
    let old_rights = access::read_u8(cpu, old_busy_at, View::Supervisor)?;
    access::probe_write(cpu, old_busy_at, 1, View::Supervisor)?;
    access::probe_write(cpu, task.rights_addr(), 1, View::Supervisor)?;
    access::probe_write(cpu, new_base, 2, View::Supervisor)?;

    // The switch itself.
    access::write_from(cpu, saved_at, &saved, View::Supervisor)?;
    for (i, selector) in (0..).zip(selectors(cpu, old_layout)) {
        // What lies above a selector in a 32-bit TSS stays.
        let place = saved_at.wrapping_add(old_layout.item * (10 + i));
        access::write_u16(cpu, place, selector, View::Supervisor)?;
    }
    if reason != Reason::Nest {
        access::write_u8(cpu, old_busy_at, old_rights & !BUSY, View::Supervisor)?;
    }
    if reason == Reason::Nest {
        access::write_u16(cpu, new_base, old_tr.selector, View::Supervisor)?;
    }
    let new_rights = (task.descriptor.0 >> 40) as u8 | BUSY;
    if reason != Reason::Return {
        access::write_u8(cpu, task.rights_addr(), new_rights, View::Supervisor)?;
    }
    cpu.state.tr = SegmentRegister { rights: new_tr.rights | u32::from(BUSY), ..new_tr };
    load_registers(cpu, &image, reason)?;
    load_segments(cpu, &image)?;
    // A step that was due belongs to the old task.
    cpu.run.interrupted = true;
    let pushed = error_code.map(|code| push_error_code(cpu, code)).transpose()?;
    if cpu.state.eip > cpu.state.seg(SegReg::Cs).limit {
        return Err(Exception::gp(0));
    }
    if let Some(stack) = pushed {
        let esp = cpu.state.gpr(crate::Gpr::Esp);
        stack.enter(cpu, esp);
    }
    if image.trap {
        cpu.state.pending_debug |= DR6_BT;
    }
    Ok(())
}

fn read_item(cpu: &mut Cpu, base: LinearAddr, offset: u32, item: u32) -> Result<u32, Exception> {
    let addr = base.wrapping_add(offset);
    match item {
        2 => access::read_u16(cpu, addr, View::Supervisor).map(u32::from),
        _ => access::read_u32(cpu, addr, View::Supervisor),
    }
}

fn read_image(cpu: &mut Cpu, base: LinearAddr, layout: &Layout) -> Result<Image, Exception> {
    let item = layout.item;
    let wide = item == 4;
    let mut gpr = [0; 8];
    for (i, value) in gpr.iter_mut().enumerate() {
        *value = read_item(cpu, base, layout.eip + item * (2 + i as u32), item)?;
    }
    let mut seg = [0; 6];
    for (i, value) in seg.iter_mut().take(layout.segments).enumerate() {
        *value = read_item(cpu, base, layout.eip + item * (10 + i as u32), item)? as u16;
    }
    Ok(Image {
        cr3: if wide { Some(read_item(cpu, base, tss::CR3, 4)?) } else { None },
        eip: read_item(cpu, base, layout.eip, item)?,
        eflags: read_item(cpu, base, layout.eip + item, item)?,
        gpr,
        seg,
        ldt: read_item(cpu, base, layout.ldt, 2)? as u16,
        trap: wide && read_item(cpu, base, tss::TRAP, 2)? & 1 != 0,
    })
}

/// The segment registers that the old TSS takes.
fn selectors(cpu: &Cpu, layout: &Layout) -> Vec<u16> {
    cpu.state.seg[..layout.segments].iter().map(|seg| seg.selector).collect()
}

/// EIP, EFLAGS and general registers as the old TSS takes them.
fn saved_image(cpu: &Cpu, layout: &Layout, reason: Reason, eip: u32, flags: Eflags) -> Vec<u8> {
    let flags = if reason == Reason::Return { flags - Eflags::NT } else { flags };
    [eip, flags.bits()]
        .into_iter()
        .chain(cpu.state.gpr[..8].iter().copied())
        .flat_map(|value| value.to_le_bytes().into_iter().take(layout.item as usize))
        .collect()
}

/// Loads all but the segments. Nothing can fault but the pointers of PAE's directories, which are loaded
/// when CR3 changes.
fn load_registers(cpu: &mut Cpu, image: &Image, reason: Reason) -> Result<(), Exception> {
    let mut pointers = Ok(());
    if let Some(cr3) = image.cr3
        && cpu.state.cr0().contains(Cr0::PG)
    {
        if cr3 != cpu.state.cr3 {
            let (cr0, cr4) = (cpu.state.cr0(), cpu.state.cr4());
            pointers = pdpte::load(cpu, cr0, cr4, cr3);
        }
        let before = std::mem::replace(&mut cpu.state.cr3, cr3);
        flush::non_global(cpu, before);
    }
    let wide = image.cr3.is_some();
    for (i, &value) in image.gpr.iter().enumerate() {
        // A 16-bit TSS leaves the upper halves undefined. UNDEFINED: all ones, as the 80386 and Bochs have it.
        cpu.state.gpr[i] = if wide { value } else { value | 0xffff_0000 };
    }
    cpu.state.eip = image.eip;
    let mut flags = writable(Eflags::from_bits_retain(image.eflags));
    if reason == Reason::Nest {
        flags |= Eflags::NT;
    }
    cpu.set_eflags(flags);
    cpu.state.cr0 |= Cr0::TS.bits();
    cpu.state.dr[7] &= !0x155; // the local enables
    cpu.state.tlb.clear_latch();
    pointers
}

/// Loads LDTR and the segment registers with the new task's privileges; faults belong to it. The order is the P6
/// family's (SDM Vol. 3A, "Task Switching", the table of exception conditions), but that each of LDT and data
/// segments is done at once. UNDEFINED: "the exact order is model specific".
fn load_segments(cpu: &mut Cpu, image: &Image) -> Result<(), Exception> {
    let vm = cpu.state.v86();
    for (seg, &selector) in cpu.state.seg.iter_mut().zip(&image.seg) {
        *seg = if vm { seg::v86(selector) } else { seg::null(Selector(selector)) };
    }
    let cs = Selector(image.seg[SegReg::Cs as usize]);
    cpu.state.cpl = if vm { 3 } else { cs.rpl() };
    let ldt = Selector(image.ldt);
    cpu.state.ldtr = seg::null(ldt);
    if !ldt.is_null() {
        cpu.state.ldtr = local_table(cpu, ldt)?;
    }
    if vm {
        return Ok(());
    }
    let code = code_segment(cpu, cs);
    if let Ok(code) = &code
        && !level_fits(code)
    {
        return Err(Exception::ts_sel(cs));
    }
    // An exception from here on has a stack in the new task.
    let (ss, cpl) = (Selector(image.seg[SegReg::Ss as usize]), cpu.state.cpl);
    cpu.state.seg[SegReg::Ss as usize] = new_stack(cpu, ss, cpl)?;
    cpu.state.seg[SegReg::Cs as usize] = code?.present()?.load(cpu)?;
    for reg in [SegReg::Ds, SegReg::Es, SegReg::Fs, SegReg::Gs] {
        let selector = Selector(image.seg[reg as usize]);
        cpu.state.seg[reg as usize] = seg::prepare_data(cpu, selector, Exception::ts_sel)?;
    }
    Ok(())
}

/// What SS holds in a new task of level `cpl`; unlike by MOV an absent segment is found before a wrong level.
fn new_stack(cpu: &mut Cpu, selector: Selector, cpl: u8) -> Result<SegmentRegister, Exception> {
    let wrong = Err(Exception::ts_sel(selector));
    if selector.is_null() {
        return wrong;
    }
    let found = seg::find(cpu, selector, Exception::ts_sel)?;
    let d = found.descriptor;
    if !d.is_writable() {
        return wrong;
    }
    if !d.present() {
        return Err(Exception::ss(selector.error_code()));
    }
    if d.dpl() != cpl || selector.rpl() != cpl {
        return wrong;
    }
    found.load(cpu)
}

/// The code segment that `selector` names; #TS unless it is one.
fn code_segment(cpu: &mut Cpu, selector: Selector) -> Result<Found, Exception> {
    let wrong = Err(Exception::ts_sel(selector));
    if selector.is_null() {
        return wrong;
    }
    let code = seg::find(cpu, selector, Exception::ts_sel)?;
    if code.descriptor.is_code() { Ok(code) } else { wrong }
}

/// Whether the code may run at the level that its selector asks for.
fn level_fits(code: &Found) -> bool {
    let (dpl, rpl) = (code.descriptor.dpl(), code.selector.rpl());
    if code.descriptor.is_conforming() { dpl <= rpl } else { dpl == rpl }
}

fn local_table(cpu: &mut Cpu, selector: Selector) -> Result<SegmentRegister, Exception> {
    let wrong = Err(Exception::ts_sel(selector));
    if selector.local() {
        return wrong;
    }
    let table = seg::find(cpu, selector, Exception::ts_sel)?;
    if table.descriptor.system_type() != Some(SystemType::Ldt) || !table.descriptor.present() {
        return wrong;
    }
    Ok(SegmentRegister::from_descriptor(table.selector, table.descriptor))
}
