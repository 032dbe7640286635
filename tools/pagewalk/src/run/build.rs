//! From what is loaded to a machine at its first instruction.

use machine::{Boot, CpuModel, EngineConfig, Image, Machine, MachineConfig, SerialInput};

use super::prepare::{self, Mode, Stream, Streams, cannot_start};
use crate::{
    cli::{CpuModelArg, RunArgs},
    error::Error,
};

/// Builds the machine and loads what it boots.
pub fn machine(args: &RunArgs, boot: prepare::Boot, streams: Streams) -> Result<Machine, Error> {
    let config = MachineConfig {
        memory_bytes: args.memory,
        cpu_model: match args.cpu_model {
            CpuModelArg::Pentium3 => CpuModel::Pentium3,
            CpuModelArg::Core2 => CpuModel::Core2,
            CpuModelArg::Max => CpuModel::Max,
        },
        serial: serial(boot.mode, streams),
        tlb: args.tlb.unwrap_or_default(),
        ..MachineConfig::default()
    };
    let name = args.kernel.as_ref().or(args.guest.as_ref().filter(|_| boot.mode == Mode::Kernel));
    let images = Boot::Multiboot {
        kernel: Image {
            name: name.map_or_else(|| "embedded kernel".to_owned(), |path| path.display().to_string()),
            bytes: boot.kernel,
        },
        command_line: boot.command_line,
        modules: boot.modules.into_iter().map(|(name, bytes)| (Image { name: name.clone(), bytes }, name)).collect(),
    };
    Machine::new(config, images, EngineConfig::default()).map_err(cannot_start)
}

/// Which serial ports there are, and what speaks at their far ends. A program's raw streams go
/// through COM2 and COM3; the console is COM1.
fn serial(mode: Mode, streams: Streams) -> [Option<SerialInput>; 4] {
    let console = match streams.stdin {
        Stream::Terminal => SerialInput::Live,
        Stream::Absent => SerialInput::None,
        Stream::Raw if mode == Mode::Program => SerialInput::None,
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
