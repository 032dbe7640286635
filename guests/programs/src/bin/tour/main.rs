//! A guided tour of virtual memory: each stop changes this process's address space by one
//! system call or one access, and shows its own `/proc/self/maps` before and after.

mod fault;
mod region;
mod stops;

use std::{io, process::ExitCode};

use pagewalk_programs::sys;

fn main() -> ExitCode {
    match tour() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tour: {}", sys::reason(&error));
            ExitCode::FAILURE
        }
    }
}

fn tour() -> io::Result<()> {
    let [system, _, release, _, machine] = sys::uname()?;
    println!("Pagewalk: a tour of virtual memory");
    println!("==================================");
    println!("This is process {} of {system} {release} on an {machine}.", std::process::id());
    stops::start()?;
    stops::brk()?;
    let mut region = stops::mmap()?;
    stops::mprotect(&mut region)?;
    stops::munmap(&mut region)?;
    stops::copy_on_write(&mut region)?;
    stops::caught_faults(&mut region)?;
    stops::farewell();
    Ok(())
}
