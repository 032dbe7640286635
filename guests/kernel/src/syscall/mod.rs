//! System calls: the table, and a file for each family of calls.

mod fs_names;
mod fs_open;
mod fs_stat;
mod futex;
mod ids;
mod limits;
mod mm;
mod module;
mod poll;
mod posix_timer;
mod process;
mod process_vm;
mod read_write;
mod sched;
mod shm;
mod signal;
mod swap;
mod sync;
mod system;
mod table;
mod time;
pub mod uname;
mod user;
mod wait;

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::{
    errno::{ENOSYS, ERESTART_RESTARTBLOCK, ERESTARTNOHAND, ERESTARTNOINTR, ERESTARTSYS},
    nr,
};

use crate::{
    arch::PtRegs,
    lib::cmdline,
    pr_info,
    task::{
        current,
        sched::{Mode, account},
        signal::note_restart,
    },
};

/// Runs the call whose number is in EAX and puts its result there.
pub fn dispatch(regs: &mut PtRegs) {
    account(&current(), Mode::User);
    let result = table::call(regs);
    match result {
        Ok(value) => regs.eax = value,
        Err(error) => {
            regs.eax = error.to_ret() as u32;
            if [ERESTARTSYS, ERESTARTNOHAND, ERESTARTNOINTR, ERESTART_RESTARTBLOCK].contains(&error) {
                note_restart();
            }
            if error == ENOSYS {
                note_unknown(regs.orig_eax);
            }
        }
    }
    account(&current(), Mode::System);
}

/// Names a missing call once, if the kernel was started with `debug`.
fn note_unknown(number: u32) {
    static SEEN: [AtomicU32; 16] = [const { AtomicU32::new(0) }; 16];
    let Some(word) = SEEN.get(number as usize / 32) else { return };
    let bit = 1 << (number % 32);
    if word.fetch_or(bit, Relaxed) & bit == 0 && cmdline::value_of("debug").is_some() {
        let name = nr::name(number).unwrap_or("?");
        pr_info!("{}[{}]: system call {number} ({name}) is not implemented", current().comm(), current().pid());
    }
}
