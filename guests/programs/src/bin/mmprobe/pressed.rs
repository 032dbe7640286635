//! Another process's memory while there is little: its pages may have gone to swap, and come
//! back for who reads or writes them from outside.

use std::{fs, io};

use crate::{
    calls::{PAGE, peek, poke},
    target::{Direction, Target, process_vm},
    window::{PAGES, RW, Window},
};

/// Reads another process's pages and writes to them while `mib` MiB more are in use, and says
/// whether each side saw what it should.
pub fn run(mib: usize) -> io::Result<()> {
    let window = Window::find()?;
    window.map(0, PAGES, RW).map_err(io::Error::other)?;
    let place = |page: usize, at: usize| window.at(page as isize) + at;
    let value = |page: usize, at: usize| (page * 7 + at / 64 + 1) as u8;
    for page in 0..PAGES {
        (0..PAGE).step_by(64).for_each(|at| poke(place(page, at), value(page, at)));
    }
    let mut target = Target::new(|| ())?;
    // Its own from here on.
    for page in 0..PAGES {
        poke(place(page, 0), 0);
    }
    let mut read = vec![0u8; PAGES * PAGE];
    let mut wrong = 0;
    for round in 0..2 {
        press(mib);
        let status = fs::read_to_string(format!("/proc/{}/status", target.pid))?;
        let swapped = status.lines().find_map(|line| line.strip_prefix("VmSwap:")).unwrap_or("").trim();
        let local = [(read.as_mut_ptr() as usize, read.len())];
        let remote = [(window.at(0), read.len())];
        let got = process_vm(Direction::Read, target.pid, &local, &remote, 0).map_err(io::Error::other)?;
        println!("round {round}: {got} bytes, in swap before: {}", if swapped == "0 kB" { "nothing" } else { "some" });
        for page in 0..PAGES {
            let first = if round == 0 { value(page, 0) } else { 0xee };
            wrong += usize::from(read[page * PAGE] != first);
            let rest = (64..PAGE).step_by(64);
            wrong += rest.filter(|&at| read[page * PAGE + at] != value(page, at)).count();
        }
        press(mib);
        for page in 0..PAGES {
            let byte = 0xeeu8;
            let local = [(&raw const byte as usize, 1)];
            process_vm(Direction::Write, target.pid, &local, &[(place(page, 0), 1)], 0).map_err(io::Error::other)?;
        }
    }
    press(mib);
    for page in 0..PAGES {
        wrong += usize::from(target.sees(place(page, 0))? != 0xee);
        wrong += usize::from(target.sees(place(page, 64))? != value(page, 64));
        wrong += usize::from(peek(place(page, 0)) != 0);
    }
    println!("{wrong} wrong");
    Ok(())
}

/// Uses so much memory for a moment.
fn press(mib: usize) {
    let mut memory = vec![0u8; mib << 20];
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
}
