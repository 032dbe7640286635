//! `ioctl` of terminals.

use alloc::sync::Arc;

use abi::{
    errno::{EINVAL, ENOTTY, Result},
    ldisc::Termios,
    wire::u16_at,
};

use super::{Tty, job};
use crate::{
    mm::uaccess::{UserPtr, copy_from_user, copy_to_user, get_user, put_user},
    task::signal::{SIGTTOU, SIGWINCH, SigInfo, send_to_group},
};

#[allow(missing_docs, reason = "Linux's names")]
mod cmd {
    pub const TCGETS: u32 = 0x5401;
    pub const TCSETS: u32 = 0x5402;
    pub const TCSETSW: u32 = 0x5403;
    pub const TCSETSF: u32 = 0x5404;
    pub const TCSBRK: u32 = 0x5409;
    pub const TCXONC: u32 = 0x540a;
    pub const TCFLSH: u32 = 0x540b;
    pub const TIOCEXCL: u32 = 0x540c;
    pub const TIOCNXCL: u32 = 0x540d;
    pub const TIOCSCTTY: u32 = 0x540e;
    pub const TIOCGPGRP: u32 = 0x540f;
    pub const TIOCSPGRP: u32 = 0x5410;
    pub const TIOCOUTQ: u32 = 0x5411;
    pub const TIOCGWINSZ: u32 = 0x5413;
    pub const TIOCSWINSZ: u32 = 0x5414;
    pub const FIONREAD: u32 = 0x541b;
    pub const TIOCNOTTY: u32 = 0x5422;
    pub const TIOCSETD: u32 = 0x5423;
    pub const TIOCGETD: u32 = 0x5424;
    pub const TCSBRKP: u32 = 0x5425;
    pub const TIOCGSID: u32 = 0x5429;
    pub const TCGETS2: u32 = 0x802c_542a;
    pub const TCSETS2: u32 = 0x402c_542b;
    pub const TCSETSW2: u32 = 0x402c_542c;
    pub const TCSETSF2: u32 = 0x402c_542d;
}

pub(super) fn ioctl(tty: &Arc<Tty>, command: u32, arg: u32) -> Result<u32> {
    let out = UserPtr::<u8>::new(arg);
    let word = UserPtr::<u32>::new(arg);
    let termios = || tty.ldisc.lock().termios;
    let zero = |result: Result<()>| result.map(|()| 0);
    match command {
        cmd::TCGETS => zero(copy_to_user(out, &termios().to_bytes())),
        cmd::TCGETS2 => zero(copy_to_user(out, &termios().to_bytes2())),
        cmd::TCSETS | cmd::TCSETSW | cmd::TCSETS2 | cmd::TCSETSW2 => set_termios(tty, arg, Input::Keep),
        cmd::TCSETSF | cmd::TCSETSF2 => set_termios(tty, arg, Input::Flush),
        cmd::TCFLSH => match arg {
            0 | 2 => {
                tty.ldisc.lock().flush();
                Ok(0)
            }
            1 => Ok(0),
            _ => Err(EINVAL),
        },
        // Output is never delayed, so nothing is to be waited for, stopped or broken.
        cmd::TCSBRK | cmd::TCSBRKP | cmd::TCXONC | cmd::TIOCEXCL | cmd::TIOCNXCL => Ok(0),
        cmd::TIOCSCTTY => job::set_controlling(tty, arg),
        cmd::TIOCNOTTY => job::give_up(tty),
        cmd::TIOCGPGRP => zero(put_user(word, job::foreground(tty)?)),
        cmd::TIOCSPGRP => job::set_foreground(tty, get_user(word)?),
        cmd::TIOCGSID => zero(put_user(word, job::session(tty)?)),
        cmd::TIOCGWINSZ => {
            let size = *tty.winsize.lock();
            zero(copy_to_user(out, &size.map(u16::to_le_bytes).concat()))
        }
        cmd::TIOCSWINSZ => set_winsize(tty, arg),
        cmd::FIONREAD => {
            let count = tty.ldisc.lock().available() as u32;
            zero(put_user(word, count))
        }
        cmd::TIOCOUTQ | cmd::TIOCGETD => zero(put_user(word, 0)),
        cmd::TIOCSETD => {
            if get_user(word)? == 0 {
                Ok(0)
            } else {
                Err(EINVAL)
            }
        }
        _ => Err(ENOTTY),
    }
}

/// What becomes of input that nobody has read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Keep,
    Flush,
}

fn set_termios(tty: &Arc<Tty>, arg: u32, input: Input) -> Result<u32> {
    job::check_background(tty, SIGTTOU)?;
    let mut bytes = [0; 36];
    copy_from_user(&mut bytes, UserPtr::new(arg))?;
    let mut ldisc = tty.ldisc.lock();
    if input == Input::Flush {
        ldisc.flush();
    }
    ldisc.set_termios(Termios::from_bytes(&bytes));
    drop(ldisc);
    tty.wait.wake_all();
    Ok(0)
}

fn set_winsize(tty: &Arc<Tty>, arg: u32) -> Result<u32> {
    let mut bytes = [0; 8];
    copy_from_user(&mut bytes, UserPtr::new(arg))?;
    let size = [0, 2, 4, 6].map(|at| u16_at(&bytes, at));
    let old = core::mem::replace(&mut *tty.winsize.lock(), size);
    if old != size {
        let pgrp = tty.pgrp.load(core::sync::atomic::Ordering::Relaxed);
        send_to_group(pgrp, SigInfo::kernel(SIGWINCH));
    }
    Ok(0)
}
