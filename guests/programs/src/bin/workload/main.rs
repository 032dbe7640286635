//! Small computations with a known answer: `workload NAME [SIZE]`. Each prints its name, its
//! size and a checksum, so that any processor that runs it right prints the same.

use std::process::ExitCode;

mod algorithms;

use algorithms::Workload;

const WORKLOADS: [(&str, u32, Workload); 8] = [
    ("bytecode", 100_000, algorithms::bytecode),
    ("calls", 20, algorithms::calls),
    ("divide", 20_000, algorithms::divide),
    ("matrix", 24, algorithms::matrix),
    ("pages", 256, algorithms::pages),
    ("sha256", 64, algorithms::sha256),
    ("sieve", 20_000, algorithms::sieve),
    ("sort", 5_000, algorithms::sort),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let wanted = args.next().unwrap_or_else(|| "all".into());
    let size: Option<u32> = match args.next().map(|size| size.parse()).transpose() {
        Ok(size) => size,
        Err(_) => return usage(),
    };
    let chosen: Vec<_> = WORKLOADS.iter().filter(|(name, ..)| wanted == "all" || wanted == *name).collect();
    if chosen.is_empty() {
        return usage();
    }
    for (name, usual_size, run) in chosen {
        let size = size.unwrap_or(*usual_size);
        println!("{name} {size}: {:08x}", run(size));
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    let names: Vec<_> = WORKLOADS.iter().map(|(name, ..)| *name).collect();
    eprintln!("usage: workload [all | {}] [SIZE]", names.join(" | "));
    ExitCode::from(2)
}
