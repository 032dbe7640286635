//! The host's own processor, in a 32- or 16-bit code segment.
//!
//! There are two ways to an instruction. The fast one is a far jump to a piece of 32-bit code that loads every
//! register, runs what is under test and stores every register, without the operating system; it serves whatever
//! goes on behind itself and leaves segments alone. The other one, for the rest, is a breakpoint, whose
//! handler replaces the interrupted context by that under test, with the trap flag. Exceptions come
//! as signals; either way the handler keeps what it finds and goes back to 64-bit code.
#![allow(unsafe_code)]

mod stub;

use std::{
    cell::UnsafeCell,
    ffi::{c_int, c_void},
    ptr,
    sync::{Mutex, MutexGuard},
};

use x86::SegReg;

use crate::{
    segments::{FLAT_DATA, LDT},
    state::{CODE, DATA, DATA_LEN, DATA_PAGES, End, Outcome, State, TF},
};
use stub::{Area, FXSAVE};

/// In the header behind the FXSAVE area of a signal frame: x87 and SSE state are present.
const X87_AND_SSE: u64 = 3;
/// A jump to where the stub stores all registers, put behind the instruction.
const JUMP_LEN: usize = 5;

type Gregs = [i64; 23];

/// Where the handler is: it does one thing at each signal.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    Idle = 0,
    Enter,
    Guest,
}

/// What the handler and the rest of this module give each other.
#[repr(C)]
struct Exchange {
    /// The stack that the handler runs on: how it knows that the signal is for us.
    stack: u64,
    stack_end: u64,
    /// Base of the host's thread-local storage.
    fs_base: u64,
    /// DS, ES, FS, GS as the handler found them.
    found: [u16; 4],
    /// The same, to be loaded when it returns.
    load: [u16; 4],
    phase: Phase,
    gregs: Gregs,
    fx: [u8; FXSAVE],
}

struct Shared(UnsafeCell<Exchange>);

// SAFETY: only the thread that holds `OWNER` and the handler on that very thread touch it.
unsafe impl Sync for Shared {}

static EXCHANGE: Shared = Shared(UnsafeCell::new(Exchange {
    stack: 0,
    stack_end: 0,
    fs_base: 0,
    found: [0; 4],
    load: [0; 4],
    phase: Phase::Idle,
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
/// Segments of 64-bit code outside of tests: DS, ES, FS, GS. The first two must be valid for the stub.
const HOST_SEGMENTS: [u16; 4] = [FLAT_DATA, FLAT_DATA, 0, 0];

/// The host's processor, lent to one thread.
pub struct Native {
    code: *mut u8,
    data: *mut u8,
    area: *mut Area,
    code_at: usize,
    old_actions: Vec<libc::sigaction>,
    stack: Vec<u8>,
    _owner: MutexGuard<'static, ()>,
}

impl Native {
    /// Maps code and data where both processors see them; what is missing if the host does not let us.
    ///
    /// # Errors
    /// In words that follow "needs".
    pub fn new() -> Result<Native, &'static str> {
        const FSGSBASE: u64 = 2;
        // SAFETY: a question without side effects.
        if unsafe { libc::getauxval(libc::AT_HWCAP2) } & FSGSBASE == 0 {
            return Err("a kernel that allows WRFSBASE");
        }
        let owner = OWNER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let addresses = "some addresses below 4 GiB for itself";
        let code = map_twice(CODE, 4096, &[libc::PROT_READ | libc::PROT_EXEC]).ok_or(addresses)?;
        let mut rights = [libc::PROT_READ | libc::PROT_WRITE; DATA_PAGES as usize];
        rights[DATA_PAGES as usize - 1] = libc::PROT_READ;
        let data = map_twice(DATA, DATA_LEN, &rights).ok_or(addresses)?;
        let stub_rights = [libc::PROT_READ | libc::PROT_EXEC, libc::PROT_READ | libc::PROT_WRITE];
        let stub = map_twice(stub::ADDR, stub::LEN as usize, &stub_rights).ok_or(addresses)?;
        // What follows the instruction stops whoever gets there.
        // SAFETY: the pages were just mapped.
        unsafe {
            ptr::write_bytes(code, 0xcc, 4096);
            stub::copy_to(stub);
        }
        let area = stub.wrapping_add(4096).cast();
        let mut native =
            Native { code, data, area, code_at: 0, old_actions: Vec::new(), stack: vec![0; 1 << 16], _owner: owner };
        native.install();
        write_ldt().then_some(native).ok_or("32-bit and 16-bit segments of its own (modify_ldt)")
    }

    fn install(&mut self) {
        // SAFETY: the stack lives as long as `self`, and `drop` takes it away; the handler obeys the rules
        // of handlers: it allocates nothing and calls only `sigaction`.
        unsafe {
            let stack = libc::stack_t { ss_sp: self.stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: self.stack.len() };
            libc::sigaltstack(&stack, ptr::null_mut());
            let exchange = EXCHANGE.0.get();
            (*exchange).stack = self.stack.as_ptr() as u64;
            (*exchange).stack_end = (*exchange).stack + self.stack.len() as u64;
            std::arch::asm!("rdfsbase {}", out(reg)(*exchange).fs_base, options(nomem, nostack, preserves_flags));
            for signal in SIGNALS {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = stub::entry as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                let mut old: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &action, &mut old);
                self.old_actions.push(old);
            }
            set_data_segments(FLAT_DATA);
        }
    }

    /// Executes one instruction from `state` and `data`. `fast` says that it goes on behind itself, all segments
    /// are flat and it has nothing to do with them, and TF is clear.
    pub fn run(&mut self, instruction: &[u8], state: &State, data: &[u8], fast: bool) -> Outcome {
        debug_assert!(state.flat() || !fast, "the fast way has flat segments");
        // SAFETY: the mappings are ours and large enough; the exchange is ours while we hold `OWNER`; both
        // ways come back with every register of 64-bit code as it was.
        unsafe {
            self.write_code(instruction, state.pc() as usize & 0xfff, fast);
            if std::slice::from_raw_parts(self.data, DATA_LEN) != data {
                ptr::copy_nonoverlapping(data.as_ptr(), self.data, DATA_LEN);
            }
            let exchange = EXCHANGE.0.get();
            let outcome = if fast {
                (*self.area).put(state);
                (*exchange).phase = Phase::Guest;
                stub::call_fast();
                if (*exchange).phase == Phase::Idle {
                    None
                } else {
                    Some((End::Retired, went_on(&*self.area, instruction, state)))
                }
            } else {
                (*self.area).put_flags(state);
                (*exchange).gregs = to_gregs(state);
                stub::to_fx(state, &mut (*exchange).fx);
                let of = |reg: SegReg| state.seg[reg as usize];
                (*exchange).load = [of(SegReg::Ds), of(SegReg::Es), of(SegReg::Fs), of(SegReg::Gs)];
                (*exchange).phase = Phase::Enter;
                stub::call_slow();
                None
            };
            (*exchange).phase = Phase::Idle;
            let (end, state) = outcome.unwrap_or_else(|| (end(&(*exchange).gregs), of_frame(&*exchange)));
            Outcome { end, state, data: std::slice::from_raw_parts(self.data, DATA_LEN).to_vec() }
        }
    }

    /// SAFETY: `at` is below 4096.
    unsafe fn write_code(&mut self, instruction: &[u8], at: usize, fast: bool) {
        // SAFETY: nothing is written behind the page.
        unsafe {
            ptr::write_bytes(self.code.add(self.code_at), 0xcc, 32.min(4096 - self.code_at));
            let len = instruction.len().min(4096 - at);
            ptr::copy_nonoverlapping(instruction.as_ptr(), self.code.add(at), len);
            if fast {
                let behind = CODE as usize + at + len + JUMP_LEN;
                let distance = (stub::leave() as usize).wrapping_sub(behind) as u32;
                self.code.add(at + len).write(0xe9);
                self.code.add(at + len + 1).cast::<u32>().write_unaligned(distance);
            }
        }
        self.code_at = at;
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
            set_data_segments(0);
            for (low, alias, len) in [
                (CODE, self.code, 4096),
                (DATA, self.data, DATA_LEN),
                (stub::ADDR, self.area.cast::<u8>().wrapping_sub(4096), stub::LEN as usize),
            ] {
                libc::munmap(low as usize as *mut c_void, len);
                libc::munmap(alias.cast(), len);
            }
        }
    }
}

/// Whether an access by chance went where the host has this module's own pages, and our processor nothing: the host
/// can't be asked.
pub fn is_runner(end: End) -> bool {
    matches!(end, End::Fault { vector: 14, addr, .. } if addr.wrapping_sub(stub::ADDR) < stub::LEN)
}

/// The state behind the instruction.
fn went_on(area: &Area, instruction: &[u8], before: &State) -> State {
    State { eip: before.eip.wrapping_add(instruction.len() as u32), ..area.state() }
}

/// Ignored by 64-bit code, needed by 32-bit code.
fn set_data_segments(selector: u16) {
    // SAFETY: both are flat or null, which 64-bit code does not notice.
    unsafe {
        std::arch::asm!("mov ds, {0:e}", "mov es, {0:e}", in(reg) u32::from(selector), options(nostack, preserves_flags));
    }
}

/// Gives the process the LDT of [`LDT`]; false if the host refuses.
fn write_ldt() -> bool {
    /// Linux's `struct user_desc`.
    #[repr(C)]
    struct UserDesc {
        entry: u32,
        base: u32,
        limit: u32,
        flags: u32,
    }
    const WRITE: c_int = 0x11;
    LDT.iter().enumerate().all(|(i, entry)| {
        let flags = u32::from(entry.big)
            | u32::from(entry.contents) << 1
            | u32::from(entry.restricted) << 3
            | u32::from(entry.pages) << 4
            | u32::from(!entry.present) << 5;
        let desc = UserDesc { entry: i as u32, base: entry.base, limit: entry.limit, flags };
        // SAFETY: the system call reads one descriptor.
        unsafe { libc::syscall(libc::SYS_modify_ldt, WRITE, &raw const desc, size_of::<UserDesc>()) == 0 }
    })
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

/// The signal handler, entered from `stub::entry` with the host's FS base in place.
unsafe extern "C" fn handler(signal: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a valid context; the exchange is this thread's, or else is not touched.
    unsafe {
        let exchange = EXCHANGE.0.get();
        let here = &raw const signal as u64;
        if !((*exchange).stack..(*exchange).stack_end).contains(&here) || (*exchange).phase == Phase::Idle {
            // Not ours: let it have its usual end when it happens again.
            libc::signal(signal, libc::SIG_DFL);
            return;
        }
        let context = context.cast::<libc::ucontext_t>();
        let gregs = &raw mut (*context).uc_mcontext.gregs;
        let fx = (*context).uc_mcontext.fpregs.cast::<u8>();
        if (*exchange).phase == Phase::Enter {
            load(gregs, fx, &*exchange);
            (*exchange).phase = Phase::Guest;
        } else {
            (*exchange).gregs = *gregs;
            ptr::copy_nonoverlapping(fx, (&raw mut (*exchange).fx).cast(), FXSAVE);
            (*gregs)[libc::REG_RIP as usize] = stub::back() as i64;
            (*gregs)[libc::REG_EFL as usize] = 0x202;
            (*gregs)[libc::REG_CSGSFS as usize] = stub::CODE_64 | i64::from(FLAT_DATA) << 48;
            (*exchange).load = HOST_SEGMENTS;
            (*exchange).phase = Phase::Idle;
        }
    }
}

/// Replaces the context that the handler returns to. What the kernel keeps for itself in the
/// area of 48 bytes at the end stays.
unsafe fn load(gregs: *mut Gregs, fx: *mut u8, new: &Exchange) {
    const KERNELS: usize = 464;
    // SAFETY: the frame has room for both, and a header behind the FXSAVE area where the kernel's words say so.
    unsafe {
        for slot in GPR_SLOTS.into_iter().chain([libc::REG_RIP, libc::REG_EFL, libc::REG_CSGSFS].map(|i| i as usize)) {
            (*gregs)[slot] = new.gregs[slot];
        }
        ptr::copy_nonoverlapping(new.fx.as_ptr(), fx, KERNELS);
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
    let of = |reg: SegReg| i64::from(state.seg[reg as usize]);
    gregs[libc::REG_RIP as usize] = state.eip.into();
    gregs[libc::REG_EFL as usize] = (state.eflags | TF).into();
    gregs[libc::REG_CSGSFS as usize] = of(SegReg::Cs) | of(SegReg::Ss) << 48;
    gregs
}

fn of_frame(exchange: &Exchange) -> State {
    let gregs = &exchange.gregs;
    let selectors = gregs[libc::REG_CSGSFS as usize];
    let [ds, es, fs, gs] = exchange.found;
    let mut state = State {
        gpr: GPR_SLOTS.map(|slot| gregs[slot] as u32),
        eip: gregs[libc::REG_RIP as usize] as u32,
        eflags: gregs[libc::REG_EFL as usize] as u32,
        seg: [es, selectors as u16, (selectors >> 48) as u16, ds, fs, gs],
        ..State::plain()
    };
    stub::of_fx(&exchange.fx, &mut state);
    state
}

fn end(gregs: &Gregs) -> End {
    const DEBUG: i64 = 1;
    const PAGE_FAULT: i64 = 14;
    let vector = gregs[libc::REG_TRAPNO as usize];
    if vector == DEBUG {
        return End::Retired;
    }
    let addr = if vector == PAGE_FAULT { gregs[libc::REG_CR2 as usize] as u32 } else { 0 };
    // The kernel leaves an old code where there is none; its page tables have NX, so that a fetch tells
    // of itself, which it doesn't with ours.
    const FETCH: u32 = 1 << 4;
    let code = gregs[libc::REG_ERR as usize] as u32;
    let code = match vector {
        PAGE_FAULT => code & !FETCH,
        8 | 10..=13 | 17 => code,
        _ => 0,
    };
    End::Fault { vector: vector as u8, code, addr }
}
