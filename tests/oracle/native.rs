//! The host's own processor, in a 32-bit code segment.
//!
//! A breakpoint in our code raises SIGTRAP; its handler replaces the interrupted context by
//! that of the instruction under test, with CS 0x23 and the trap flag. One instruction later there
//! is another signal, whose handler keeps what it finds and puts the first context back.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    ffi::{c_int, c_void},
    ptr,
    sync::{Mutex, MutexGuard},
};

use super::state::{CODE, DATA, DATA_LEN, DATA_PAGES, End, Outcome, State};

/// Linux's selectors of flat 32-bit segments for user code.
const CODE32: i64 = 0x23;
const DATA32: i64 = 0x2b;
const TF: u32 = 0x100;
/// Bytes of the FXSAVE area, which begins the signal frame's floating-point state.
const FXSAVE: usize = 512;
/// In the header behind it: x87 and SSE state are present.
const X87_AND_SSE: u64 = 3;

type Gregs = [i64; 23];

/// Where the handler is: it does one thing at each signal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Enter,
    Guest,
}

struct Exchange {
    phase: Phase,
    thread: i64,
    host_gregs: Gregs,
    host_fx: [u8; FXSAVE],
    gregs: Gregs,
    fx: [u8; FXSAVE],
}

struct Shared(UnsafeCell<Exchange>);

// SAFETY: only the thread that holds `OWNER` and the handler on that very thread touch it.
unsafe impl Sync for Shared {}

static EXCHANGE: Shared = Shared(UnsafeCell::new(Exchange {
    phase: Phase::Idle,
    thread: 0,
    host_gregs: [0; 23],
    host_fx: [0; FXSAVE],
    gregs: [0; 23],
    fx: [0; FXSAVE],
}));

static OWNER: Mutex<()> = Mutex::new(());

/// Where the general-purpose registers are in a signal frame, by their encoding.
const GPR_SLOTS: [usize; 8] = [
    libc::REG_RAX as usize,
    libc::REG_RCX as usize,
    libc::REG_RDX as usize,
    libc::REG_RBX as usize,
    libc::REG_RSP as usize,
    libc::REG_RBP as usize,
    libc::REG_RSI as usize,
    libc::REG_RDI as usize,
];
const SIGNALS: [c_int; 5] = [libc::SIGTRAP, libc::SIGSEGV, libc::SIGFPE, libc::SIGILL, libc::SIGBUS];

/// The host's processor, lent to one thread.
pub struct Native {
    code: *mut u8,
    data: *mut u8,
    old_actions: Vec<libc::sigaction>,
    stack: Vec<u8>,
    _owner: MutexGuard<'static, ()>,
}

impl Native {
    /// Maps code and data where both processors see them; `None` if the host does not let us.
    pub fn new() -> Option<Native> {
        let owner = OWNER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let code = map_twice(CODE, 4096, &[libc::PROT_READ | libc::PROT_EXEC])?;
        let mut rights = [libc::PROT_READ | libc::PROT_WRITE; DATA_PAGES as usize];
        rights[DATA_PAGES as usize - 1] = libc::PROT_READ;
        let data = map_twice(DATA, DATA_LEN, &rights)?;
        // What follows the instruction stops whoever gets there.
        // SAFETY: the page was just mapped.
        unsafe { ptr::write_bytes(code, 0xcc, 4096) };
        let mut native = Native { code, data, old_actions: Vec::new(), stack: vec![0; 1 << 16], _owner: owner };
        native.install();
        Some(native)
    }

    fn install(&mut self) {
        // SAFETY: the stack lives as long as `self`, and `drop` takes it away; the handler obeys the rules
        // of handlers: it allocates nothing and calls only `gettid` and `sigaction`.
        unsafe {
            let stack = libc::stack_t { ss_sp: self.stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: self.stack.len() };
            libc::sigaltstack(&stack, ptr::null_mut());
            (*EXCHANGE.0.get()).thread = libc::syscall(libc::SYS_gettid);
            for signal in SIGNALS {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handler as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                let mut old: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &action, &mut old);
                self.old_actions.push(old);
            }
            // Ignored by 64-bit code, needed by 32-bit code.
            std::arch::asm!("mov ds, {0:e}", "mov es, {0:e}", in(reg) DATA32 as u32, options(nostack, preserves_flags));
        }
    }

    /// Executes one instruction from `state` and `data`.
    pub fn run(&mut self, instruction: &[u8], state: &State, data: &[u8]) -> Outcome {
        // SAFETY: the mappings are ours and large enough; the exchange is ours while we hold `OWNER`;
        // the breakpoint comes back with every register as it was, after the handler's second visit.
        unsafe {
            ptr::write_bytes(self.code, 0xcc, 32);
            ptr::copy_nonoverlapping(instruction.as_ptr(), self.code, instruction.len());
            ptr::copy_nonoverlapping(data.as_ptr(), self.data, DATA_LEN);
            let exchange = EXCHANGE.0.get();
            (*exchange).gregs = to_gregs(state);
            (*exchange).fx = to_fx(state);
            (*exchange).phase = Phase::Enter;
            std::arch::asm!("int3");
            assert!((*exchange).phase == Phase::Idle, "the handler has run twice");
            let mut after = vec![0; DATA_LEN];
            ptr::copy_nonoverlapping(self.data, after.as_mut_ptr(), DATA_LEN);
            let (gregs, fx) = (&(*exchange).gregs, &(*exchange).fx);
            Outcome { end: end(gregs), state: of_frame(gregs, fx), data: after }
        }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: puts back what `install` replaced, and unmaps what `new` mapped.
        unsafe {
            for (signal, old) in SIGNALS.into_iter().zip(&self.old_actions) {
                libc::sigaction(signal, old, ptr::null_mut());
            }
            let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
            libc::sigaltstack(&none, ptr::null_mut());
            std::arch::asm!("mov ds, {0:e}", "mov es, {0:e}", in(reg) 0, options(nostack, preserves_flags));
            libc::munmap(CODE as usize as *mut c_void, 4096);
            libc::munmap(DATA as usize as *mut c_void, DATA_LEN);
            libc::munmap(self.code.cast(), 4096);
            libc::munmap(self.data.cast(), DATA_LEN);
        }
    }
}

/// The same memory at `addr`, with these rights a page, and somewhere else, writable; the latter is returned.
fn map_twice(addr: u32, len: usize, rights: &[c_int]) -> Option<*mut u8> {
    // SAFETY: fresh mappings that replace none.
    unsafe {
        let file = libc::memfd_create(c"oracle".as_ptr(), 0);
        if file < 0 || libc::ftruncate(file, len as i64) != 0 {
            return None;
        }
        // Present from the start, so that faults tell of rights.
        let fixed = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE | libc::MAP_POPULATE;
        for (page, &rights) in rights.iter().enumerate() {
            let at = addr as usize + page * 4096;
            let mapped = libc::mmap(at as *mut c_void, 4096, rights, fixed, file, (page * 4096) as i64);
            if mapped as usize != at {
                return None;
            }
        }
        let alias = libc::mmap(ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file, 0);
        libc::close(file);
        (alias != libc::MAP_FAILED).then_some(alias.cast())
    }
}

extern "C" fn handler(signal: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a valid context; the exchange is this thread's, or else is not touched.
    unsafe {
        let exchange = EXCHANGE.0.get();
        if libc::syscall(libc::SYS_gettid) != (*exchange).thread || (*exchange).phase == Phase::Idle {
            // Not ours: let it have its usual end when it happens again.
            libc::signal(signal, libc::SIG_DFL);
            return;
        }
        let context = context.cast::<libc::ucontext_t>();
        let gregs = &raw mut (*context).uc_mcontext.gregs;
        let fx = (*context).uc_mcontext.fpregs.cast::<u8>();
        if (*exchange).phase == Phase::Enter {
            (*exchange).host_gregs = *gregs;
            ptr::copy_nonoverlapping(fx, (&raw mut (*exchange).host_fx).cast(), FXSAVE);
            load(gregs, fx, &(*exchange).gregs, &(*exchange).fx);
            (*exchange).phase = Phase::Guest;
        } else {
            (*exchange).gregs = *gregs;
            ptr::copy_nonoverlapping(fx, (&raw mut (*exchange).fx).cast(), FXSAVE);
            load(gregs, fx, &(*exchange).host_gregs, &(*exchange).host_fx);
            (*exchange).phase = Phase::Idle;
        }
    }
}

/// Replaces the context that the handler returns to. What the kernel keeps for itself in the
/// area of 48 bytes at the end stays.
unsafe fn load(gregs: *mut Gregs, fx: *mut u8, new_gregs: &Gregs, new_fx: &[u8; FXSAVE]) {
    const KERNELS: usize = 464;
    // SAFETY: the frame has room for both, and a header behind the FXSAVE area where the kernel's words say so.
    unsafe {
        *gregs = *new_gregs;
        ptr::copy_nonoverlapping(new_fx.as_ptr(), fx, KERNELS);
        let magic = ptr::read_unaligned(fx.add(KERNELS).cast::<u32>());
        if magic == 0x4650_5853 {
            let header = fx.add(FXSAVE).cast::<u64>();
            ptr::write_unaligned(header, ptr::read_unaligned(header) | X87_AND_SSE);
        }
    }
}

fn to_gregs(state: &State) -> Gregs {
    let mut gregs = [0; 23];
    for (slot, value) in GPR_SLOTS.into_iter().zip(state.gpr) {
        gregs[slot] = value.into();
    }
    gregs[libc::REG_RIP as usize] = state.eip.into();
    gregs[libc::REG_EFL as usize] = (state.eflags | TF).into();
    gregs[libc::REG_CSGSFS as usize] = CODE32 | DATA32 << 48;
    gregs
}

fn to_fx(state: &State) -> [u8; FXSAVE] {
    let mut fx = [0; FXSAVE];
    let mut put = |at: usize, bytes: &[u8]| fx[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &state.control.to_le_bytes());
    put(2, &state.status.to_le_bytes());
    put(4, &[state.tag]);
    put(24, &state.mxcsr.to_le_bytes());
    put(28, &0xffff_u32.to_le_bytes());
    for i in 0..8 {
        put(32 + 16 * i, &state.st[i].0.to_le_bytes());
        put(40 + 16 * i, &state.st[i].1.to_le_bytes());
        put(160 + 16 * i, &state.xmm[i].to_le_bytes());
    }
    fx
}

fn of_frame(gregs: &Gregs, fx: &[u8; FXSAVE]) -> State {
    let u16_at = |at: usize| u16::from_le_bytes(fx[at..at + 2].try_into().expect("2 bytes"));
    let u32_at = |at: usize| u32::from_le_bytes(fx[at..at + 4].try_into().expect("4 bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(fx[at..at + 8].try_into().expect("8 bytes"));
    let wide_at = |at: usize| u128::from(u64_at(at + 8)) << 64 | u128::from(u64_at(at));
    State {
        gpr: GPR_SLOTS.map(|slot| gregs[slot] as u32),
        eip: gregs[libc::REG_RIP as usize] as u32,
        eflags: gregs[libc::REG_EFL as usize] as u32 & !TF,
        control: u16_at(0),
        status: u16_at(2),
        tag: fx[4],
        st: std::array::from_fn(|i| (u64_at(32 + 16 * i), u16_at(40 + 16 * i))),
        xmm: std::array::from_fn(|i| wide_at(160 + 16 * i)),
        mxcsr: u32_at(24),
    }
}

fn end(gregs: &Gregs) -> End {
    const DEBUG: i64 = 1;
    const PAGE_FAULT: i64 = 14;
    let vector = gregs[libc::REG_TRAPNO as usize];
    if vector == DEBUG {
        return End::Retired;
    }
    let addr = if vector == PAGE_FAULT { gregs[libc::REG_CR2 as usize] as u32 } else { 0 };
    End::Fault { vector: vector as u8, code: gregs[libc::REG_ERR as usize] as u32, addr }
}
