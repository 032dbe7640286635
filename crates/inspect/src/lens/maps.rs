//! A process's areas: `maps`, `smaps`, `pmap`.

use abi::books::{MmRecord, VmaRecord, vm};
use abi::proc::{
    maps as proc_maps,
    smaps::{self as proc_smaps, Sums},
};
use abi::{Out, out, out::render};
use cpu::mmu::{Level, PageSize, Paging, Step, walk};
use serde_json::json;
use x86::{LinearAddr, Pde, Pte};

use super::{Answer, page::PROTNONE, process};
use crate::books::FileName;
use crate::{Books, Result, Target};

/// An area and what its line needs.
struct Area {
    vma: VmaRecord,
    file: Option<FileName>,
    name: Option<Vec<u8>>,
}

impl Area {
    fn row(&self) -> proc_maps::Row {
        proc_maps::Row::of(&self.vma, self.file.as_ref().map(|file| (file.major, file.minor, file.ino)))
    }

    fn line(&self, out: &mut dyn Out) {
        match &self.name {
            Some(name) => proc_maps::line(out, &self.row(), Some(&|out: &mut dyn Out| proc_maps::escaped(out, name))),
            None => proc_maps::line(out, &self.row(), None),
        }
    }

    fn json(&self) -> serde_json::Value {
        let row = self.row();
        json!({
            "start": row.start, "end": row.end, "perms": perms(row.flags), "offset": row.offset,
            "major": row.major, "minor": row.minor, "inode": row.ino,
            "name": self.name.as_deref().map(super::lossy), "flags": row.flags,
        })
    }

    fn kb(&self) -> u32 {
        self.vma.end.wrapping_sub(self.vma.start) >> 10
    }
}

fn perms(flags: u32) -> String {
    let letter = |bit, letter| if flags & bit != 0 { letter } else { '-' };
    let shared = if flags & vm::MAYSHARE != 0 { 's' } else { 'p' };
    [letter(vm::READ, 'r'), letter(vm::WRITE, 'w'), letter(vm::EXEC, 'x'), shared].iter().collect()
}

/// The areas with the names that `/proc/PID/maps` gives them.
fn areas(books: &Books<'_>, mm: &MmRecord) -> Result<Vec<Area>> {
    let vmas = books.vmas(mm)?;
    vmas.into_iter()
        .map(|vma| {
            let file = if vma.file.is_null() { None } else { Some(books.file(vma.file)?) };
            let name = match &file {
                Some(file) => Some(file.path.clone()),
                None => proc_maps::anonymous_name(mm, &vma).map(<[u8]>::to_vec),
            };
            Ok(Area { vma, file, name })
        })
        .collect()
}

fn areas_of(books: &Books<'_>, pid: u32) -> Result<Vec<Area>> {
    match process::with_mm(books, pid)? {
        (_, Some(mm)) => areas(books, &mm),
        _ => Ok(Vec::new()),
    }
}

/// `/proc/PID/maps`.
pub fn maps(target: &Target<'_>, pid: u32) -> Result<Answer> {
    let areas = areas_of(&Books::of(target)?, pid)?;
    let text = render(|out| areas.iter().for_each(|area| area.line(out)));
    Ok(Answer::new(text, areas.iter().map(Area::json).collect::<Vec<_>>()))
}

/// The areas as lines of `maps`, and for programs.
pub(crate) fn area_rows(books: &Books<'_>, mm: &MmRecord) -> Result<Vec<(String, serde_json::Value)>> {
    let row = |area: Area| (super::lossy(&render(|out| area.line(out))).trim_end().to_owned(), area.json());
    Ok(areas(books, mm)?.into_iter().map(row).collect())
}

/// The area of a process that holds an address, as a line of `maps`.
pub(crate) fn area_line(books: &Books<'_>, mm: &MmRecord, addr: LinearAddr) -> Result<Option<String>> {
    let holds = |area: &Area| (area.vma.start..area.vma.end).contains(&addr.0);
    let found = areas(books, mm)?.into_iter().find(holds);
    Ok(found.map(|area| super::lossy(&render(|out| area.line(out))).trim_end().to_owned()))
}

/// An area near an address.
pub(crate) struct Neighbour {
    /// The kernel's record.
    pub vma: VmaRecord,
    /// Its line of `maps`.
    pub line: String,
    /// The same for programs.
    pub json: serde_json::Value,
}

/// The area below an address, the one that holds it, and the one above.
pub(crate) fn neighbours(books: &Books<'_>, mm: &MmRecord, addr: LinearAddr) -> Result<[Option<Neighbour>; 3]> {
    let mut found = [None, None, None];
    for area in areas(books, mm)? {
        let place = match () {
            _ if area.vma.end <= addr.0 => 0,
            _ if area.vma.start <= addr.0 => 1,
            _ => 2,
        };
        if place < 2 || found[2].is_none() {
            let line = super::lossy(&render(|out| area.line(out))).trim_end().to_owned();
            found[place] = Some(Neighbour { vma: area.vma, line, json: area.json() });
        }
    }
    Ok(found)
}

/// The swap area and slot that an entry of a page table names: P and the bit of `PROT_NONE`
/// clear, not empty.
fn swap_entry(step: &Step) -> Option<(u32, u32)> {
    if step.level == Level::Table { swapped(step.value as u32) } else { None }
}

/// The same of the entry itself.
pub(super) fn swapped(pte: u32) -> Option<(u32, u32)> {
    (pte != 0 && pte & (Pte::P | PROTNONE) == 0).then_some((pte >> 1 & 0x1f, pte >> 9))
}

/// The entry of a page that is there, accessible or not (`PROT_NONE`).
fn present_or_none(step: &Step) -> Option<Pte> {
    let pte = Pte(step.value as u32);
    (step.level == Level::Table && (pte.present() || pte.global())).then_some(pte)
}

/// How many entries map the huge page of a directory entry, accessible or not (`PROT_NONE`).
fn huge_page_sharers(books: &Books<'_>, step: &Step) -> Option<u32> {
    let pde = Pde(step.value as u32);
    let is_huge = step.level == Level::Directory && pde.large() && (pde.present() || pde.global());
    let page = is_huge.then(|| books.page(pde.large_frame().frame()).unwrap_or_default())?;
    Some(page.mapcount.wrapping_add(1))
}

/// The bit of a page-table entry that says that the frame is mapped without being counted
/// (`_PAGE_SPECIAL`).
pub(super) const PTE_SPECIAL: u32 = 1 << 9;

/// Adds what is in an area: frames that are mapped without being counted do not count.
fn add(sums: &mut Sums, target: &Target<'_>, books: &Books<'_>, paging: Paging, area: &Area) {
    let mut at = area.vma.start & !0xfff;
    while at < area.vma.end {
        let found = walk(target.mem, paging, LinearAddr(at));
        let next = match found.steps.last() {
            Some(step) if let Some(sharers) = huge_page_sharers(books, step) => {
                sums.add_huge(sharers);
                u64::from(at) + u64::from(PageSize::Mib4.bytes())
            }
            Some(step) if let Some(pte) = present_or_none(step) => {
                if pte.0 & PTE_SPECIAL == 0
                    && let Some(page) = books.page(pte.frame().frame())
                {
                    sums.add_page(&page, pte.accessed(), pte.dirty());
                }
                u64::from(at) + 4096
            }
            step => {
                if let Some((kind, slot)) = step.and_then(swap_entry) {
                    sums.add_swap(books.swap_count(kind, slot).unwrap_or(0));
                }
                // What a missing table would cover is nothing: over it at once.
                u64::from(at) + found.reach(&paging, LinearAddr(at))
            }
        };
        match u32::try_from(next) {
            Ok(next) => at = next,
            Err(_) => break,
        }
    }
}

fn usage(target: &Target<'_>, books: &Books<'_>, paging: Paging, area: &Area) -> proc_smaps::Usage {
    let mut sums = Sums::default();
    add(&mut sums, target, books, paging, area);
    sums.usage()
}

/// `/proc/PID/smaps_rollup`.
pub(super) fn rollup_text(target: &Target<'_>, pid: u32) -> Result<Vec<u8>> {
    let books = Books::of(target)?;
    let paging = super::paging(target, 0, Some(pid))?;
    let (mut sums, mut range) = (Sums::default(), None);
    if with_memory(&books, pid)? {
        for area in areas_of(&books, pid)? {
            add(&mut sums, target, &books, paging, &area);
            range = Some((range.map_or(area.vma.start, |(start, _)| start), area.vma.end));
        }
        let (start, end) = range.unwrap_or((0, 0));
        return Ok(render(|out| proc_smaps::rollup(out, start, end, &sums.usage())));
    }
    Ok(Vec::new())
}

fn with_memory(books: &Books<'_>, pid: u32) -> Result<bool> {
    Ok(process::with_mm(books, pid)?.1.is_some())
}

fn usages(target: &Target<'_>, books: &Books<'_>, pid: u32) -> Result<Vec<(Area, proc_smaps::Usage)>> {
    let paging = super::paging(target, 0, Some(pid))?;
    let areas = areas_of(books, pid)?;
    Ok(areas
        .into_iter()
        .map(|area| (usage(target, books, paging, &area), area))
        .map(|(usage, area)| (area, usage))
        .collect())
}

/// `/proc/PID/smaps`.
pub fn smaps(target: &Target<'_>, pid: u32) -> Result<Answer> {
    let books = Books::of(target)?;
    let rows = usages(target, &books, pid)?;
    let text = render(|out| {
        for (area, usage) in &rows {
            area.line(out);
            proc_smaps::block(out, area.kb(), area.vma.flags, usage);
        }
    });
    let json: Vec<_> = rows
        .iter()
        .map(|(area, usage)| {
            let mut row = area.json();
            row["size_kb"] = area.kb().into();
            row["rss_kb"] = usage.rss.into();
            row["pss_kb"] = usage.pss.into();
            row["shared_clean_kb"] = usage.shared_clean.into();
            row["shared_dirty_kb"] = usage.shared_dirty.into();
            row["private_clean_kb"] = usage.private_clean.into();
            row["private_dirty_kb"] = usage.private_dirty.into();
            row["referenced_kb"] = usage.referenced.into();
            row["anonymous_kb"] = usage.anonymous.into();
            row["shared_hugetlb_kb"] = usage.shared_hugetlb.into();
            row["private_hugetlb_kb"] = usage.private_hugetlb.into();
            row
        })
        .collect();
    Ok(Answer::new(text, json))
}

/// `pmap PID` and `pmap -x PID`.
pub fn pmap(target: &Target<'_>, pid: u32, extended: bool) -> Result<Answer> {
    let books = Books::of(target)?;
    let (task, _) = process::with_mm(&books, pid)?;
    let rows = usages(target, &books, pid)?;
    let mut text = process::pmap_head(&books, target, &task)?;
    let total = |part: fn(&(Area, proc_smaps::Usage)) -> u32| rows.iter().map(part).fold(0, u32::saturating_add);
    let size = total(|(area, _)| area.kb());
    text.extend(render(|out| {
        if extended {
            out.bytes(b"Address   Kbytes     RSS   Dirty Mode  Mapping\n");
        }
        for (area, usage) in &rows {
            let mode = perms(area.vma.flags).replace('p', "-") + "-";
            let dirty = usage.shared_dirty + usage.private_dirty;
            match extended {
                true => out!(out, "{:08x} {:7} {:7} {dirty:7} {mode} ", area.vma.start, area.kb(), usage.rss),
                false => out!(out, "{:08x} {:6}K {mode} ", area.vma.start, area.kb()),
            }
            out.bytes(&short_name(area));
            out.bytes(b"\n");
        }
        match extended {
            true => {
                let (rss, dirty) = (total(|(_, u)| u.rss), total(|(_, u)| u.shared_dirty + u.private_dirty));
                out.bytes(b"-------- ------- ------- ------- \n");
                out!(out, "total kB {size:7} {rss:7} {dirty:7}\n");
            }
            false => out!(out, " total {size:8}K\n"),
        }
    }));
    let json: Vec<_> = rows
        .iter()
        .map(|(area, usage)| {
            json!({
                "start": area.vma.start, "size_kb": area.kb(), "rss_kb": usage.rss,
                "dirty_kb": usage.shared_dirty + usage.private_dirty, "perms": perms(area.vma.flags),
                "mapping": super::lossy(&short_name(area)),
            })
        })
        .collect();
    Ok(Answer::new(text, json))
}

/// The name as `pmap` shows it: the last part of a path, and words for the rest.
fn short_name(area: &Area) -> Vec<u8> {
    match area.name.as_deref() {
        None => b"  [ anon ]".to_vec(),
        Some(b"[stack]") => b"  [ stack ]".to_vec(),
        Some(b"[heap]") => b"  [ anon ]".to_vec(),
        Some(path) => path.rsplit(|&b| b == b'/').next().unwrap_or(path).to_vec(),
    }
}
