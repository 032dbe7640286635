//! What a handler finds on its stack, and the way back.

use alloc::vec::Vec;

use abi::{
    errno::{EFAULT, Result},
    wire::{record, u32_at, u64_at},
};
use x86::Eflags;

use super::{AltStack, SIGSEGV, SS_AUTODISARM, SigAction, SigInfo, SigSet, force_sig, info::SIGINFO_SIZE, sa};
use crate::{
    arch::{
        PtRegs,
        cpu::{self, feature},
        fpu::FpuState,
        gdt::{USER_CS, USER_DS},
    },
    mm::uaccess::{UserPtr, access_ok, copy_from_user, copy_to_user},
    task::current,
};

/// Bytes of `sigcontext`.
const SIGCONTEXT: usize = 88;
/// The FNSAVE image with its status and magic words, before the FXSAVE image.
const FSAVE_SIZE: usize = 112;
const FXSAVE_SIZE: usize = 512;
const FPSTATE_SIZE: usize = FSAVE_SIZE + FXSAVE_SIZE;
/// `sigframe`: return address, number, context, room that once held the FPU, mask, code.
const SIGFRAME: usize = 8 + SIGCONTEXT + FPSTATE_SIZE + 4 + 8;
/// `ucontext`: flags, link, stack, context, mask.
const UCONTEXT: usize = 8 + 12 + SIGCONTEXT + 8;
/// `rt_sigframe`: return address, number, two pointers, the records, code.
const RT_SIGFRAME: usize = 16 + SIGINFO_SIZE + UCONTEXT + 8;

/// `pop eax; mov eax, __NR_sigreturn; int 0x80`
const RETCODE: [u8; 8] = [0x58, 0xb8, 0x77, 0, 0, 0, 0xcd, 0x80];
/// `mov eax, __NR_rt_sigreturn; int 0x80; nop`
const RT_RETCODE: [u8; 8] = [0xb8, 0xad, 0, 0, 0, 0xcd, 0x80, 0x90];

/// Flags that a program may change by `sigreturn`.
const FIX_EFLAGS: u32 = Eflags::AC.bits()
    | Eflags::RF.bits()
    | Eflags::OF.bits()
    | Eflags::DF.bits()
    | Eflags::TF.bits()
    | Eflags::SF.bits()
    | Eflags::ZF.bits()
    | Eflags::AF.bits()
    | Eflags::PF.bits()
    | Eflags::CF.bits();

/// Puts a frame on the program's stack and points `regs` at the handler.
pub(super) fn setup(regs: &mut PtRegs, info: SigInfo, action: &SigAction, old_mask: SigSet) -> Result<()> {
    let is_rt = action.flags & sa::SIGINFO != 0;
    let altstack = current().signals.lock().altstack;
    let mut sp = regs.esp;
    let on_stack = altstack.contains(sp);
    if action.flags & sa::ONSTACK != 0 && altstack.size != 0 && !on_stack {
        sp = altstack.sp.wrapping_add(altstack.size);
    }
    // The FXSAVE image is aligned; the FNSAVE image stands before it.
    let fx_addr = sp.wrapping_sub(FXSAVE_SIZE as u32) & !63;
    let fpstate = fx_addr.wrapping_sub(FSAVE_SIZE as u32);
    let size = if is_rt { RT_SIGFRAME } else { SIGFRAME } as u32;
    // Aligned as at a call: the word above the return address lies on 16.
    let frame = (fpstate.wrapping_sub(size).wrapping_add(4) & !15).wrapping_sub(4);
    if on_stack && !altstack.contains(frame) || !access_ok(frame, (sp - frame) as usize) {
        return Err(EFAULT);
    }
    save_fpu(fpstate)?;

    let mut bytes: Vec<u8> = Vec::with_capacity(size as usize);
    let context = sigcontext(regs, fpstate, old_mask as u32);
    let retcode_at = frame + size - 8;
    let restorer = if action.flags & sa::RESTORER != 0 { action.restorer } else { retcode_at };
    bytes.extend_from_slice(&restorer.to_le_bytes());
    bytes.extend_from_slice(&info.signo.to_le_bytes());
    if is_rt {
        let info_at = frame + 16;
        let ucontext_at = info_at + SIGINFO_SIZE as u32;
        bytes.extend_from_slice(&info_at.to_le_bytes());
        bytes.extend_from_slice(&ucontext_at.to_le_bytes());
        bytes.extend_from_slice(&info.to_bytes());
        // Flags and link; the alternative stack.
        let status = altstack.status(regs.esp) | altstack.flags;
        for word in [0, 0, altstack.sp, status, altstack.size] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&context);
        bytes.extend_from_slice(&old_mask.to_le_bytes());
        bytes.extend_from_slice(&RT_RETCODE);
    } else {
        bytes.extend_from_slice(&context);
        bytes.resize(8 + SIGCONTEXT + FPSTATE_SIZE, 0);
        bytes.extend_from_slice(&((old_mask >> 32) as u32).to_le_bytes());
        bytes.extend_from_slice(&RETCODE);
    }
    copy_to_user(UserPtr::new(frame), &bytes)?;
    if altstack.flags & SS_AUTODISARM != 0 {
        current().signals.lock().altstack = AltStack::default();
    }

    let (siginfo, ucontext) = if is_rt { (frame + 16, frame + 16 + SIGINFO_SIZE as u32) } else { (0, 0) };
    regs.esp = frame;
    regs.eip = action.handler;
    (regs.eax, regs.edx, regs.ecx) = (info.signo, siginfo, ucontext);
    (regs.ds, regs.es, regs.ss) = (USER_DS.into(), USER_DS.into(), USER_DS.into());
    regs.cs = USER_CS.into();
    regs.eflags &= !(Eflags::DF | Eflags::RF | Eflags::TF).bits();
    Ok(())
}

fn sigcontext(regs: &PtRegs, fpstate: u32, old_mask: u32) -> [u8; SIGCONTEXT] {
    let (trap_nr, error_code, cr2) = current().with_thread(|t| (t.trap_nr, t.error_code, t.cr2));
    let words = [
        regs.gs & 0xffff,
        regs.fs & 0xffff,
        regs.es & 0xffff,
        regs.ds & 0xffff,
        regs.edi,
        regs.esi,
        regs.ebp,
        regs.esp,
        regs.ebx,
        regs.edx,
        regs.ecx,
        regs.eax,
        trap_nr,
        error_code,
        regs.eip,
        regs.cs & 0xffff,
        regs.eflags,
        regs.esp,
        regs.ss & 0xffff,
        fpstate,
        old_mask,
        cr2,
    ];
    record(|w| {
        for word in words {
            w.u32(word);
        }
    })
}

/// Stores the FPU's registers in both forms.
fn save_fpu(fpstate: u32) -> Result<()> {
    let mut state = FpuState::boxed();
    state.save();
    let has_fxsr = cpu::has(feature::FXSR);
    let mut bytes = alloc::vec![0; FPSTATE_SIZE];
    if has_fxsr {
        bytes[..108].copy_from_slice(&fsave_image(&state.0));
        bytes[FSAVE_SIZE..].copy_from_slice(&state.0);
    } else {
        bytes[..108].copy_from_slice(&state.0[..108]);
    }
    // The status word once more, and whether the FXSAVE image is there (0) or not.
    let status = if has_fxsr { [bytes[FSAVE_SIZE + 2], bytes[FSAVE_SIZE + 3]] } else { [bytes[4], bytes[5]] };
    bytes[108..110].copy_from_slice(&status);
    let magic: u16 = if has_fxsr { 0 } else { 0xffff };
    bytes[110..112].copy_from_slice(&magic.to_le_bytes());
    copy_to_user(UserPtr::new(fpstate), &bytes)
}

/// The FNSAVE image of an FXSAVE image (SDM Vol. 1, "x87 State").
fn fsave_image(fx: &[u8; 512]) -> [u8; 108] {
    let half = |at: usize| u32::from(u16::from_le_bytes([fx[at], fx[at + 1]]));
    let (cwd, swd, in_use) = (half(0), half(2), half(4));
    let top = swd >> 11 & 7;
    let tags = (0..8).fold(0, |tags, physical| {
        let slot = (physical + 8 - top) % 8;
        tags | tag(fx, slot as usize, in_use >> physical & 1 != 0) << (physical * 2)
    });
    record(|w| {
        w.u32(cwd | 0xffff_0000).u32(swd | 0xffff_0000).u32(tags | 0xffff_0000);
        w.u32(u32_at(fx, 8)).u32(half(12) | half(6) << 16).u32(u32_at(fx, 16)).u32(half(20) | 0xffff_0000);
        for slot in 0..8 {
            w.bytes(&fx[32 + slot * 16..][..10]);
        }
    })
}

/// The two-bit tag of a stack register: valid, zero, special or empty.
fn tag(fx: &[u8; 512], slot: usize, in_use: bool) -> u32 {
    if !in_use {
        return 3;
    }
    let at = 32 + slot * 16;
    let exponent = u16::from_le_bytes([fx[at + 8], fx[at + 9]]) & 0x7fff;
    let significand = u64_at(fx, at);
    match exponent {
        0 if significand == 0 => 1,
        0 | 0x7fff => 2,
        _ if significand >> 63 == 0 => 2,
        _ => 0,
    }
}

/// `sigreturn`: back from a handler without `SA_SIGINFO`. EAX is restored with the rest.
pub fn sigreturn(regs: &mut PtRegs) -> u32 {
    let frame = regs.esp.wrapping_sub(8);
    let mut bytes = alloc::vec![0; SIGFRAME];
    let restored = copy_from_user(&mut bytes, UserPtr::new(frame)).and_then(|()| {
        let context = &bytes[8..8 + SIGCONTEXT];
        let mask = u64::from(u32_at(context, 80)) | u64::from(u32_at(&bytes, 8 + SIGCONTEXT + FPSTATE_SIZE)) << 32;
        set_mask(mask);
        restore(regs, context)
    });
    or_segv(regs, restored)
}

/// `rt_sigreturn`: back from a handler with `SA_SIGINFO`.
pub fn rt_sigreturn(regs: &mut PtRegs) -> u32 {
    let frame = regs.esp.wrapping_sub(4);
    let mut bytes = alloc::vec![0; UCONTEXT];
    let restored =
        copy_from_user(&mut bytes, UserPtr::new(frame.wrapping_add(16 + SIGINFO_SIZE as u32))).and_then(|()| {
            set_mask(u64_at(&bytes, 20 + SIGCONTEXT));
            restore(regs, &bytes[20..20 + SIGCONTEXT])?;
            let stack =
                AltStack { sp: u32_at(&bytes, 8), flags: u32_at(&bytes, 12) & SS_AUTODISARM, size: u32_at(&bytes, 16) };
            if u32_at(&bytes, 12) & super::SS_DISABLE == 0 {
                current().signals.lock().altstack = stack;
            }
            Ok(())
        });
    or_segv(regs, restored)
}

fn set_mask(mask: SigSet) {
    let unmaskable = super::mask(super::SIGKILL) | super::mask(super::SIGSTOP);
    current().signals.lock().blocked = mask & !unmaskable;
}

fn or_segv(regs: &mut PtRegs, restored: Result<()>) -> u32 {
    // Whatever is in EAX now is no result of a call.
    regs.orig_eax = !0;
    match restored {
        Ok(()) => regs.eax,
        Err(_) => {
            force_sig(SigInfo::kernel(SIGSEGV));
            0
        }
    }
}

fn restore(regs: &mut PtRegs, context: &[u8]) -> Result<()> {
    let word = |n: usize| u32_at(context, n * 4);
    (regs.gs, regs.fs, regs.es, regs.ds) = (word(0) & 0xffff, word(1) & 0xffff, word(2) & 0xffff, word(3) & 0xffff);
    (regs.edi, regs.esi, regs.ebp, regs.esp) = (word(4), word(5), word(6), word(7));
    (regs.ebx, regs.edx, regs.ecx, regs.eax) = (word(8), word(9), word(10), word(11));
    regs.eip = word(14);
    // Never a selector of the kernel.
    regs.cs = word(15) & 0xffff | 3;
    regs.ss = word(18) & 0xffff | 3;
    regs.eflags = regs.eflags & !FIX_EFLAGS | word(16) & FIX_EFLAGS;
    restore_fpu(word(19))
}

fn restore_fpu(fpstate: u32) -> Result<()> {
    if fpstate == 0 {
        FpuState::boxed().restore();
        return Ok(());
    }
    let mut state = FpuState::boxed();
    if cpu::has(feature::FXSR) {
        copy_from_user(&mut state.0, UserPtr::new(fpstate.wrapping_add(FSAVE_SIZE as u32)))?;
    } else {
        copy_from_user(&mut state.0[..108], UserPtr::new(fpstate))?;
    }
    state.sanitize();
    state.restore();
    Ok(())
}
