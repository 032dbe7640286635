//! What one can ask of a machine, as data and as words.

use serde::{Deserialize, Serialize};

use crate::{Error, Result, nearest};

/// One look at a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "lens", rename_all = "lowercase")]
#[allow(missing_docs, reason = "each is the lens of its name; fields are its words")]
pub enum Request {
    Ps,
    Maps {
        pid: u32,
    },
    Smaps {
        pid: u32,
    },
    Pmap {
        pid: u32,
        extended: bool,
    },
    Status {
        pid: u32,
    },
    Iomem {
        machine: bool,
    },
    Ioports {
        machine: bool,
    },
    Buddyinfo,
    Pagetypeinfo,
    Slabinfo,
    Vmallocinfo,
    Modules,
    Meminfo,
    Vmstat,
    Zoneinfo,
    Interrupts,
    Cpuinfo,
    Swaps,
    Page {
        pfn: u32,
    },
    Verify,
    Walk {
        addr: String,
        cpu: usize,
        pid: Option<u32>,
    },
    Pagetable {
        cpu: usize,
        pid: Option<u32>,
    },
    Tlb {
        cpu: Option<usize>,
    },
    Regs {
        cpu: Option<usize>,
    },
    Disas {
        addr: String,
        count: u32,
        cpu: usize,
        pid: Option<u32>,
    },
    X {
        addr: String,
        count: u32,
        cpu: usize,
        pid: Option<u32>,
    },
    Sym {
        what: String,
    },
    Bt {
        cpu: usize,
    },
    Stats,
    Screen,
    Timeline,
    Why,
    /// The whole machine for those who draw it, in about so many bytes of JSON; no lens of the command line.
    Picture {
        limit: usize,
    },
    /// What `pagewalk top` shows of one instant; no lens of its own on the command line.
    Top {
        /// Virtual time, in nanoseconds: of what happened, only what came at or after it.
        since_ns: u64,
    },
    #[serde(rename = "pagetable-cost")]
    PagetableCost,
    /// A folder that looks like the guest's `/proc`, as a `newc` archive.
    Proc,
    /// The time line as a Chrome trace; no lens of its own on the command line, but `timeline -o`.
    TimelineTrace,
}

/// A lens by name: how it is called and what it shows.
pub const HELP: [(&str, &str); 33] = [
    ("ps", "processes"),
    ("maps PID", "a process's areas, as /proc/PID/maps"),
    ("smaps PID", "the same with what each area holds, as /proc/PID/smaps"),
    ("pmap [-x] PID", "the same as pmap prints it"),
    ("status PID", "a process, as /proc/PID/status"),
    ("iomem [--machine]", "physical memory by owner, as /proc/iomem"),
    ("ioports [--machine]", "I/O ports by owner, as /proc/ioports"),
    ("buddyinfo", "free blocks by zone and order"),
    ("pagetypeinfo", "the same by migrate type, as /proc/pagetypeinfo"),
    ("slabinfo", "slab caches"),
    ("vmallocinfo", "areas of the kernel's vmalloc space, as /proc/vmallocinfo"),
    ("modules", "loaded modules, as /proc/modules"),
    ("meminfo", "memory by use, as /proc/meminfo"),
    ("vmstat", "counters of memory management, as /proc/vmstat"),
    ("zoneinfo", "zones and their marks, as /proc/zoneinfo"),
    ("interrupts", "interrupts by line, as /proc/interrupts"),
    ("cpuinfo", "the processors as the kernel found them"),
    ("swaps", "swap areas, as /proc/swaps"),
    ("page PFN", "a frame: its descriptor, its block, who maps it"),
    ("verify", "whether frames, tables, free blocks and counts agree"),
    ("walk ADDR [--cpu N] [--pid N]", "one translation step by step"),
    ("pagetable [--cpu N] [--pid N]", "mapped ranges with their rights"),
    ("tlb [--cpu N]", "the translations that a CPU holds"),
    ("regs [--cpu N]", "registers"),
    ("disas ADDR [N] [--cpu N] [--pid N]", "instructions"),
    ("x ADDR [N] [--cpu N] [--pid N]", "memory in doublewords"),
    ("sym NAME|ADDR", "a symbol's address, or an address's symbol"),
    ("bt [--cpu N]", "the call stack"),
    ("stats", "counters of the run"),
    ("screen", "the text screen"),
    ("timeline", "the last TLB shootdowns, step by step"),
    ("why", "the last fault that was not resolved, explained"),
    ("pagetable --cost", "what the page tables of all processes cost"),
];

/// Instructions or lines when no number is given.
const DEFAULT_COUNT: u32 = 16;
/// The most that one look prints.
const MAX_COUNT: u32 = 65536;

impl Request {
    /// Reads the words of a command line, the lens's name first.
    pub fn from_words(words: &[&str]) -> Result<Request> {
        let (&name, rest) = words.split_first().ok_or_else(|| Error::Usage("which lens?".into()))?;
        let mut args = Args::parse(name, rest)?;
        let request = match name {
            "ps" => Request::Ps,
            "maps" => Request::Maps { pid: args.number("PID")? },
            "smaps" => Request::Smaps { pid: args.number("PID")? },
            "pmap" => Request::Pmap { pid: args.number("PID")?, extended: args.flag("-x") },
            "status" => Request::Status { pid: args.number("PID")? },
            "iomem" => Request::Iomem { machine: args.flag("--machine") },
            "ioports" => Request::Ioports { machine: args.flag("--machine") },
            "buddyinfo" => Request::Buddyinfo,
            "pagetypeinfo" => Request::Pagetypeinfo,
            "slabinfo" => Request::Slabinfo,
            "vmallocinfo" => Request::Vmallocinfo,
            "modules" => Request::Modules,
            "meminfo" => Request::Meminfo,
            "vmstat" => Request::Vmstat,
            "zoneinfo" => Request::Zoneinfo,
            "interrupts" => Request::Interrupts,
            "cpuinfo" => Request::Cpuinfo,
            "swaps" => Request::Swaps,
            "page" => Request::Page { pfn: args.frame("PFN")? },
            "verify" => Request::Verify,
            "walk" => Request::Walk { addr: args.word("ADDR")?, cpu: args.cpu(), pid: args.pid() },
            "pagetable" if args.flag("--cost") => Request::PagetableCost,
            "proc" => Request::Proc,
            "pagetable" => Request::Pagetable { cpu: args.cpu(), pid: args.pid() },
            "tlb" => Request::Tlb { cpu: args.given_cpu() },
            "regs" => Request::Regs { cpu: args.given_cpu() },
            "disas" => {
                let addr = args.word("ADDR")?;
                Request::Disas { addr, count: args.count()?, cpu: args.cpu(), pid: args.pid() }
            }
            "x" => {
                let addr = args.word("ADDR")?;
                Request::X { addr, count: args.count()?, cpu: args.cpu(), pid: args.pid() }
            }
            "sym" => Request::Sym { what: args.word("NAME|ADDR")? },
            "bt" => Request::Bt { cpu: args.cpu() },
            "stats" => Request::Stats,
            "screen" => Request::Screen,
            "timeline" => Request::Timeline,
            "why" => Request::Why,
            _ => {
                let names = HELP.iter().map(|(usage, _)| usage.split(' ').next().unwrap_or_default());
                let hint = nearest(name, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                return Err(Error::Usage(format!("`{name}` is not a lens of this version{hint}")));
            }
        };
        args.finish()?;
        Ok(request)
    }
}

/// The words after a lens's name.
struct Args<'a> {
    lens: &'a str,
    words: std::collections::VecDeque<&'a str>,
    flags: Vec<&'a str>,
    cpu: Option<usize>,
    pid: Option<u32>,
}

impl<'a> Args<'a> {
    fn parse(lens: &'a str, words: &[&'a str]) -> Result<Self> {
        let mut args = Args { lens, words: Default::default(), flags: Vec::new(), cpu: None, pid: None };
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--cpu" | "--pid" => {
                    let number = words.next().and_then(|number| number.parse::<u32>().ok());
                    let number = number.ok_or_else(|| Error::Usage(format!("{lens}: {word} needs a number")))?;
                    match word {
                        "--cpu" => args.cpu = Some(number as usize),
                        _ => args.pid = Some(number),
                    }
                }
                flag if flag.starts_with('-') => args.flags.push(flag),
                word => args.words.push_back(word),
            }
        }
        Ok(args)
    }

    fn word(&mut self, what: &str) -> Result<String> {
        let word = self.words.pop_front().ok_or_else(|| Error::Usage(format!("{}: {what} is missing", self.lens)))?;
        Ok(word.to_owned())
    }

    fn number(&mut self, what: &str) -> Result<u32> {
        let word = self.word(what)?;
        word.parse().map_err(|_| Error::Usage(format!("{}: `{word}` is no {what}", self.lens)))
    }

    /// A frame's number, decimal or with `0x` before it.
    fn frame(&mut self, what: &str) -> Result<u32> {
        let word = self.word(what)?;
        let hex = word.strip_prefix("0x").map(|digits| u32::from_str_radix(digits, 16));
        hex.unwrap_or_else(|| word.parse()).map_err(|_| Error::Usage(format!("{}: `{word}` is no {what}", self.lens)))
    }

    fn count(&mut self) -> Result<u32> {
        match self.words.is_empty() {
            true => Ok(DEFAULT_COUNT),
            false => Ok(self.number("number")?.clamp(1, MAX_COUNT)),
        }
    }

    fn flag(&mut self, flag: &str) -> bool {
        let before = self.flags.len();
        self.flags.retain(|&given| given != flag);
        self.flags.len() < before
    }

    fn given_cpu(&mut self) -> Option<usize> {
        self.cpu.take()
    }

    fn cpu(&mut self) -> usize {
        self.cpu.take().unwrap_or(0)
    }

    fn pid(&mut self) -> Option<u32> {
        self.pid.take()
    }

    /// Whatever was not used was too much.
    fn finish(self) -> Result<()> {
        let extra = self.flags.first().or(self.words.front()).copied();
        let extra = extra.or(self.cpu.map(|_| "--cpu")).or(self.pid.map(|_| "--pid"));
        extra.map_or(Ok(()), |word| Err(Error::Usage(format!("{}: unexpected `{word}`", self.lens))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request> {
        Request::from_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn words_make_requests() {
        assert_eq!(read("maps 2"), Ok(Request::Maps { pid: 2 }));
        assert_eq!(read("walk main+4 --pid 3"), Ok(Request::Walk { addr: "main+4".into(), cpu: 0, pid: Some(3) }));
        assert_eq!(read("pmap -x 1"), Ok(Request::Pmap { pid: 1, extended: true }));
        assert_eq!(read("disas $eip 4"), Ok(Request::Disas { addr: "$eip".into(), count: 4, cpu: 0, pid: None }));
        assert_eq!(read("page 0x20"), Ok(Request::Page { pfn: 32 }));
        assert_eq!(read("page 20"), Ok(Request::Page { pfn: 20 }));
        assert_eq!(read("tlb --cpu 1"), Ok(Request::Tlb { cpu: Some(1) }));
    }

    #[test]
    fn bad_words_are_named() {
        let error = |line| read(line).unwrap_err().to_string();
        assert_eq!(error(""), "which lens?");
        assert_eq!(error("maps"), "maps: PID is missing");
        assert_eq!(error("maps x"), "maps: `x` is no PID");
        assert_eq!(error("ps 3"), "ps: unexpected `3`");
        assert_eq!(error("regs --cpu"), "regs: --cpu needs a number");
        assert_eq!(error("buddyinfo --pid 1"), "buddyinfo: unexpected `--pid`");
        assert_eq!(error("pagetabel"), "`pagetabel` is not a lens of this version; did you mean `pagetable`?");
        assert_eq!(error("frob"), "`frob` is not a lens of this version");
    }

    #[test]
    fn every_lens_in_the_help_is_read() {
        for (usage, _) in HELP {
            let line = usage.replace("ADDR", "0").replace("PID", "1").replace("PFN", "1").replace("NAME|0", "x");
            let words: Vec<&str> = line.split_whitespace().filter(|word| !word.contains(['[', ']'])).collect();
            assert!(Request::from_words(&words).is_ok(), "{usage}");
        }
    }

    #[test]
    fn requests_travel_as_json() {
        let request = Request::Walk { addr: "gs:0".into(), cpu: 0, pid: None };
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(json, r#"{"lens":"walk","addr":"gs:0","cpu":0,"pid":null}"#);
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
    }
}
