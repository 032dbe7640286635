//! A file's text is gathered in one pass between two exported points, where the host's
//! lenses can compare it with theirs.
#![allow(unsafe_code)]

use alloc::vec::Vec;

use abi::out::{Out, Text};

use crate::sync::cond_resched;

/// Room for what grew between the two runs.
const SLACK: usize = 256;

/// Nothing that the file shows changes from here to [`proc_gather_end`]. Their bodies differ, or the
/// compiler would fold them into one function, at which nobody could tell the begin from the end.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn proc_gather_begin() {
    core::hint::black_box("begin");
}

/// See [`proc_gather_begin`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn proc_gather_end() {
    core::hint::black_box("end");
}

/// The text of a file. The buffer is there before the pass that counts, so that the pass
/// does not change what it shows (`slabinfo`, `buddyinfo`, `meminfo`).
pub fn gather(show: impl Fn(&mut dyn Out)) -> Vec<u8> {
    let mut counter = Text::default();
    show(&mut counter);
    let mut capacity = counter.wanted() + SLACK;
    loop {
        let mut text = Text::with_capacity(capacity);
        cond_resched();
        proc_gather_begin();
        show(&mut text);
        proc_gather_end();
        capacity = text.wanted() + SLACK;
        if let Some(bytes) = text.finish() {
            return bytes;
        }
    }
}
