//! What the CPU keeps of each thread, and the switch from one to another.
#![allow(unsafe_code)]

use alloc::boxed::Box;

use x86::Descriptor;

use super::{
    THREAD_SIZE,
    fpu::FpuState,
    gdt::{self, GDT_ENTRY_TLS_ENTRIES},
    ptregs::PtRegs,
};
use crate::mm::highmem::KmapState;

/// `thread_struct`: the part of a task that belongs to the processor.
pub struct ThreadStruct {
    /// Kernel stack pointer while the thread does not run.
    sp: u32,
    /// Top of the kernel stack.
    sp0: u32,
    /// Thread-local segment descriptors, GDT entries 6 to 8.
    pub tls: [Descriptor; GDT_ENTRY_TLS_ENTRIES],
    /// Address of the last page fault that became a signal.
    pub cr2: u32,
    /// Vector of the last exception that became a signal.
    pub trap_nr: u32,
    /// Its error code.
    pub error_code: u32,
    /// Floating-point registers while the thread does not run; `None` in kernel threads
    /// that never enter ring 3.
    pub fpu: Option<Box<FpuState>>,
    /// Frames of high memory that the kernel has mapped for the thread.
    kmap: KmapState,
}

/// What `__switch_to_asm` pops, and where it returns to.
#[repr(C)]
struct SwitchFrame {
    esi: u32,
    edi: u32,
    ebx: u32,
    ebp: u32,
    ret: u32,
}

unsafe extern "C" {
    fn __switch_to_asm(save_sp: *mut u32, next_sp: u32);
    static ret_from_fork: u8;
}

/// The user registers of the thread whose kernel stack begins at `stack`.
pub fn task_pt_regs(stack: u32) -> *mut PtRegs {
    (stack + THREAD_SIZE - size_of::<PtRegs>() as u32) as *mut PtRegs
}

impl ThreadStruct {
    /// The thread that is running now, on the stack at `stack`.
    pub fn boot(stack: u32) -> Self {
        ThreadStruct {
            sp: 0,
            sp0: stack + THREAD_SIZE,
            tls: [Descriptor(0); 3],
            cr2: 0,
            trap_nr: 0,
            error_code: 0,
            fpu: None,
            kmap: KmapState::EMPTY,
        }
    }

    /// A thread that begins with `func(arg)` in the kernel. When `func` returns, the thread
    /// enters ring 3 with `task_pt_regs(stack)`, which `func` must have filled.
    ///
    /// # Safety
    /// `stack` is the lowest address of `THREAD_SIZE` bytes that nobody else uses.
    pub unsafe fn kernel_thread(stack: u32, func: extern "C" fn(u32), arg: u32) -> Self {
        let mut thread = Self::boot(stack);
        thread.fpu = Some(FpuState::boxed());
        // SAFETY: by the caller.
        unsafe { thread.prepare(stack, &PtRegs::default(), func as usize as u32, arg) };
        thread
    }

    /// A copy of the running thread that begins by returning to ring 3 with `regs`. EAX of
    /// the child is 0.
    ///
    /// # Safety
    /// As for [`Self::kernel_thread`]; `self` is the running thread.
    pub unsafe fn fork(&self, stack: u32, regs: &PtRegs) -> Self {
        let mut thread = Self::boot(stack);
        thread.tls = self.tls;
        let mut fpu = FpuState::boxed();
        if self.fpu.is_some() {
            fpu.save();
        }
        thread.fpu = Some(fpu);
        // SAFETY: by the caller.
        unsafe { thread.prepare(stack, &PtRegs { eax: 0, ..*regs }, 0, 0) };
        thread
    }

    /// # Safety
    /// As for [`Self::kernel_thread`].
    unsafe fn prepare(&mut self, stack: u32, regs: &PtRegs, func: u32, arg: u32) {
        let at = task_pt_regs(stack);
        let frame = (at as u32 - size_of::<SwitchFrame>() as u32) as *mut SwitchFrame;
        let ret = (&raw const ret_from_fork) as u32;
        // SAFETY: both lie inside the stack.
        unsafe {
            at.write(*regs);
            frame.write(SwitchFrame { esi: arg, edi: 0, ebx: func, ebp: 0, ret });
        }
        self.sp = frame as u32;
    }

    /// Forgets the floating-point registers and thread-local segments, for a new program.
    /// `self` is the running thread.
    pub fn flush(&mut self) {
        self.fpu.insert(FpuState::boxed()).restore();
        self.set_tls_all([Descriptor(0); 3]);
    }

    /// Replaces all three thread-local descriptors of the running thread.
    pub fn set_tls_all(&mut self, tls: [Descriptor; GDT_ENTRY_TLS_ENTRIES]) {
        self.tls = tls;
        gdt::load_tls(&tls);
    }

    /// Whether it must go on where it stopped, because it has slots of that CPU
    /// (`migrate_disable`).
    pub fn is_bound_to_cpu(&self) -> bool {
        self.kmap.depth() != 0
    }

    /// The stack pointer that was saved when the thread last gave up the CPU.
    pub fn saved_sp(&self) -> u32 {
        self.sp
    }
}

/// Gives the CPU from `prev` to `next`; returns when somebody gives it back. The address
/// space is the caller's business.
///
/// # Safety
/// `prev` is the running thread, `next` one that does not run; both stay where they are;
/// interrupts are off.
pub unsafe fn switch_to(prev: *mut ThreadStruct, next: *mut ThreadStruct) {
    // SAFETY: by the caller.
    unsafe {
        if let Some(fpu) = &mut (*prev).fpu {
            fpu.save();
        }
        (*prev).kmap.sched_out();
        (*next).kmap.sched_in();
        gdt::set_kernel_stack((*next).sp0);
        if (*prev).tls != (*next).tls {
            gdt::load_tls(&(*next).tls);
        }
        if let Some(fpu) = &(*next).fpu {
            fpu.restore();
        }
        __switch_to_asm(&raw mut (*prev).sp, (*next).sp);
    }
}

/// The first Rust code of a new thread.
#[unsafe(no_mangle)]
extern "C" fn ret_from_fork_body(func: u32, arg: u32) {
    crate::task::sched::schedule_tail();
    if func != 0 {
        // SAFETY: `prepare` put a function of this type there.
        let func: extern "C" fn(u32) = unsafe { core::mem::transmute(func as usize) };
        func(arg);
    }
}
