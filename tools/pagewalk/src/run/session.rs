//! A run from its first instruction to its exit status.

use std::{
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
    time::Instant,
};

use machine::{Machine, RunLimit, Stop};

use super::{
    build,
    check::TlbCheck,
    display, finish,
    host::{Surroundings, Want},
    keeper::{End, Keeper},
    orders::{self, Orders},
    prepare::{self, Mode, Stream, Streams, cannot_start},
    sampler::Sampler,
    signals, stats,
    terminal::Terminal,
    trace::Tracer,
    why::Explainer,
};
use crate::{
    cli::{DisplayArg, RunArgs},
    error::{Error, status},
    lens::{self, control},
};

/// A machine with its surroundings.
pub struct Session<'a> {
    args: &'a RunArgs,
    machine: Machine,
    host: Surroundings,
    orders: Option<Orders>,
    sampler: Option<Sampler>,
    debugger: Option<Rc<gdb::Server>>,
    tracer: Option<Tracer>,
    check: Option<TlbCheck>,
    signal: Arc<AtomicBool>,
    stdin: Stream,
    /// GUEST's name, for messages.
    name: String,
    began: Instant,
    /// How long the end of gdb is waited for when it lets go.
    leave: Duration,
}

impl<'a> Session<'a> {
    /// A machine at its first instruction.
    pub fn new(args: &'a RunArgs, boot: prepare::Boot, streams: Streams, verbose: u8) -> Result<Self, Error> {
        let mode = boot.mode;
        let name = match &boot.program {
            Some(path) => path.display().to_string(),
            None => "the guest".to_owned(),
        };
        let machine = build::machine(args, boot, streams)?;
        Self::around(args, machine, mode, name, streams, verbose)
    }

    /// A saved machine, to go on.
    pub fn restore(args: &'a RunArgs, file: &Path, streams: Streams, verbose: u8) -> Result<Self, Error> {
        let mut machine = Machine::restore(file, args.machine.engine.config()).map_err(cannot_start)?;
        machine.attach_disks(machine::DiskPurpose::Run).map_err(cannot_start)?;
        if let Some(seed) = args.machine.schedule_seed {
            machine.draw_schedule(seed);
        }
        let mode = orders::mode_of(&machine);
        Self::around(args, machine, mode, file.display().to_string(), streams, verbose)
    }

    fn around(
        args: &'a RunArgs,
        mut machine: Machine,
        mode: Mode,
        name: String,
        streams: Streams,
        verbose: u8,
    ) -> Result<Self, Error> {
        if let Some(file) = &args.save {
            finish::check_writable(file)?;
        }
        let timeout = match args.timeout {
            Some(seconds) => Some(
                Duration::try_from_secs_f64(seconds)
                    .map_err(|_| Error::Usage(format!("--timeout wants seconds, not {seconds}")))?,
            ),
            None => None,
        };
        let control = match &args.machine.name {
            Some(name) => Some(control::Server::open(name).map_err(cannot_start)?),
            None => None,
        };
        if let Some(server) = &control {
            signals::remove_at_end(server.path().to_owned());
        }
        let debugger = match &args.gdb {
            Some(addr) => {
                let addr = gdb::ListenAddr::parse(addr).map_err(|e| Error::Usage(e.to_string()))?;
                let setup = lens::gdb_setup(machine.boot_images());
                Some(Rc::new(gdb::Server::bind(&addr, setup).map_err(cannot_start)?))
            }
            None => None,
        };
        if let Some(gdb::ListenAddr::Unix(path)) = debugger.as_ref().map(|server| server.addr()) {
            signals::remove_at_end(path.clone());
        }
        if machine.cpu_count() > 1 && is_looked_at(args, streams) {
            lens::note_points(&mut machine);
        }
        if args.follow_tables || is_looked_at(args, streams) {
            machine.follow_tables();
        }
        let tracer = Tracer::new(args, &mut machine)?;
        let sampler = args.sample.map(|every| Sampler::new(every, &mut machine));
        let check = args.check_tlb.then(|| TlbCheck::begin(&mut machine));
        let signal = signals::watch(streams.stdin)?;
        let waiting = control.as_ref().map(control::Server::waiting);
        let gdb_waits = debugger.clone();
        let mut host = Surroundings::new(
            mode,
            streams,
            verbose > 0,
            Arc::clone(&signal),
            timeout,
            Box::new(move || {
                waiting.as_ref().is_some_and(|waiting| waiting.get())
                    || gdb_waits.as_ref().is_some_and(|server| server.wants_attention())
            }),
        );
        if streams.stdin == Stream::Terminal {
            host.set_terminal(Terminal::open()?);
        }
        host.set_explainer(Explainer::begin(&mut machine));
        if build::shows_live(args, streams) {
            host.open_display();
        }
        Ok(Session {
            args,
            machine,
            host,
            orders: control.map(Orders::new),
            sampler,
            debugger,
            tracer,
            check,
            signal,
            stdin: streams.stdin,
            name,
            began: Instant::now(),
            leave: Duration::ZERO,
        })
    }

    /// Runs to the end and tells the exit status.
    pub fn run(mut self) -> Result<u8, Error> {
        let mut end = self.run_to_end()?;
        self.host.flush();
        if let Some(want @ (Want::Closed | Want::OutputFailed(_))) = self.host.take_want() {
            end = End::Wanted(want);
        }
        self.host.close_display();
        super::terminal::restore();
        if self.args.display == Some(DisplayArg::Text) && !matches!(end, End::Wanted(Want::Closed)) {
            self.print_screen();
        }
        let status = self.status(&end)?;
        if let Some(sampler) = &mut self.sampler {
            sampler.finish(&mut self.machine);
        }
        if let Some(file) = &self.args.save {
            self.host.keep_explanation(&mut self.machine);
            finish::save(&self.machine, file)?;
        }
        if let Some(format) = self.args.stats {
            stats::print(&self.machine, self.began.elapsed(), format);
        }
        Ok(self.check.as_ref().map_or(status, |check| check.status(status)))
    }

    /// gdb's end is the run's: one that lets go may be about to end, and until `leave` is over the
    /// machine does not go on without it.
    pub fn end_with_gdb(&mut self, leave: Duration) {
        self.leave = leave;
    }

    /// Runs to where the program that is debugged begins, before gdb is there; its entry point. The
    /// machine's end on the way is one of the error's lines.
    pub fn run_to_program(&mut self) -> Result<Option<u32>, Error> {
        let Some(server) = self.debugger.clone() else { return Ok(None) };
        let (mut keeper, machine) = self.keeper();
        let ahead = server.run_to_program(machine, &mut keeper);
        self.host.flush();
        match ahead {
            gdb::Ahead::AtProgram { entry } => Ok(entry),
            gdb::Ahead::NotFound => Ok(None),
            gdb::Ahead::Ended(status) => Err(Error::CannotStart(format!(
                "{}: the machine ended with status {status} before the program began; `pagewalk run` tells more",
                self.name
            ))),
        }
    }

    /// The flag that ends the run when it is set.
    pub fn signal(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.signal)
    }

    fn run_to_end(&mut self) -> Result<End, Error> {
        if let Some(server) = self.debugger.clone().filter(|_| !self.args.gdb_nowait) {
            if self.streams_are_ours() {
                crate::say(&format!("waiting for gdb on {}", server.addr()));
            }
            let (signal, leave) = (self.signal(), self.leave);
            let (mut keeper, machine) = self.keeper();
            let ending = server.hold(machine, &mut keeper).map(Some);
            if matches!(ending, Ok(Some(gdb::Ending::Detached))) {
                wait_for(&signal, leave);
            }
            if let Some(end) = keeper.after_gdb(ending)? {
                return Ok(end);
            }
        }
        if let Some(mut tracer) = self.tracer.take() {
            let (mut keeper, machine) = self.keeper();
            let end = tracer.run(machine, &mut keeper);
            tracer.finish(machine)?;
            return end;
        }
        let debugger = self.debugger.clone();
        loop {
            let (mut keeper, machine) = self.keeper();
            let limit = RunLimit { retired: keeper.limit(), ..RunLimit::default() };
            let stop = machine.run(limit, keeper.host);
            keeper.host.draw(machine);
            if let Some(end) = keeper.attend(machine, stop)? {
                return Ok(end);
            }
            if let Some(server) = &debugger {
                let ending = server.poll(machine, &mut keeper);
                if let Some(end) = keeper.after_gdb(ending)? {
                    return Ok(end);
                }
            }
        }
    }

    /// What was on the guest's screen at the end.
    fn print_screen(&self) {
        if let Err(e) = display::print(&self.machine)
            && e.kind() != std::io::ErrorKind::BrokenPipe
        {
            crate::say(&format!("standard output: {e}"));
        }
    }

    fn keeper(&mut self) -> (Keeper<'_>, &mut Machine) {
        let keeper = Keeper {
            args: self.args,
            host: &mut self.host,
            orders: self.orders.as_mut(),
            check: self.check.as_mut(),
            sampler: self.sampler.as_mut(),
            end: None,
        };
        (keeper, &mut self.machine)
    }

    /// Whether our standard error is free for messages, and not gdb's screen.
    fn streams_are_ours(&self) -> bool {
        self.stdin != Stream::Absent
    }

    /// A run that failed under a drawn schedule fails again with the same seed.
    fn say_seed(&self, failed: bool) {
        let config = self.machine.config();
        if let Some(seed) = config.schedule_seed.filter(|_| failed) {
            crate::say(&format!("{}: again with --cpus {} --schedule-seed {seed}", self.name, config.cpus));
        }
    }

    /// The exit status, and on standard error what the user must know.
    fn status(&mut self, end: &End) -> Result<u8, Error> {
        let stop = match end {
            End::Stopped(stop) => stop,
            End::Wanted(Want::Timeout) => {
                crate::say(&format!("{}: the time limit is reached", self.name));
                self.say_seed(true);
                return Ok(status::LIMIT);
            }
            End::Wanted(Want::OutputFailed(why)) => return Err(Error::CannotStart(why.clone())),
            // What a shell reports of a program that SIGPIPE ended.
            End::Wanted(Want::Closed) => return Ok(128 + 13),
            End::Wanted(Want::Quit | Want::Monitor) => return Ok(status::INTERRUPTED),
            End::Killed => return Ok(128 + 9),
        };
        let status = finish::status(*stop, self.args, &self.machine);
        if let Some(line) = finish::report(*stop, self.args, self.host.mode(), &self.name) {
            crate::say(&line);
        }
        if finish::is_crash(*stop) {
            self.host.explain_end(&mut self.machine, *stop);
            finish::show_console(&self.host);
            if !matches!(stop, Stop::PowerOff { .. }) {
                eprint!("{}", finish::registers(&self.machine));
            }
        }
        self.say_seed(status != 0 && (finish::is_crash(*stop) || *stop == Stop::Limit));
        Ok(status)
    }
}

/// Waits for a signal, but not for long.
fn wait_for(signal: &AtomicBool, most: Duration) {
    let began = Instant::now();
    while began.elapsed() < most && !signal.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether somebody may ask for the time line or for a fault: then the kernel's own word of its shootdowns is
/// worth a stop at each, and who changed a mapping is worth following.
fn is_looked_at(args: &RunArgs, streams: Streams) -> bool {
    args.save.is_some()
        || args.machine.name.is_some()
        || args.gdb.is_some()
        || args.trace.is_some()
        || args.check_tlb
        || streams.stdin == Stream::Terminal
}
