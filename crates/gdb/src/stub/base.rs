//! Registers, memory, threads.

use std::convert::Infallible;

use cpu::CpuState;
use gdbstub::common::Tid;
use gdbstub::target::ext::base::multithread::{MultiThreadBase, MultiThreadResumeOps};
use gdbstub::target::ext::base::single_register_access::{SingleRegisterAccess, SingleRegisterAccessOps};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{TargetError, TargetResult};
use inspect::{Books, comm};
use x86::LinearAddr;

use super::{Stub, cpu_of, slice_into, tid};
use crate::arch::Bytes;
use crate::registers::Register;

impl Stub<'_> {
    fn cpu(&self, tid: Tid) -> TargetResult<usize, Self> {
        cpu_of(tid, self.machine.cpu_count()).ok_or(TargetError::NonFatal)
    }

    /// The thread that a CPU runs, as the kernel's books have it; nothing before there are any.
    fn thread_on(&self, cpu: usize) -> Option<String> {
        let target = self.target();
        let books = Books::of(&target).ok()?;
        let number = u32::try_from(cpu).ok().filter(|&number| number < books.nr_cpus())?;
        let task = books.current(number).ok()?;
        let thread = if task.pid == task.tgid { String::new() } else { format!(" tid {}", task.pid) };
        Some(format!(" pid {}{thread} {}", task.tgid, comm(&task)))
    }

    fn change_registers(&mut self, cpu: usize, change: impl FnOnce(&mut CpuState) -> bool) -> TargetResult<(), Self> {
        let mut done = false;
        self.machine.change_cpu(cpu, |state| done = change(state));
        if done { Ok(()) } else { Err(TargetError::NonFatal) }
    }
}

impl MultiThreadBase for Stub<'_> {
    fn read_registers(&mut self, regs: &mut Bytes, tid: Tid) -> TargetResult<(), Self> {
        let state = self.machine.cpu(self.cpu(tid)?);
        regs.0 = Register::all().flat_map(|register| register.read(state)).collect();
        Ok(())
    }

    fn write_registers(&mut self, regs: &Bytes, tid: Tid) -> TargetResult<(), Self> {
        let cpu = self.cpu(tid)?;
        self.change_registers(cpu, |state| {
            let mut rest = &regs.0[..];
            Register::all().fold(true, |done, register| {
                let (bytes, after) = rest.split_at(register.size().min(rest.len()));
                rest = after;
                register.write(state, bytes) && done
            })
        })
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, start: u32, data: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        match self.read_memory(self.cpu(tid)?, start, data) {
            0 if !data.is_empty() => Err(TargetError::NonFatal),
            read => Ok(read),
        }
    }

    fn write_addrs(&mut self, start: u32, data: &[u8], tid: Tid) -> TargetResult<(), Self> {
        let reader = self.writer(self.cpu(tid)?, start).ok_or(TargetError::NonFatal)?;
        // Nothing is written unless all of it can be.
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < data.len() {
            let at = LinearAddr(start).wrapping_add(done as u32);
            let n = (data.len() - done).min((0x1000 - at.page_offset()) as usize);
            pieces.push((reader.translate(at).ok_or(TargetError::NonFatal)?, done..done + n));
            done += n;
        }
        for (phys, range) in pieces {
            self.machine.change_memory(phys, &data[range]);
        }
        Ok(())
    }

    fn list_active_threads(&mut self, is_active: &mut dyn FnMut(Tid)) -> Result<(), Infallible> {
        (0..self.machine.cpu_count()).for_each(|cpu| is_active(tid(cpu)));
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl SingleRegisterAccess<Tid> for Stub<'_> {
    fn read_register(&mut self, tid: Tid, register: Register, buf: &mut [u8]) -> TargetResult<usize, Self> {
        let bytes = register.read(self.machine.cpu(self.cpu(tid)?));
        buf.get_mut(..bytes.len()).ok_or(TargetError::NonFatal)?.copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write_register(&mut self, tid: Tid, register: Register, value: &[u8]) -> TargetResult<(), Self> {
        let cpu = self.cpu(tid)?;
        self.change_registers(cpu, |state| register.write(state, value))
    }
}

impl ThreadExtraInfo for Stub<'_> {
    /// `CPU#0 ring3 pid 7 sh cr3=0x01f3d000`.
    fn thread_extra_info(&self, tid: Tid, buf: &mut [u8]) -> Result<usize, Infallible> {
        let Some(cpu) = cpu_of(tid, self.machine.cpu_count()) else { return Ok(0) };
        let state = self.machine.cpu(cpu);
        let process = self.thread_on(cpu).unwrap_or_default();
        let text = format!("CPU#{cpu} ring{}{process} cr3={:#010x}", state.cpl, state.cr3);
        Ok(slice_into(text.as_bytes(), 0, text.len(), buf))
    }
}
