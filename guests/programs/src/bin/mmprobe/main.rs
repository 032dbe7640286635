//! Asks a kernel how its memory management behaves, and prints the answers. Addresses are
//! given relative to a window of the probe's own, so that two kernels that behave alike
//! print alike.

mod calls;
mod cases;
mod child;
mod window;

use std::process::ExitCode;

use pagewalk_programs::sys;

fn main() -> ExitCode {
    match cases::run_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mmprobe: {}", sys::reason(&error));
            ExitCode::FAILURE
        }
    }
}
