//! Small computations with a known answer: `workload [all | NAME] [SIZE [ROUNDS]]`.
//!
//! Each prints its name, its size and a checksum, so that any processor that runs it right
//! prints the same. A workload is prepared once and then run `ROUNDS` times over the same
//! input, each time with the same answer: the time of a round is what `tools/bench` takes
//! from runs with different numbers of rounds. Without rounds it only prepares.

use std::{io, process::ExitCode};

mod cold;
mod cpus;
mod float;
mod integer;
mod memory;
mod module;
mod pressure;
mod system;
mod x87;

/// One run over the prepared input; gives a checksum, always the same.
type Round = Box<dyn FnMut() -> io::Result<u32>>;

/// How a workload gets its rounds.
enum Kind {
    /// From the size alone.
    Computation(fn(u32) -> u32),
    /// From memory, code or processes that are prepared for the size. Memory is touched
    /// then: page faults are no part of a round, unless they are what it is about.
    Prepared(fn(u32) -> io::Result<Round>),
}

use Kind::{Computation, Prepared};

/// Names, the sizes that are quick on any processor, and what is run; by families.
const WORKLOADS: &[(&str, u32, Kind)] = &[
    ("nothing", 0, Computation(|size| size)),
    ("bytecode", 100_000, Computation(integer::bytecode)),
    ("calls", 20, Computation(integer::calls)),
    ("divide", 20_000, Computation(integer::divide)),
    ("indirect", 20_000, Computation(integer::indirect)),
    ("sha256", 64, Computation(integer::sha256)),
    ("sieve", 20_000, Prepared(integer::sieve)),
    ("sort", 5_000, Prepared(integer::sort)),
    ("matrix", 24, Computation(float::matrix)),
    ("nbody", 500, Computation(float::nbody)),
    ("nbody87", 500, Computation(x87::nbody)),
    ("chase", 1, Prepared(memory::chase)),
    ("copy", 64, Prepared(memory::copy)),
    ("pages", 256, Computation(memory::pages)),
    ("walk", 64, Prepared(memory::walk)),
    ("cold", 16, Prepared(cold::run_once)),
    ("patch", 500, Prepared(cold::patch)),
    ("exec", 1, Prepared(system::exec)),
    ("faults", 64, Prepared(system::faults)),
    ("fork", 64, Prepared(system::fork)),
    ("switch", 50, Prepared(system::switch)),
    ("syscall", 500, Prepared(system::syscall)),
    ("crowd", 16, Prepared(cpus::crowd)),
    ("shootdown", 16, Prepared(cpus::shootdown)),
    ("anonymous", 256, Prepared(pressure::anonymous)),
    ("cow", 256, Prepared(pressure::cow)),
    ("mapped", 64, Prepared(pressure::mapped)),
    ("storm", 1, Prepared(pressure::storm)),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let wanted = args.next().unwrap_or_else(|| "all".into());
    if let Some(status) = module::command(&wanted, &mut args) {
        return status;
    }
    let mut number = || args.next().map(|text| text.parse::<u32>()).transpose();
    let (Ok(size), Ok(rounds)) = (number(), number()) else { return usage() };
    let chosen: Vec<_> = WORKLOADS.iter().filter(|(name, ..)| wanted == "all" || wanted == *name).collect();
    if chosen.is_empty() || args.next().is_some() {
        return usage();
    }
    for (name, usual_size, kind) in chosen {
        let size = size.unwrap_or(*usual_size);
        match run(kind, size, rounds.unwrap_or(1)) {
            Ok(Some(sum)) => println!("{name} {size}: {sum:08x}"),
            Ok(None) => println!("{name} {size}: prepared"),
            Err(error) => {
                eprintln!("workload: {name} {size}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// The answer of all rounds; none if there was no round.
fn run(kind: &Kind, size: u32, rounds: u32) -> io::Result<Option<u32>> {
    let mut round: Round = match *kind {
        Computation(compute) => Box::new(move || Ok(compute(std::hint::black_box(size)))),
        Prepared(prepare) => prepare(size)?,
    };
    let mut answer = None;
    for _ in 0..rounds {
        let sum = round()?;
        if *answer.get_or_insert(sum) != sum {
            return Err(io::Error::other("two rounds over the same input differ"));
        }
    }
    Ok(answer)
}

fn usage() -> ExitCode {
    let names: Vec<_> = WORKLOADS.iter().map(|(name, ..)| *name).collect();
    eprintln!("usage: workload [all | {}] [SIZE [ROUNDS]]", names.join(" | "));
    ExitCode::from(2)
}

/// A sequence of numbers without a pattern (xorshift).
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

/// What a checksum begins with.
const EMPTY_SUM: u32 = 0x811c_9dc5;

/// Mixes a value into a checksum (FNV-1a, word by word).
fn mix(sum: u32, value: u32) -> u32 {
    (sum ^ value).wrapping_mul(0x0100_0193)
}
