//! The commands that control a running machine.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Ask, ControlError, Reply, ask};
use crate::lens::LensError;

/// Which running machine, and how to print.
#[derive(Args, Debug, Clone)]
pub struct Which {
    /// The machine (`run --name NAME`). Default: the only one that runs.
    #[arg(long, value_name = "NAME")]
    vm: Option<String>,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug, Clone)]
pub enum Command {
    /// Let a running machine stand still: lenses see one and the same instant until `resume` or `step`.
    Pause {
        #[command(flatten)]
        which: Which,
    },
    /// Let a paused machine go on.
    Resume {
        #[command(flatten)]
        which: Which,
    },
    /// Let a machine do some instructions, of all its CPUs together, and stand still then.
    Step {
        /// How many.
        #[arg(value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        instructions: u64,
        #[command(flatten)]
        which: Which,
    },
    /// Save a running machine as it is now; it goes on.
    Save {
        /// The file. One that is there stays until the new one is whole.
        file: PathBuf,
        #[command(flatten)]
        which: Which,
    },
    /// Go on from a saved machine: in the place of a running one with --vm, else as `run --snapshot FILE`.
    Restore {
        /// The saved machine.
        file: PathBuf,
        /// The running machine that it replaces, which is lost.
        #[arg(long, value_name = "NAME")]
        vm: Option<String>,
        /// With --vm: JSON instead of text.
        #[arg(long, requires = "vm")]
        json: bool,
    },
    /// End a running machine.
    Quit {
        /// The machine (`run --name NAME`). Default: the only one that runs.
        #[arg(long, value_name = "NAME")]
        vm: Option<String>,
    },
}

impl Command {
    /// The saved machine that is to be run in this process, if that is what the command wants.
    pub fn to_run(&self) -> Option<&Path> {
        match self {
            Command::Restore { file, vm: None, .. } => Some(file),
            _ => None,
        }
    }

    /// Has the running machine do it, and prints how it is then.
    pub fn execute(self) -> Result<(), LensError> {
        let (request, which) = match self {
            Command::Pause { which } => (Ask::Pause, which),
            Command::Resume { which } => (Ask::Resume, which),
            Command::Step { instructions, which } => (Ask::Step { instructions }, which),
            Command::Save { file, which } => (Ask::Save { file: absolute(&file)? }, which),
            Command::Restore { file, vm, json } => (Ask::Restore { file: absolute(&file)? }, Which { vm, json }),
            Command::Quit { vm } => (Ask::Quit, Which { vm, json: false }),
        };
        which.show(&request)
    }
}

impl Which {
    /// Asks, and prints how the machine is then.
    fn show(&self, request: &Ask) -> Result<(), LensError> {
        show(self.vm.as_deref(), request, self.json)
    }
}

/// How the machine `vm` is, or the only one that runs.
pub fn status(vm: Option<&str>, json: bool) -> Result<(), LensError> {
    show(vm, &Ask::Status, json)
}

fn show(vm: Option<&str>, request: &Ask, json: bool) -> Result<(), LensError> {
    let text = match ask(vm, request)? {
        Reply::Status(status) if json => {
            format!("{:#}\n", serde_json::to_value(status).expect("a status is plain data"))
        }
        Reply::Status(status) => status.line(),
        Reply::Done => String::new(),
        other => return Err(ControlError::Protocol(format!("{other:?}")).into()),
    };
    crate::lens::write_out(text.as_bytes())
}

/// The file's name as the machine's process finds it, which has a working folder of its own.
fn absolute(file: &Path) -> Result<String, ControlError> {
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    path.to_str().map(str::to_owned).ok_or(ControlError::NotUnicode(path))
}
