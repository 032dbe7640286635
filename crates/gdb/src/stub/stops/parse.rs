//! The words behind `monitor break` and `monitor watch`.

use inspect::{Books, Error, Target, parse_address};
use machine::{Machine, Watch, WatchKind, WatchSpace};
use x86::LinearAddr;

use super::{Condition, Space, What, entries_of};

/// Reads the words of `monitor break` (`watch`: of `monitor watch`) as what is waited for and its condition.
/// Conditions may stand anywhere behind the first word.
///
/// # Errors
/// [`Error::Usage`] that says which word is wrong, and what address or symbol is unknown.
pub fn parse(machine: &Machine, target: &Target<'_>, watch: bool, words: &[&str]) -> Result<(What, Condition), Error> {
    let mut condition = Condition::default();
    let mut rest = Vec::new();
    for &word in words {
        // Symbols of C++ and Rust have `==` in no place where a condition has its name.
        match word.contains('=') {
            true => condition.add(word, machine.cpu_count())?,
            false => rest.push(word),
        }
    }
    let context = Context { machine, target, pid: condition.pid };
    let what = if watch { context.watch(&rest)? } else { context.event(&rest)? };
    if let What::Entries(..) = what {
        // It has chosen the address space; whoever changes the entries counts, in any process.
        condition.pid = None;
    }
    Ok((what, condition))
}

struct Context<'a> {
    machine: &'a Machine,
    target: &'a Target<'a>,
    pid: Option<u32>,
}

impl Context<'_> {
    fn event(&self, words: &[&str]) -> Result<What, Error> {
        let (&first, rest) = words.split_first().ok_or_else(|| usage("break: what?"))?;
        let what = match (first, rest) {
            ("syscall", calls) => {
                What::SystemCall(calls.iter().map(|call| system_call(call)).collect::<Result<_, _>>()?)
            }
            ("fork", []) => What::SystemCall(vec![abi::nr::FORK, abi::nr::VFORK, abi::nr::CLONE]),
            ("exec", []) => What::SystemCall(vec![abi::nr::EXECVE]),
            ("exit", []) => {
                match self.target.kernel_symbols().and_then(|symbols| symbols.with_last_part("do_exit").next()) {
                    Some(symbol) => What::Exit(symbol.addr),
                    None => What::SystemCall(vec![abi::nr::EXIT, abi::nr::EXIT_GROUP]),
                }
            }
            ("fault", []) => What::Fault(0, u32::MAX),
            ("fault", [addr]) => {
                let addr = self.address(addr)?;
                What::Fault(addr & !0xfff, addr | 0xfff)
            }
            ("fault", [addr, len]) => {
                let watch = Watch::new(WatchSpace::Linear, self.address(addr)?, number(len)?, WatchKind::Access);
                let watch = watch.ok_or_else(|| usage("fault: no such bytes below 4 GiB"))?;
                What::Fault(watch.first, watch.last)
            }
            ("pte", [addr]) => self.entries(addr)?,
            ("port", [ports]) => port(ports, true, true)?,
            ("port", [ports, "in"]) => port(ports, true, false)?,
            ("port", [ports, "out"]) => port(ports, false, true)?,
            ("vector", [vector]) => {
                let vector = number(vector)?.try_into();
                What::Vector(vector.map_err(|_| usage("vector: 0 to 255"))?)
            }
            ("cr3", []) => What::LoadCr3,
            ("fork" | "exec" | "exit" | "fault" | "pte" | "port" | "vector" | "cr3", _) => {
                return Err(usage(&format!("break {first}: not so many words; see `monitor help`")));
            }
            (addr, []) => What::Instruction(self.address(addr)?),
            (_, [word, ..]) => return Err(usage(&format!("break: `{word}` is no condition; see `monitor help`"))),
        };
        Ok(what)
    }

    fn watch(&self, words: &[&str]) -> Result<What, Error> {
        let (&addr, rest) = words.split_first().ok_or_else(|| usage("watch: which address?"))?;
        let (mut kind, mut space, mut len, mut behind) = (WatchKind::Write, WatchSpace::Linear, None, false);
        for &word in rest {
            match word {
                "w" => kind = WatchKind::Write,
                "r" => kind = WatchKind::Read,
                "rw" => kind = WatchKind::Access,
                "phys" => space = WatchSpace::Physical,
                "alias" => behind = true,
                _ if len.is_none() => len = Some(number(word)?),
                _ => return Err(usage(&format!("watch: what is `{word}`? See `monitor help`"))),
            }
        }
        let (mut first, len) = (self.address(addr)?, len.unwrap_or(4));
        if behind {
            (space, first) = (WatchSpace::Physical, self.behind(first, len)?);
        }
        let watch = Watch::new(space, first, len, kind);
        watch.map(What::Memory).ok_or_else(|| usage("watch: no such bytes below 4 GiB, or none at all"))
    }

    /// The physical address that a linear one leads to now, of bytes in one page.
    fn behind(&self, addr: u32, len: u64) -> Result<u32, Error> {
        let addr = LinearAddr(addr);
        if u64::from(addr.page_offset()) + len > x86::PAGE_SIZE.into() {
            return Err(usage("alias: the bytes must lie in one page, for the next one may be anywhere"));
        }
        let phys = self.target.reader(self.machine.current_cpu())?.translate(addr);
        phys.and_then(|phys| u32::try_from(phys.0).ok()).ok_or(Error::Unmapped(addr))
    }

    fn entries(&self, addr: &str) -> Result<What, Error> {
        let addr = self.address(addr)?;
        let state = self.machine.cpu(self.machine.current_cpu());
        let cr3 = match self.pid {
            None => state.cr3,
            Some(pid) => {
                let books = Books::of(self.target)?;
                let mm = books.mm(&books.task(pid)?)?;
                mm.ok_or_else(|| usage(&format!("pte: process {pid} has no address space of its own")))?.pgd
            }
        };
        if !state.paging().enabled() {
            return Err(usage("pte: paging is off"));
        }
        let space = Space { cr3, pid: self.pid };
        Ok(What::Entries(space, addr, entries_of(self.machine, space, addr)))
    }

    fn address(&self, text: &str) -> Result<u32, Error> {
        Ok(parse_address(self.target, self.machine.current_cpu(), text)?.linear.0)
    }
}

fn usage(text: &str) -> Error {
    Error::Usage(text.to_owned())
}

/// Decimal, or hex behind `0x`.
fn number(text: &str) -> Result<u64, Error> {
    let value = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    value.map_err(|_| usage(&format!("`{text}` is no number: decimal, or hex with 0x")))
}

/// A port or a range of them, in hex as everywhere.
fn port(text: &str, input: bool, output: bool) -> Result<What, Error> {
    let bad = || usage(&format!("`{text}` is no port: give it in hex, 3f8 or 3f8-3ff"));
    let hex = |text: &str| u16::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).map_err(|_| bad());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (hex(first)?, hex(last)?);
    if first <= last { Ok(What::Port { first, last, input, output }) } else { Err(bad()) }
}

/// A call by its name or its number.
fn system_call(text: &str) -> Result<u32, Error> {
    let by_name = (0..1024).find(|&nr| abi::nr::name(nr) == Some(text));
    let by_number = || text.parse().ok();
    by_name.or_else(by_number).ok_or_else(|| usage(&format!("syscall: there is no `{text}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::{Boot, EngineConfig, Image, MachineConfig};

    /// Halts at once.
    fn rom() -> Boot {
        Boot::Bios { rom: Image { name: "rom".to_owned(), bytes: vec![0xf4; 0x1_0000] } }
    }

    fn read(watch: bool, text: &str) -> Result<What, String> {
        let machine = Machine::new(MachineConfig::default(), rom(), EngineConfig::default()).unwrap();
        let target = Target::new(vec![machine.cpu(0)], machine.memory());
        let words: Vec<&str> = text.split_whitespace().collect();
        parse(&machine, &target, watch, &words).map(|(what, _)| what).map_err(|error| error.to_string())
    }

    #[test]
    fn events_are_read_in_every_form() {
        for (text, what) in [
            ("c0100000 ring=0", What::Instruction(0xc010_0000)),
            ("syscall", What::SystemCall(vec![])),
            ("syscall write 1 cpu=0", What::SystemCall(vec![4, 1])),
            ("exec", What::SystemCall(vec![11])),
            ("fault", What::Fault(0, u32::MAX)),
            ("fault 10002345", What::Fault(0x1000_2000, 0x1000_2fff)),
            ("fault 0x10 32", What::Fault(0x10, 0x2f)),
            ("port 3f8-3ff out", What::Port { first: 0x3f8, last: 0x3ff, input: false, output: true }),
            ("port 60", What::Port { first: 0x60, last: 0x60, input: true, output: true }),
            ("vector 0x80", What::Vector(0x80)),
            ("vector 14", What::Vector(14)),
            ("cr3", What::LoadCr3),
        ] {
            assert_eq!(read(false, text), Ok(what), "{text}");
        }
        let watch = |space, first, len, kind| Ok(What::Memory(Watch::new(space, first, len, kind).unwrap()));
        assert_eq!(read(true, "1000"), watch(WatchSpace::Linear, 0x1000, 4, WatchKind::Write));
        assert_eq!(read(true, "1000 0x2000 rw phys"), watch(WatchSpace::Physical, 0x1000, 0x2000, WatchKind::Access));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_word_that_is_wrong() {
        for (watch, text, part) in [
            (false, "", "what?"),
            (false, "syscall wirte", "wirte"),
            (false, "vector 256", "255"),
            (false, "port 3ff-3f8", "3ff-3f8"),
            (false, "port zz", "zz"),
            (false, "fork 3", "fork"),
            (false, "1000 2000", "2000"),
            (false, "nowhere", "nowhere"),
            (false, "1000 colour=red", "colour=red"),
            (false, "pte 1000", "paging is off"),
            (false, "fault ffffffff 2", "4 GiB"),
            (true, "", "which address"),
            (true, "1000 0", "none"),
            (true, "ffffffff 2", "4 GiB"),
            (true, "1000 4 5", "`5`"),
            (true, "1ffe alias", "one page"),
            (true, "f0000000 alias", "f0000000"),
        ] {
            let error = read(watch, text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
