//! From what is loaded to a machine at its first instruction.

use machine::{CpuModel, DiskAccess, DiskConfig, Machine, MachineConfig, SerialInput};

use super::prepare::{self, Mode, Stream, Streams, cannot_start};
use crate::{
    cli::{CpuModelArg, DisplayArg, RunArgs},
    error::Error,
};

/// Builds the machine and loads what it boots.
pub fn machine(args: &RunArgs, boot: prepare::Boot, streams: Streams) -> Result<Machine, Error> {
    let config = MachineConfig {
        memory_bytes: args.machine.memory,
        cpus: args.machine.cpus as u8,
        schedule_seed: args.machine.schedule_seed,
        cpu_model: match args.machine.cpu_model {
            CpuModelArg::Pentium3 => CpuModel::Pentium3,
            CpuModelArg::Core2 => CpuModel::Core2,
            CpuModelArg::Max => CpuModel::Max,
        },
        serial: serial(boot.mode, streams),
        tlb: args.machine.tlb.unwrap_or_default(),
        post_port: args.machine.post_port,
        test_device: args.machine.testdev,
        keyboard: shows_live(args, streams),
        disks: disks(args)?,
        ..MachineConfig::default()
    };
    Machine::new(config, boot.images, args.machine.engine.config()).map_err(cannot_start)
}

/// Whether the guest's screen is on the terminal all along, and what is typed goes to its keyboard.
pub fn shows_live(args: &RunArgs, streams: Streams) -> bool {
    args.display == Some(DisplayArg::Text)
        && args.gdb.is_none()
        && args.trace.is_none()
        && [streams.stdin, streams.stdout] == [Stream::Terminal; 2]
}

/// The disks in their order: images, then swap.
fn disks(args: &RunArgs) -> Result<Vec<DiskConfig>, Error> {
    let access = if args.machine.snapshot_disk { DiskAccess::Keep } else { DiskAccess::Write };
    let images = args.machine.disks.iter().map(|path| DiskConfig::image(path, access));
    let swap = args.machine.swap.map(DiskConfig::swap);
    let mut disks = images.chain(swap).collect::<Result<Vec<_>, _>>().map_err(cannot_start)?;
    let count = disks.len();
    for fault in &args.machine.disk_errors {
        let Some(disk) = disks.get_mut(fault.disk) else {
            return Err(Error::Usage(format!(
                "--disk-error names disk {}, but disks are counted from 0 and there are {count}, swap included",
                fault.disk
            )));
        };
        disk.faulty.push(fault.sectors);
    }
    Ok(disks)
}

/// Which serial ports there are, and what speaks at their far ends. A program's raw streams go
/// through COM2 and COM3; the console is COM1.
fn serial(mode: Mode, streams: Streams) -> [Option<SerialInput>; 4] {
    let console = match streams.stdin {
        Stream::Terminal => SerialInput::Live,
        Stream::Absent => SerialInput::None,
        Stream::Raw if mode == Mode::Program => SerialInput::None,
        Stream::Raw if mode == Mode::Kernel => SerialInput::OnInterest,
        Stream::Raw => SerialInput::OnDemand,
    };
    match mode {
        Mode::Tour | Mode::Kernel => [Some(console), None, None, None],
        Mode::Program => {
            let stdin = if streams.stdin == Stream::Raw { SerialInput::OnDemand } else { SerialInput::None };
            [Some(console), Some(stdin), Some(SerialInput::None), None]
        }
    }
}
