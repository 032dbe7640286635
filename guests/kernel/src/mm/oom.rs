//! When nothing is left: somebody is killed.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use abi::books::MmRecord;

use super::{PAGE_SIZE, gfp::GFP_HIGHUSER_MOVABLE, mm_struct::MmStruct, show_mem::show_mem, vmstat};
use crate::{
    lib::oops,
    pr_info,
    task::{self, sched},
};

/// How often an allocation is tried while others are killed for it.
const ATTEMPTS: u32 = 64;

/// A process that could be killed.
pub struct Candidate<'a> {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub comm: &'a str,
    /// Its owner.
    pub uid: u32,
    /// Its address space.
    pub mm: &'a MmStruct,
    /// `SIGKILL` has been sent, or it is exiting.
    pub dying: bool,
    /// `oom_score_adj`, −1000 (never) to 1000.
    pub oom_score_adj: i32,
}

/// The largest process so far.
struct Victim {
    pid: u32,
    points: i64,
}

/// `out_of_memory`: kills the process that would free most. While one is on its way out,
/// nobody else is killed.
pub fn out_of_memory() {
    let (mut best, mut dying) = (Victim { pid: 0, points: i64::MIN }, false);
    let managed = i64::from(super::page_alloc::totals().managed);
    task::for_each_process(&mut |candidate| {
        dying |= candidate.dying;
        if candidate.pid <= 1 || candidate.oom_score_adj <= -1000 {
            return;
        }
        let pages = points(&candidate.mm.peek());
        let points = i64::from(pages) + i64::from(candidate.oom_score_adj) * managed / 1000;
        if points > best.points {
            best = Victim { pid: candidate.pid, points };
        }
    });
    if dying {
        sched::schedule();
        return;
    }
    if best.points == i64::MIN {
        crate::lib::panic::end(format_args!("System is deadlocked on memory"));
    }
    let (_, invoker) = task::pid_and_comm();
    let gfp = GFP_HIGHUSER_MOVABLE.bits();
    pr_info!("{invoker} invoked oom-killer: gfp_mask={gfp:#x}(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0");
    oops::dump_stack();
    show_mem();
    dump_tasks();
    task::for_each_process(&mut |candidate| {
        if candidate.pid == best.pid {
            report(&candidate);
        }
    });
    vmstat::count(vmstat::Item::oom_kill);
    task::kill_process(best.pid);
}

/// `oom_badness`: what its end would free, in pages.
fn points(mm: &MmRecord) -> u32 {
    mm.rss_anon + mm.rss_file + mm.rss_shmem + mm.swapents + mm.pgtables_bytes / PAGE_SIZE
}

/// `dump_tasks`.
fn dump_tasks() {
    pr_info!("Tasks state (memory values in pages):");
    pr_info!("[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name");
    // Init cannot be killed, and is no part of the question.
    task::for_each_process(&mut |task| {
        if task.pid <= 1 {
            return;
        }
        let mm = task.mm.peek();
        pr_info!(
            "[{:7}] {:5} {:5} {:8} {:8} {:8} {:8}         {:5} {}",
            task.pid,
            task.uid,
            task.pid,
            mm.total_vm,
            mm.rss_anon + mm.rss_file + mm.rss_shmem,
            mm.pgtables_bytes,
            mm.swapents,
            task.oom_score_adj,
            task.comm
        );
    });
}

fn report(victim: &Candidate) {
    let r = victim.mm.peek();
    pr_info!(
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,\
         task={},pid={},uid={}",
        victim.comm,
        victim.pid,
        victim.uid
    );
    let kb = |pages: u32| pages * (PAGE_SIZE / 1024);
    pr_info!(
        "Out of memory: Killed process {} ({}) total-vm:{}kB, anon-rss:{}kB, file-rss:{}kB, shmem-rss:{}kB, UID:{} \
         pgtables:{}kB oom_score_adj:{}",
        victim.pid,
        victim.comm,
        kb(r.total_vm),
        kb(r.rss_anon),
        kb(r.rss_file),
        kb(r.rss_shmem),
        victim.uid,
        r.pgtables_bytes / 1024,
        victim.oom_score_adj
    );
}

/// Tries, and if there is no memory kills somebody, lets others run, and tries again, a few
/// times. For allocations on behalf of a program outside of page faults.
pub fn retry<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..ATTEMPTS {
        if let Some(value) = attempt() {
            return Some(value);
        }
        out_of_memory();
        if task::signal::fatal_pending() {
            return None;
        }
        sched::schedule();
    }
    None
}

/// The kernel's own structures have eaten into the reserve below a min mark.
static RESERVE_TOUCHED: AtomicBool = AtomicBool::new(false);

/// Called when an allocation of the kernel, which cannot wait for anybody's end, took from
/// the last reserve.
pub fn note_reserve_touched() {
    RESERVE_TOUCHED.store(true, Relaxed);
}

/// Before a return to ring 3: if the kernel has been short of memory, something goes.
pub fn check_reserve() {
    if RESERVE_TOUCHED.load(Relaxed) && RESERVE_TOUCHED.swap(false, Relaxed) {
        super::vmscan::refill_reserve();
    }
}
