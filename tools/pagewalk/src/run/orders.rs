//! What clients of the control socket ask of a run, done between two instructions. Readers are answered
//! whatever the machine does; what changes its course is refused while another client's step is under way.

use std::{path::Path, time::Duration};

use machine::Machine;

use super::{
    host::Want,
    keeper::{End, Keeper},
    monitor,
    prepare::Mode,
    why::Explainer,
};
use crate::lens::{
    self, Shown,
    control::{Ask, Asked, Reply, Server, State, Status},
};

/// How long a machine that stands still waits for an ask before it looks at signals and keys.
const NAP: Duration = Duration::from_millis(10);

/// The control socket of a run, and what was ordered through it.
pub struct Orders {
    server: Server,
    pace: Pace,
    /// Who waits for the end of a step.
    stepper: Option<Asked>,
}

/// How the machine goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pace {
    Running,
    Paused,
    /// Until so many instructions are retired.
    Stepping(u64),
}

impl Orders {
    /// Those that come through this socket.
    pub fn new(server: Server) -> Self {
        Orders { server, pace: Pace::Running, stepper: None }
    }

    /// The count of instructions at which a step is over.
    pub fn goal(&self) -> Option<u64> {
        match self.pace {
            Pace::Stepping(goal) => Some(goal),
            Pace::Running | Pace::Paused => None,
        }
    }

    fn is_paused(&self) -> bool {
        self.pace == Pace::Paused
    }

    /// From now on the machine goes so; a step that was under way is over.
    fn set_pace(&mut self, pace: Pace, status: impl Fn(State) -> Status) {
        self.pace = pace;
        if let Some(stepper) = self.stepper.take() {
            stepper.answer(Reply::Status(status(self.state())));
        }
    }

    fn state(&self) -> State {
        match self.pace {
            Pace::Running => State::Running,
            Pace::Paused => State::Paused,
            Pace::Stepping(_) => State::Stepping,
        }
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        if let Some(stepper) = self.stepper.take() {
            stepper.refuse("the machine ended before the step was done");
        }
    }
}

impl Keeper<'_> {
    /// Answers clients and does what the user typed, for as long as the machine is to stand still.
    pub(super) fn look_around(&mut self, machine: &mut Machine) -> Option<End> {
        loop {
            let mut wait = Duration::ZERO;
            if self.is_paused() {
                self.host.draw(machine);
                self.host.attend_terminal();
                // It flushes, and notices signals and the time limit.
                machine::Host::interrupted(self.host);
                wait = NAP;
            }
            while let Some(asked) = self.orders.as_mut().and_then(|orders| orders.server.next(wait)) {
                if let Some(end) = self.obey(machine, asked) {
                    return Some(end);
                }
                wait = Duration::ZERO;
            }
            match self.host.take_want() {
                None => {}
                Some(Want::Monitor) => match monitor::run(machine, self.host) {
                    monitor::After::Quit => return Some(End::Wanted(Want::Quit)),
                    monitor::After::Resume => self.set_pace(machine, Pace::Running),
                },
                Some(want) => return Some(End::Wanted(want)),
            }
            if !self.is_paused() {
                return None;
            }
        }
    }

    /// The instructions of a step are done.
    pub(super) fn end_step(&mut self, machine: &Machine) {
        self.set_pace(machine, Pace::Paused);
    }

    fn is_paused(&self) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.is_paused())
    }

    fn set_pace(&mut self, machine: &Machine, pace: Pace) {
        if let Some(orders) = &mut self.orders {
            let name = orders.server.name().to_owned();
            orders.set_pace(pace, |state| status(machine, &name, state));
        }
    }

    /// Does what one client asks.
    fn obey(&mut self, machine: &mut Machine, asked: Asked) -> Option<End> {
        if let Some(why) = self.forbids(&asked.ask) {
            asked.refuse(why);
            return None;
        }
        match asked.ask.clone() {
            Ask::Look { request, json } => {
                match lens::look(machine, &request) {
                    Ok(answer) => asked.answer(Reply::Shown(Shown::of(answer, json).into())),
                    Err(why) => asked.refuse(why.to_string()),
                }
                return None;
            }
            Ask::Quit => {
                asked.answer(Reply::Done);
                return Some(End::Wanted(Want::Quit));
            }
            Ask::Step { instructions } => {
                let goal = machine.retired().saturating_add(instructions);
                if let Some(orders) = &mut self.orders {
                    (orders.pace, orders.stepper) = (Pace::Stepping(goal), Some(asked));
                }
                return None;
            }
            Ask::Hello { .. } | Ask::Status => {}
            Ask::Pause => self.set_pace(machine, Pace::Paused),
            Ask::Resume => self.set_pace(machine, Pace::Running),
            Ask::Save { file } => {
                if let Err(why) = self.save(machine, Path::new(&file)) {
                    asked.refuse(why);
                    return None;
                }
            }
            Ask::Restore { file } => {
                if let Err(why) = self.restore(machine, Path::new(&file)) {
                    asked.refuse(why);
                    return None;
                }
            }
        }
        if let Some(orders) = &self.orders {
            let state = if self.args.gdb.is_some() { State::Debugged } else { orders.state() };
            asked.answer(Reply::Status(status(machine, orders.server.name(), state)));
        }
        None
    }

    /// Why something can't be asked now.
    fn forbids(&self, ask: &Ask) -> Option<String> {
        let changes_course = matches!(ask, Ask::Pause | Ask::Resume | Ask::Step { .. } | Ask::Restore { .. });
        if changes_course && self.args.gdb.is_some() {
            return Some("gdb stops, steps and continues this machine (--gdb)".into());
        }
        let is_stepping = self.orders.as_ref().is_some_and(|orders| orders.goal().is_some());
        match ask {
            Ask::Resume | Ask::Step { .. } | Ask::Restore { .. } if is_stepping => {
                Some("another client's step is under way; `pause` ends it".into())
            }
            Ask::Step { instructions: 0 } => Some("a step has at least one instruction".into()),
            Ask::Restore { .. } if self.args.trace.is_some() => {
                Some("a machine under --trace is not replaced: what is traced is one run".into())
            }
            Ask::Restore { .. } if self.args.check_tlb => {
                Some("a machine under --check-tlb is not replaced: what is checked is one run".into())
            }
            Ask::Save { file } | Ask::Restore { file } if !Path::new(file).is_absolute() => {
                Some(format!("{file}: not an absolute path, and the machine's process has a folder of its own"))
            }
            _ => None,
        }
    }

    fn save(&mut self, machine: &mut Machine, file: &Path) -> Result<(), String> {
        self.host.flush();
        self.host.keep_explanation(machine);
        machine.save(file).map_err(|why| why.to_string())
    }

    /// Puts a saved machine in the place of this one, which is lost. Nothing is changed if that fails.
    fn restore(&mut self, machine: &mut Machine, file: &Path) -> Result<(), String> {
        let mut saved = Machine::restore(file, machine.engine_config()).map_err(|why| why.to_string())?;
        if let Some(limit) = self.last_instruction().filter(|&limit| limit <= saved.retired()) {
            let come = saved.retired();
            return Err(format!("{}: has come to {come} instructions, and this run ends at {limit}", file.display()));
        }
        saved.attach_disks_in_place_of(machine).map_err(|why| why.to_string())?;
        if saved.cpu_count() > 1 {
            lens::note_points(&mut saved);
        }
        saved.follow_tables();
        self.host.flush();
        *machine = saved;
        self.host.set_mode(mode_of(machine));
        self.host.set_explainer(Explainer::begin(machine));
        if let Some(sampler) = &mut self.sampler {
            sampler.begin(machine);
        }
        Ok(())
    }
}

/// What a saved machine ran: a program has lines of its own for its standard streams.
pub fn mode_of(machine: &Machine) -> Mode {
    if machine.config().serial[1].is_some() { Mode::Program } else { Mode::Kernel }
}

fn status(machine: &Machine, name: &str, state: State) -> Status {
    let current = machine.current_cpu();
    Status {
        name: name.to_owned(),
        state,
        instructions: machine.retired(),
        virtual_ns: machine.now_ns(),
        cpus: machine.cpu_count(),
        current,
        eip: machine.cpu(current).eip,
    }
}
