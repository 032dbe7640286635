//! Who made the areas of a process.

use std::collections::BTreeMap;

use abi::books::{VmaRecord, vm};
use cpu::CpuState;

use super::calls;
use crate::{Books, Reader, Target};

/// What made a range of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    start: u32,
    end: u32,
    by: String,
}

/// Ranges with their origin, by process.
#[derive(Default)]
pub struct Origins {
    processes: BTreeMap<u32, Process>,
}

#[derive(Default)]
struct Process {
    made: Vec<Made>,
    /// The page directory that they are of: `execve` begins with another.
    directory: u32,
    /// The last system call that may have changed the areas.
    call: Option<String>,
}

/// A process as the books have it now.
struct Now {
    pid: u32,
    parent: u32,
    directory: u32,
    areas: Vec<Area>,
}

/// An area, and whether it grows by itself.
#[derive(Clone, Copy)]
struct Area {
    start: u32,
    end: u32,
    grows_down: bool,
}

impl Origins {
    /// A thread is at the kernel's entry for a system call.
    pub fn system_call(&mut self, target: &Target<'_>, thread: u32, state: &CpuState) {
        let Some(call) = calls::changing_areas(state, Reader::new(target.mem, state.paging())) else { return };
        self.look(target, thread);
        let process = self.processes.entry(process_of(target, thread)).or_default();
        process.call = Some(format!("{call} at instruction {}", state.retired));
    }

    /// Compares the areas of the thread's process with those of the last look: what is new was
    /// made by the system call in between.
    pub fn look(&mut self, target: &Target<'_>, thread: u32) {
        let Some(now) = Now::of(target, thread) else { return };
        let known = self.processes.contains_key(&now.pid);
        let inherited = self.processes.get(&now.parent).map(|parent| parent.made.clone());
        let process = self.processes.entry(now.pid).or_default();
        if !known && let Some(made) = inherited {
            process.made = made;
        } else if process.directory != now.directory {
            process.made.clear();
        }
        process.directory = now.directory;
        process.made = renewed(&process.made, &now.areas, process.call.as_deref());
    }

    /// What made the range that holds an address, if it was seen.
    pub fn of(&self, target: &Target<'_>, thread: u32, addr: u32) -> Option<&str> {
        let process = self.processes.get(&process_of(target, thread))?;
        let made = process.made.iter().find(|made| (made.start..made.end).contains(&addr))?;
        Some(made.by.as_str()).filter(|by| !by.is_empty())
    }
}

/// Cuts what was known to the areas that are still there, and gives what is new to `by`: but
/// what a stack has grown by belongs to the stack's maker.
fn renewed(known: &[Made], areas: &[Area], by: Option<&str>) -> Vec<Made> {
    let mut made = Vec::new();
    for &Area { start, end, grows_down } in areas {
        let mut at = start;
        let mut parts: Vec<&Made> = known.iter().filter(|old| old.start < end && old.end > start).collect();
        parts.sort_by_key(|old| old.start);
        for old in parts {
            let (from, to) = (old.start.max(at), old.end.min(end));
            if at < from {
                let by = if grows_down { &old.by } else { by.unwrap_or_default() };
                made.push(Made { start: at, end: from, by: by.to_owned() });
            }
            if from < to {
                made.push(Made { start: from, end: to, by: old.by.clone() });
                at = to;
            }
        }
        if at < end {
            made.push(Made { start: at, end, by: by.unwrap_or_default().to_owned() });
        }
    }
    made
}

fn process_of(target: &Target<'_>, thread: u32) -> u32 {
    Books::of(target).and_then(|books| books.task(thread)).map_or(thread, |task| task.tgid)
}

impl Now {
    fn of(target: &Target<'_>, thread: u32) -> Option<Self> {
        let books = Books::of(target).ok()?;
        let task = books.task(thread).ok()?;
        let mm = books.mm(&task).ok()??;
        let area =
            |vma: &VmaRecord| Area { start: vma.start, end: vma.end, grows_down: vma.flags & vm::GROWSDOWN != 0 };
        let areas = books.vmas(&mm).ok()?.iter().map(area).collect();
        Some(Now { pid: task.tgid, parent: task.ppid, directory: mm.pgd, areas })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(start: u32, end: u32, by: &str) -> Made {
        Made { start, end, by: by.to_owned() }
    }

    fn area(start: u32, end: u32) -> Area {
        Area { start, end, grows_down: false }
    }

    #[test]
    fn what_is_new_belongs_to_the_call_and_what_is_gone_is_forgotten() {
        let known = [made(0x1000, 0x3000, "a"), made(0x8000, 0x9000, "b")];
        let now = renewed(&known, &[area(0x2000, 0x5000), area(0x7000, 0x8000)], Some("c"));
        assert_eq!(now, [made(0x2000, 0x3000, "a"), made(0x3000, 0x5000, "c"), made(0x7000, 0x8000, "c")]);
    }

    #[test]
    fn a_stack_that_grows_down_keeps_its_maker() {
        let stack = Area { start: 0x4000, end: 0x6000, grows_down: true };
        let now = renewed(&[made(0x5000, 0x6000, "exec")], &[stack], Some("brk"));
        assert_eq!(now, [made(0x4000, 0x5000, "exec"), made(0x5000, 0x6000, "exec")]);
    }
}
