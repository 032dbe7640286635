//! What must hold for a stop besides what it waits for.

use std::fmt;

use inspect::{Error, KernelImage};
use machine::Machine;

use super::judge::Process;

/// Every part that is given must hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Condition {
    /// In this process, in any of its threads.
    pub pid: Option<u32>,
    /// With this page directory.
    pub cr3: Option<u32>,
    /// At this privilege level.
    pub ring: Option<u8>,
    /// On this CPU.
    pub cpu: Option<usize>,
}

impl Condition {
    /// Takes in `pid=N`, `cr3=HEX`, `ring=N` or `cpu=N`.
    ///
    /// # Errors
    /// [`Error::Usage`] for anything else, and for what can never hold.
    pub fn add(&mut self, word: &str, cpus: usize) -> Result<(), Error> {
        let bad = || Error::Usage(format!("`{word}` is none of pid=N, cr3=HEX, ring=N, cpu=N"));
        let (name, value) = word.split_once('=').ok_or_else(bad)?;
        match name {
            "pid" => self.pid = Some(value.parse().map_err(|_| bad())?),
            "cr3" => {
                let digits = value.strip_prefix("0x").unwrap_or(value);
                self.cr3 = Some(u32::from_str_radix(digits, 16).map_err(|_| bad())?);
            }
            "ring" => {
                let ring = value.parse().ok().filter(|ring| *ring < 4);
                self.ring = Some(ring.ok_or_else(|| Error::Usage(format!("`{word}`: rings are 0 to 3")))?);
            }
            "cpu" => {
                let cpu = value.parse().ok().filter(|cpu| *cpu < cpus);
                self.cpu = Some(cpu.ok_or_else(|| Error::Usage(format!("`{word}`: the CPUs are 0 to {}", cpus - 1)))?);
            }
            _ => return Err(bad()),
        }
        Ok(())
    }

    /// Whether it holds in any case.
    pub fn is_empty(&self) -> bool {
        *self == Condition::default()
    }

    /// Whether it holds on `cpu` now. What is cheap is asked first.
    pub fn holds(&self, machine: &Machine, kernel: &KernelImage, cpu: usize) -> bool {
        let state = machine.cpu(cpu);
        self.cpu.is_none_or(|wanted| wanted == cpu)
            && self.ring.is_none_or(|ring| ring == state.cpl)
            && self.cr3.is_none_or(|cr3| cr3 & !0xfff == state.cr3 & !0xfff)
            && self.pid.is_none_or(|pid| Process::on(machine, kernel, cpu).is_some_and(|it| it.pid == pid))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pid.map_or(Ok(()), |pid| write!(f, " pid={pid}"))?;
        self.cr3.map_or(Ok(()), |cr3| write!(f, " cr3={cr3:08x}"))?;
        self.ring.map_or(Ok(()), |ring| write!(f, " ring={ring}"))?;
        self.cpu.map_or(Ok(()), |cpu| write!(f, " cpu={cpu}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_written_alike_and_what_can_never_hold_is_refused() {
        let mut condition = Condition::default();
        for word in ["pid=3", "cr3=0x01f3d000", "ring=0", "cpu=1"] {
            condition.add(word, 2).unwrap();
        }
        assert_eq!(condition.to_string(), " pid=3 cr3=01f3d000 ring=0 cpu=1");
        for bad in ["pid", "pid=x", "pid=-1", "color=3", "ring=4", "cpu=2", "cr3=g", "="] {
            assert!(Condition::default().add(bad, 2).is_err(), "{bad}");
        }
    }
}
