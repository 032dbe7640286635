//! What page tables cost: two levels as they are used, against one level.

use cpu::mmu::Paging;
use serde_json::json;
use x86::{Cr4, Pde};

use super::Answer;
use super::page::{USER_ENTRIES, table};
use crate::{Books, Error, Result, Target, comm};

/// What a table of one level would take: 4 bytes for each of 2^20 pages, in kB.
const ONE_LEVEL_KB: u32 = 4096;
/// kB of a page.
const PAGE_KB: u32 = 4;

/// A process with an address space of its own.
struct Row {
    pid: u32,
    comm: String,
    tables: u32,
    /// `VmPTE`, in kB.
    vm_pte_kb: u32,
}

impl Row {
    fn kb(&self) -> u32 {
        (1 + self.tables) * PAGE_KB
    }
}

/// Tables that a part of a directory names: present, and no large page.
fn tables(target: &Target<'_>, pgd: u32, part: std::ops::Range<usize>) -> u32 {
    let entries = table(target.mem, pgd & !0xfff);
    let names_table = |pde: &&u32| **pde & (Pde::P | Pde::PS) == Pde::P;
    entries[part].iter().filter(names_table).count() as u32
}

/// Directory and table pages of all processes.
pub fn cost(target: &Target<'_>) -> Result<Answer> {
    let books = Books::of(target)?;
    let paging: Paging = target.cpu(0)?.paging();
    if paging.cr4.contains(Cr4::PAE) {
        return Err(Error::Usage("pagetable --cost: PAE's tables have three levels; only two are counted".into()));
    }
    let user = USER_ENTRIES as usize;
    let mut rows = Vec::new();
    for task in books.processes()? {
        let Some(mm) = books.mm(&task)? else { continue };
        let tables = tables(target, mm.pgd, 0..user);
        rows.push(Row { pid: task.pid, comm: comm(&task), tables, vm_pte_kb: mm.pgtables_bytes / 1024 });
    }
    let shared = tables(target, books.root().swapper_pg_dir, user..1024);
    let mut text = "    PID  directory  tables       kB  one level  VmPTE  COMMAND\n".to_owned();
    for row in &rows {
        let agrees = if row.tables * PAGE_KB == row.vm_pte_kb { "" } else { "  VmPTE differs" };
        text += &format!(
            "{:7} {:10} {:7} {:8} {ONE_LEVEL_KB:10} {:6}  {}{agrees}\n",
            row.pid,
            1,
            row.tables,
            row.kb(),
            row.vm_pte_kb,
            row.comm
        );
    }
    let sum = |part: fn(&Row) -> u32| rows.iter().map(part).fold(0u32, u32::saturating_add);
    let (total, flat) = (sum(Row::kb), (rows.len() as u32).saturating_mul(ONE_LEVEL_KB));
    text += &format!(
        "  total {:10} {:7} {total:8} {flat:10} {:6}\n",
        rows.len(),
        sum(|row| row.tables),
        sum(|row| row.vm_pte_kb)
    );
    let kernel_kb = (1 + shared) * PAGE_KB;
    text += &format!("The kernel's own directory and its {shared} tables, which all share: {kernel_kb} kB.\n");
    let json_rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "pid": row.pid, "comm": row.comm, "directory_pages": 1, "table_pages": row.tables, "kb": row.kb(),
                "one_level_kb": ONE_LEVEL_KB, "vm_pte_kb": row.vm_pte_kb,
                "agrees": row.tables * PAGE_KB == row.vm_pte_kb,
            })
        })
        .collect();
    let json = json!({
        "processes": json_rows, "total_kb": total, "one_level_total_kb": flat,
        "kernel_table_pages": shared, "kernel_kb": kernel_kb,
    });
    Ok(Answer::new(text, json))
}
