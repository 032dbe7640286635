//! One translation step by step, or why it faults.

use cpu::mmu::{Mapping, PageSize, Paging, Step, WalkResult, walk as walk_tables};
use serde_json::{Value, json};
use x86::{Cr0, LinearAddr, PageFaultCode, Pde, Pte, SegReg};

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
        page.tables(paging, address.linear, &seen.steps, pid);
        page.end(paging, address.linear, &seen.result, &seen.steps);
    }
    page.held(target, &address, &seen.result);
    page.owner(target, paging, address.linear);
    Ok(Answer::new(page.text, page.json))
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

    fn tables(&mut self, paging: Paging, linear: LinearAddr, steps: &[Step], pid: Option<u32>) {
        let (dir, table, offset) = (linear.pde_index(), linear.pte_index(), linear.page_offset());
        self.line("linear", &format!("{:#010x}  = directory {dir}, table {table}, offset {offset:#05x}", linear.0));
        let whose = pid.map_or("CR3".into(), |pid| format!("pgd of process {pid}"));
        self.line("directory", &format!("{:#010x}  ({whose})", paging.cr3 & 0xffff_f000));
        self.json["cr3"] = paging.cr3.into();
        for step in steps {
            match *step {
                Step::Pde { addr, entry } => {
                    let leads = match (entry.present(), entry.large() && steps.len() == 1) {
                        (false, _) => String::new(),
                        (true, true) => format!("  -> 4 MiB page at {:#010x}", entry.large_frame().0),
                        (true, false) => format!("  -> table at {:#010x}", entry.table().0),
                    };
                    let bits = pde_bits(entry, steps.len() == 1);
                    self.line("PDE", &format!("[{dir}] at {:#010x} = {:#010x}  {bits}{leads}", addr.0, entry.0));
                    self.json["pde"] = json!({"addr": addr.0, "value": entry.0, "bits": bits});
                }
                Step::Pte { addr, entry } => {
                    let leads = match entry.present() {
                        true => format!("  -> frame at {:#010x}", entry.frame().0),
                        false => String::new(),
                    };
                    let bits = pte_bits(entry);
                    self.line("PTE", &format!("[{table}] at {:#010x} = {:#010x}  {bits}{leads}", addr.0, entry.0));
                    self.json["pte"] = json!({"addr": addr.0, "value": entry.0, "bits": bits});
                }
            }
        }
    }

    fn end(&mut self, paging: Paging, linear: LinearAddr, result: &WalkResult, steps: &[Step]) {
        let last = if steps.len() > 1 { "page-table" } else { "page-directory" };
        match result {
            WalkResult::Mapped(mapping) => {
                let phys = mapping.translate(linear);
                let size = if mapping.size == PageSize::Large { "4 MiB" } else { "4 KiB" };
                self.line("physical", &format!("{:#010x}  (frame {:#x}, {size} page)", phys.0, phys.frame()));
                self.line("rights", &rights(mapping, paging));
                self.json["physical"] = phys.0.into();
                self.json["page_size"] = mapping.size.bytes().into();
                self.json["rights"] = json!({
                    "user": mapping.user, "write": mapping.writable, "global": mapping.global,
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
    fn held(&mut self, target: &Target<'_>, address: &Address, result: &WalkResult) {
        let mut rows = Vec::new();
        for (cpu, state) in target.cpus.iter().enumerate().filter(|(_, state)| state.paging().enabled()) {
            let Some(entry) = state.tlb.lookup(address.linear) else {
                self.line("TLB", &format!("cpu {cpu}: not held"));
                rows.push(json!({"cpu": cpu, "held": false}));
                continue;
            };
            let stale = tlb::stale(entry, result);
            let word = stale.map_or(String::new(), |why| format!("  STALE: {why}"));
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
    let who = if mapping.user { "user and supervisor" } else { "supervisor only" };
    let what = match (mapping.writable, mapping.user, paging.cr0.contains(Cr0::WP)) {
        (true, ..) => "read, write, execute",
        (false, _, true) => "read, execute",
        (false, true, false) => "read, execute (CR0.WP is clear: the supervisor writes too)",
        (false, false, false) => "read, execute, and write because CR0.WP is clear",
    };
    format!("{who}: {what}{}", if mapping.global { "; global" } else { "" })
}

fn spelled(value: u32, bits: &[(u32, &str, &str)]) -> String {
    let words: Vec<&str> = bits.iter().map(|&(bit, set, clear)| if value & bit != 0 { set } else { clear }).collect();
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn pde_bits(pde: Pde, leaf: bool) -> String {
    if !pde.present() {
        return "P=0".into();
    }
    let large = leaf && pde.large();
    let own = [
        (Pde::PS, if large { "PS" } else { "" }, ""),
        (Pde::D, if large { "D" } else { "" }, ""),
        (Pde::G, if large { "G" } else { "" }, ""),
    ];
    spelled(pde.0, &[COMMON.as_slice(), own.as_slice()].concat())
}

fn pte_bits(pte: Pte) -> String {
    if !pte.present() {
        return "P=0".into();
    }
    let own = [(Pte::D, "D", ""), (Pte::PAT, "PAT", ""), (Pte::G, "G", "")];
    spelled(pte.0, &[COMMON.as_slice(), own.as_slice()].concat())
}

const COMMON: [(u32, &str, &str); 6] = [
    (Pte::P, "P", ""),
    (Pte::RW, "R/W=1", "R/W=0"),
    (Pte::US, "U/S=1", "U/S=0"),
    (Pte::PWT, "PWT", ""),
    (Pte::PCD, "PCD", ""),
    (Pte::A, "A", ""),
];
