//! A channel: its drives, the request under way, its interrupts and errors.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

use abi::errno::{EIO, Result};

use super::{
    DRIVER, interrupt,
    pio::{Command, Drive, register, status},
};
use crate::{
    block::{
        genhd,
        queue::{Driver, Op, Queue, Request},
    },
    drivers::{irq, resource},
    pr_hw, pr_info,
    sync::{Once, SpinLock},
    task::softirq,
    time::ktime_get_ns,
};

/// How long a command may take (`sd`'s timeout).
const TIMEOUT_NS: u64 = 30_000_000_000;
/// Largest block of the multiple commands that is used: a page and more.
const MAX_MULTIPLE: u8 = 16;

/// The request under way.
#[derive(Clone, Copy)]
struct Active {
    request: Request,
    command: Command,
    /// Sectors that have been moved.
    done: u32,
    deadline_ns: u64,
}

/// A channel.
pub struct Port {
    number: u32,
    /// First port of the command block.
    pub(super) base: u16,
    /// The port of the control block.
    pub(super) control: u16,
    irq: u8,
    drives: SpinLock<[Option<Drive>; 2]>,
    queue: Once<Queue>,
    active: SpinLock<Option<Active>>,
    /// An interrupt came, with this status.
    pub(super) interrupted: AtomicBool,
    status: AtomicU8,
    /// The request under way has had its time.
    overdue: AtomicBool,
    /// When it has, in units of 2^30 ns; 0 without one. For the tick, which takes no locks.
    deadline: AtomicU32,
}

impl Port {
    pub(super) const fn new(number: u32, base: u16, control: u16, irq: u8) -> Self {
        Port {
            number,
            base,
            control,
            irq,
            drives: SpinLock::new([None; 2]),
            queue: Once::new(),
            active: SpinLock::new(None),
            interrupted: AtomicBool::new(false),
            status: AtomicU8::new(0),
            overdue: AtomicBool::new(false),
            deadline: AtomicU32::new(0),
        }
    }

    /// Finds the drives. The ports are the channel's only if it has some.
    #[cold]
    #[inline(never)]
    pub(super) fn probe(&'static self) {
        let ports = [(self.base, 8), (self.control, 1)];
        let claimed: Vec<_> = ports
            .into_iter()
            .take_while(|&(first, len)| resource::request_region(first, len, DRIVER).is_ok())
            .collect();
        let release = || claimed.iter().for_each(|&(first, len)| resource::release_region(first, len));
        // Lines that nothing drives read as ones.
        if claimed.len() < ports.len() || self.alternate_status() == 0xff {
            return release();
        }
        self.set_interrupts(false);
        let found: Vec<_> = [0, 1].into_iter().filter_map(|unit| Some((unit, self.identify(unit)?))).collect();
        if found.is_empty() {
            return release();
        }
        pr_hw!("ata{}: PATA max PIO4 cmd {:#x} ctl {:#x} irq {}", self.number, self.base, self.control, self.irq);
        for (unit, identity) in &found {
            let multiple = match identity.max_multiple {
                0 | 1 => 0,
                max => self.set_multiple(*unit, 1 << max.min(MAX_MULTIPLE).ilog2()),
            };
            let name = (self.number, unit);
            pr_hw!(
                "ata{}.{:02}: ATA-{}: {}, {}, max PIO4",
                name.0,
                name.1,
                identity.version,
                identity.model,
                identity.firmware
            );
            let lba = if identity.lba48 { "LBA48" } else { "LBA" };
            pr_hw!("ata{}.{:02}: {} sectors, multi {multiple}: {lba}", name.0, name.1, identity.sectors);
            self.drives.lock()[usize::from(*unit)] =
                Some(Drive { lba48: identity.lba48, multiple, flushes: identity.flushes });
        }
        if irq::request_irq(self.irq, DRIVER, interrupt, self.number as usize - 1).is_err() {
            pr_info!("ata{}: irq {} is taken", self.number, self.irq);
            return release();
        }
        self.get(register::STATUS);
        self.set_interrupts(true);
        let queue = self.make_queue();
        for (unit, identity) in found {
            genhd::add_disk(queue, unit, identity.sectors);
        }
    }

    /// By itself: a queue is large, and is not yet in its place while it is made.
    #[inline(never)]
    fn make_queue(&'static self) -> &'static Queue {
        self.queue.set(Queue::new(self))
    }

    /// Called by the interrupt handler.
    pub(super) fn note_interrupt(&self) {
        if self.alternate_status() & status::BSY != 0 {
            return;
        }
        self.status.store(self.get(register::STATUS), Relaxed);
        self.interrupted.store(true, Relaxed);
        softirq::raise(softirq::BLOCK);
    }

    /// Called by the tick.
    pub(super) fn tick(&self, now_ns: u64) {
        let deadline = self.deadline.load(Relaxed);
        if deadline != 0 && (now_ns >> 30) as u32 > deadline {
            self.overdue.store(true, Relaxed);
            self.interrupted.store(true, Relaxed);
            softirq::raise(softirq::BLOCK);
        }
    }

    /// Goes on with the request under way.
    pub(super) fn handle_interrupt(&self) {
        let Some(active) = *self.active.lock() else { return };
        let mut status = self.status.load(Relaxed);
        if self.overdue.swap(false, Relaxed) {
            if ktime_get_ns() < active.deadline_ns {
                return;
            }
            status = self.alternate_status();
            pr_info!("ata{}: lost interrupt (Status {status:#x})", self.number);
            if status & status::BSY != 0 {
                self.soft_reset();
                return self.end(Err(EIO));
            }
        }
        if status & (status::ERR | status::DF) != 0 {
            self.report(&active, status);
            return self.end(Err(EIO));
        }
        let Some(segment) = active.request.segment else { return self.end(Ok(())) };
        let mut done = active.done;
        let block = active.command.block.min(segment.sectors - done);
        match active.request.op {
            Op::Read if status & status::DRQ != 0 => {
                self.read_block(&segment, done, block);
                done += block;
            }
            Op::Write if done < segment.sectors && status & status::DRQ != 0 => {
                self.write_block(&segment, done, block);
                done += block;
            }
            Op::Write if done == segment.sectors => return self.end(Ok(())),
            // The drive has nothing to say yet, or stops halfway.
            _ if status & status::BSY != 0 => return,
            _ => {
                self.report(&active, status);
                return self.end(Err(EIO));
            }
        }
        if active.request.op == Op::Read && done == segment.sectors {
            return self.end(Ok(()));
        }
        self.set_active(Some(Active { done, ..active }));
    }

    fn set_active(&self, active: Option<Active>) {
        self.deadline.store(active.map_or(0, |active| (active.deadline_ns >> 30) as u32 + 1), Relaxed);
        *self.active.lock() = active;
    }

    fn end(&self, result: Result<()>) {
        self.set_active(None);
        self.queue.get().complete(result);
    }

    /// The lines that libata's error handler prints.
    fn report(&self, active: &Active, status: u8) {
        let error = self.get(register::ERROR);
        let name = (self.number, active.request.unit);
        pr_info!("ata{}.{:02}: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x0", name.0, name.1);
        pr_info!("ata{}.{:02}: failed command: {}", name.0, name.1, command_name(active.command.code));
        let bits = |bits: &[(u8, &'static str)], value: u8| -> Vec<&'static str> {
            bits.iter().filter(|&&(bit, _)| value & bit != 0).map(|&(_, text)| text).collect()
        };
        const STATUS: [(u8, &str); 4] =
            [(status::BSY, "Busy"), (status::DRDY, "DRDY"), (status::DF, "DF"), (status::ERR, "ERR")];
        pr_info!("ata{}.{:02}: status: {{ {} }}", name.0, name.1, bits(&STATUS, status).join(" "));
        const ERROR: [(u8, &str); 4] = [(0x80, "ICRC"), (0x40, "UNC"), (0x10, "IDNF"), (0x04, "ABRT")];
        let errors = bits(&ERROR, error);
        if !errors.is_empty() {
            pr_info!("ata{}.{:02}: error: {{ {} }}", name.0, name.1, errors.join(" "));
        }
    }
}

impl Driver for Port {
    fn start(&self, request: Request) {
        let drive = self.drives.lock()[usize::from(request.unit)];
        let Some(drive) = drive else { return self.queue.get().complete(Err(EIO)) };
        if request.op == Op::Flush && !drive.flushes {
            return self.queue.get().complete(Ok(()));
        }
        let command = drive.command_for(&request);
        let active = Active { request, command, done: 0, deadline_ns: ktime_get_ns() + TIMEOUT_NS };
        self.set_active(Some(active));
        if !self.issue(&request, command) {
            pr_info!("ata{}: drive {} is not ready", self.number, request.unit);
            self.soft_reset();
            return self.end(Err(EIO));
        }
        if let (Op::Write, Some(segment)) = (request.op, request.segment) {
            let status = self.wait_for_request().unwrap_or(status::BSY);
            if status & status::DRQ == 0 {
                self.report(&active, status);
                return self.end(Err(EIO));
            }
            let block = command.block.min(segment.sectors);
            // Before the last word, after which the interrupt may come.
            self.set_active(Some(Active { done: block, ..active }));
            self.write_block(&segment, 0, block);
        }
    }
}

fn command_name(code: u8) -> &'static str {
    match code {
        0x20 => "READ SECTOR(S)",
        0x24 => "READ SECTOR(S) EXT",
        0xc4 => "READ MULTIPLE",
        0x29 => "READ MULTIPLE EXT",
        0x30 => "WRITE SECTOR(S)",
        0x34 => "WRITE SECTOR(S) EXT",
        0xc5 => "WRITE MULTIPLE",
        0x39 => "WRITE MULTIPLE EXT",
        0xe7 => "FLUSH CACHE",
        _ => "FLUSH CACHE EXT",
    }
}
