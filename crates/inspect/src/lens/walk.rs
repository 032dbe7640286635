//! One translation step by step, or why it faults.

use cpu::mmu::{Guards, Level, Mapping, Paging, Step, WalkResult, walk as walk_tables};
use serde_json::{Value, json};
use x86::{Cr4, LinearAddr, PaePde, PaePte, PageFaultCode, Pde, Pdpte, Pte, SegReg};

use super::{Answer, maps, process_of_directory, symbol_at, tlb};
use crate::address::{Address, Segmented, parse_address};
use crate::{Books, Result, Target};

/// The walk of an address through the tables of a CPU or of a process.
pub fn walk(target: &Target<'_>, addr: &str, cpu: usize, pid: Option<u32>) -> Result<Answer> {
    let address = parse_address(target, cpu, addr)?;
    let paging = super::paging(target, cpu, pid)?;
    let mut page = Page { text: String::new(), json: json!({ "linear": address.linear.0 }) };
    if let Some(segmented) = &address.segmented {
        page.segment(segmented, address.linear);
    }
    let seen = walk_tables(target.mem, paging, address.linear);
    if seen.result == WalkResult::PagingOff {
        page.line("linear", &format!("{:#010x}", address.linear.0));
        page.line("paging", "paging off: linear is physical");
        page.line("physical", &format!("{:#010x}", address.linear.0));
        page.json["paging"] = false.into();
        page.json["physical"] = address.linear.0.into();
    } else {
        page.json["paging"] = true.into();
        page.json["pae"] = paging.pae().into();
        page.tables(target, paging, address.linear, &seen.steps, pid);
        page.end(paging, address.linear, &seen.result, &seen.steps);
    }
    page.held(target, paging, &address, &seen.result);
    page.owner(target, paging, address.linear);
    Ok(Answer::new(page.text, page.json))
}

/// The steps of a walk alone, a line each, and the first of them what the address is made of.
pub(crate) fn walk_lines(target: &Target<'_>, paging: Paging, linear: LinearAddr) -> String {
    let mut page = Page { text: String::new(), json: json!({}) };
    page.tables(target, paging, linear, &walk_tables(target.mem, paging, linear).steps, None);
    page.text
}

/// A step by its name and in words.
pub(crate) fn describe_step(paging: Paging, step: Step, is_last: bool) -> (&'static str, String) {
    let Step { level, index, addr, value } = step;
    let name = match level {
        Level::Pdpt => "PDPTE",
        Level::Directory => "PDE",
        Level::Table => "PTE",
    };
    let leaf = is_leaf(step, is_last);
    let (bits, leads) = (bits(paging, step, leaf), leads(paging, step, leaf));
    let digits = if paging.pae() { 18 } else { 10 };
    (name, format!("[{index}] at {:#010x} = {value:#0digits$x}  {bits}{leads}", addr.0))
}

/// A directory entry that leads to no table is read as that of a large page.
fn is_leaf(step: Step, is_last: bool) -> bool {
    step.level == Level::Table || step.level == Level::Directory && is_last
}

struct Page {
    text: String,
    json: Value,
}

impl Page {
    fn line(&mut self, name: &str, what: &str) {
        self.text += &format!("{name:<9} {what}\n");
    }

    fn segment(&mut self, segmented: &Segmented, linear: LinearAddr) {
        let Segmented { register, segment, offset } = segmented;
        let name = register.map_or_else(|| format!("{:#06x}", segment.selector), |reg: SegReg| reg.name().into());
        self.line("logical", &format!("{name}:{offset:#010x}"));
        let (base, limit, selector) = (segment.base, segment.limit, segment.selector);
        let why = if *offset > limit { ": the offset is beyond it, an access raises #GP (#SS for ss)" } else { "" };
        self.line("segment", &format!("selector {selector:#06x}  base {base:#010x}  limit {limit:#010x}{why}"));
        self.json["segment"] = json!({
            "register": register.map(SegReg::name), "selector": selector, "base": base, "limit": limit,
            "offset": offset, "rights": segment.rights, "within_limit": *offset <= limit, "linear": linear.0,
        });
    }

    fn tables(&mut self, target: &Target<'_>, paging: Paging, linear: LinearAddr, steps: &[Step], pid: Option<u32>) {
        let whose = pid.map_or("CR3".into(), |pid| format!("pgd of process {pid}"));
        let parts = if paging.pae() {
            let (pointer, dir, table) = (linear.pdpte_index(), linear.pae_pde_index(), linear.pae_pte_index());
            format!("pointer {pointer}, directory {dir}, table {table}")
        } else {
            format!("directory {}, table {}", linear.pde_index(), linear.pte_index())
        };
        self.line("linear", &format!("{:#010x}  = {parts}, offset {:#05x}", linear.0, linear.page_offset()));
        let top = if paging.pae() { "pointers" } else { "directory" };
        self.line(top, &format!("{:#010x}  ({whose})", paging.table().0));
        self.json["cr3"] = paging.cr3.into();
        for step in steps {
            let Step { level, index, addr, value } = *step;
            let key = match level {
                Level::Pdpt => "pdpte",
                Level::Directory => "pde",
                Level::Table => "pte",
            };
            let (name, mut text) = describe_step(paging, *step, steps.last() == Some(step));
            let bits = bits(paging, *step, is_leaf(*step, steps.last() == Some(step)));
            let mut json = json!({"index": index, "addr": addr.0, "value": value, "bits": bits});
            if level == Level::Pdpt {
                let memory = target.mem.read_u64(paging.gate(addr));
                if memory != value {
                    text += &format!("  (the register; memory now has {memory:#018x})");
                }
                json["memory"] = memory.into();
            }
            self.line(name, &text);
            self.json[key] = json;
        }
    }

    fn end(&mut self, paging: Paging, linear: LinearAddr, result: &WalkResult, steps: &[Step]) {
        let last = match steps.last().map(|step| step.level) {
            Some(Level::Pdpt) => "page-directory-pointer",
            Some(Level::Table) => "page-table",
            _ => "page-directory",
        };
        match result {
            WalkResult::Mapped(mapping) => {
                let phys = mapping.translate(linear);
                let size = match mapping.size.bytes() >> 20 {
                    0 => "4 KiB".to_owned(),
                    mib => format!("{mib} MiB"),
                };
                self.line("physical", &format!("{:#010x}  (frame {:#x}, {size} page)", phys.0, phys.frame()));
                self.line("rights", &rights(mapping, paging));
                self.json["physical"] = phys.0.into();
                self.json["page_size"] = mapping.size.bytes().into();
                self.json["rights"] = json!({
                    "user": mapping.rights.user, "write": mapping.rights.writable,
                    "execute": mapping.rights.executable, "global": mapping.global,
                    "accessed": mapping.accessed, "dirty": mapping.dirty,
                });
            }
            WalkResult::NotPresent => {
                self.fault(&format!("the {last} entry is not present (P = 0)"), PageFaultCode::empty())
            }
            WalkResult::Reserved => {
                let code = PageFaultCode::P | PageFaultCode::RSVD;
                self.fault(&format!("a reserved bit of the {last} entry is set"), code);
            }
            WalkResult::PagingOff => {}
        }
    }

    fn fault(&mut self, why: &str, code: PageFaultCode) {
        let (read, write) = (code.bits(), (code | PageFaultCode::WR).bits());
        self.line("fault", &format!("#PF on any access: {why}"));
        self.line(
            "",
            &format!("error code {read:#x} to read, {write:#x} to write; +{:#x} from ring 3", PageFaultCode::US.bits()),
        );
        self.json["fault"] =
            json!({"exception": "#PF", "why": why, "error_code_read": read, "error_code_write": write});
    }

    /// What each CPU's TLB holds for the page, and whether the tables have changed since.
    fn held(&mut self, target: &Target<'_>, paging: Paging, address: &Address, result: &WalkResult) {
        let mut rows = Vec::new();
        for (cpu, state) in target.cpus.iter().enumerate().filter(|(_, state)| state.paging().enabled()) {
            let Some(entry) = state.tlb.lookup(address.linear) else {
                self.line("TLB", &format!("cpu {cpu}: not held"));
                rows.push(json!({"cpu": cpu, "held": false}));
                continue;
            };
            // What a CPU holds of other tables than these is not stale for that.
            let of_others = !entry.global && state.paging().table() != paging.table();
            let stale = if of_others { None } else { tlb::stale(entry, result) };
            let word = match stale {
                Some(why) => format!("  STALE: {why}"),
                None if of_others => "  of the tables that this CPU uses now".into(),
                None => String::new(),
            };
            self.line("TLB", &format!("cpu {cpu}: {}{word}", tlb::describe(entry)));
            let mut row = tlb::json(entry, stale);
            row["cpu"] = cpu.into();
            row["held"] = true.into();
            rows.push(row);
        }
        self.json["tlb"] = rows.into();
    }

    /// The area and the symbol at the address, where the kernel's books and symbols tell.
    fn owner(&mut self, target: &Target<'_>, paging: Paging, linear: LinearAddr) {
        let area = Books::of(target).ok().and_then(|books| {
            let (task, mm) = process_of_directory(&books, paging.cr3).ok()??;
            Some((task.pid, maps::area_line(&books, &mm, linear).ok()??))
        });
        if let Some((pid, line)) = area.filter(|_| paging.enabled()) {
            self.line("VMA", &format!("process {pid}: {line}"));
            self.json["vma"] = json!({"pid": pid, "line": line});
        }
        if let Some(symbol) = symbol_at(target, paging, linear) {
            self.line("symbol", &symbol);
            self.json["symbol"] = symbol.into();
        }
    }
}

fn rights(mapping: &Mapping, paging: Paging) -> String {
    let (page, guards) = (mapping.rights, Guards::of(paging.cr0, paging.cr4));
    let who = if page.user { "user and supervisor" } else { "supervisor only" };
    let execute = if page.executable { ", execute" } else { "" };
    let what = match (page.writable, page.user, guards.write_protect) {
        (true, ..) => format!("read, write{execute}"),
        (false, _, true) => format!("read{execute}"),
        (false, true, false) => format!("read{execute} (CR0.WP is clear: the supervisor writes too)"),
        (false, false, false) => format!("read{execute}, and write because CR0.WP is clear"),
    };
    let mut text = format!("{who}: {what}");
    if page.user && guards.smep && page.executable {
        text += "; SMEP: the supervisor doesn't execute";
    }
    if page.user && paging.cr4.contains(Cr4::SMAP) {
        text += "; SMAP: the supervisor reads and writes only with EFLAGS.AC";
    }
    text + if mapping.global { "; global" } else { "" }
}

/// Where an entry that is present leads.
fn leads(paging: Paging, step: Step, leaf: bool) -> String {
    let Step { level, value, .. } = step;
    let large = leaf && value & u64::from(Pde::PS) != 0;
    let (what, at) = match (level, paging.pae()) {
        _ if value & u64::from(Pte::P) == 0 => return String::new(),
        (Level::Pdpt, _) => ("directory", Pdpte(value).directory()),
        (Level::Directory, true) if large => ("2 MiB page", PaePde(value).large_frame()),
        (Level::Directory, true) => ("table", PaePde(value).table()),
        (Level::Directory, false) if large => ("4 MiB page", Pde(value as u32).large_frame()),
        (Level::Directory, false) => ("table", Pde(value as u32).table()),
        (Level::Table, true) => ("frame", PaePte(value).frame()),
        (Level::Table, false) => ("frame", Pte(value as u32).frame()),
    };
    format!("  -> {what} at {:#010x}", at.0)
}

/// The bits of an entry that is present, spelled out, as far as they mean something in its level.
fn bits(paging: Paging, step: Step, leaf: bool) -> String {
    let Step { level, value, .. } = step;
    if value & u64::from(Pte::P) == 0 {
        return "P=0".into();
    }
    let large = level == Level::Directory && leaf && value & u64::from(Pde::PS) != 0;
    let (any, entry, page) = (true, level != Level::Pdpt, level == Level::Table || large);
    let pat = if large { Pde::PAT.into() } else { Pte::PAT.into() };
    let known: [(bool, u64, &str, &str); 11] = [
        (any, Pte::P.into(), "P", ""),
        (entry, Pte::RW.into(), "R/W=1", "R/W=0"),
        (entry, Pte::US.into(), "U/S=1", "U/S=0"),
        (any, Pte::PWT.into(), "PWT", ""),
        (any, Pte::PCD.into(), "PCD", ""),
        (entry, Pte::A.into(), "A", ""),
        (large, Pde::PS.into(), "PS", ""),
        (page, Pte::D.into(), "D", ""),
        (page, pat, "PAT", ""),
        (page, Pte::G.into(), "G", ""),
        (entry && paging.pae(), PaePte::XD, "XD", ""),
    ];
    let words = known.iter().filter(|(means, ..)| *means);
    let words = words.map(|&(_, bit, set, clear)| if value & bit != 0 { set } else { clear });
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
