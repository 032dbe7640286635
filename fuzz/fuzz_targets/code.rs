//! Bytes as code, in every mode.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pagewalk_fuzz_bodies::code::{Worlds, body};

thread_local! {
    static WORLDS: RefCell<Worlds> = RefCell::new(Worlds::new(false));
}

fuzz_target!(|bytes: &[u8]| WORLDS.with(|worlds| body(&mut worlds.borrow_mut(), bytes)));
