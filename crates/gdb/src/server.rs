//! Waiting for gdb, session after session.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use inspect::{Answer, KernelImage, Program, Request};
use machine::{Host, Machine, Stop};

use crate::link::{Link, Stream};
use crate::listen::{ListenAddr, Listener};
use crate::stub::Stub;
use crate::{Error, session};

/// Connections that are told at once that the machine is taken; others are just closed.
const MOST_TURNED_AWAY: usize = 8;
/// How long a wait sleeps between two looks.
const NAP: Duration = Duration::from_millis(10);

/// What becomes of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on.
    GoOn,
    /// It has ended, with this status.
    End(u8),
}

/// Who looks after the machine while gdb has it.
pub trait Keeper {
    /// What is outside the machine.
    fn host(&mut self) -> &mut dyn Host;
    /// The machine stopped for a reason that is not the debugger's: a signal to us, a limit,
    /// power off, a reset.
    fn stopped(&mut self, machine: &mut Machine, stop: Stop) -> Verdict;
    /// The machine rests while gdb thinks; called some ten times a second or more.
    fn resting(&mut self, machine: &mut Machine) -> Verdict;
    /// The count of retired instructions beyond which the machine must not run; reaching it is
    /// [`Stop::Limit`] to [`Keeper::stopped`].
    fn limit(&self) -> Option<u64> {
        None
    }
    /// What a lens shows of the machine, with all that is known of it.
    ///
    /// # Errors
    /// Those of the lens.
    fn look(&self, machine: &Machine, request: &Request) -> Result<Answer, inspect::Error>;
    /// The contents of a file of the guest, links followed, as the host knows it.
    fn file(&self, machine: &Machine, path: &[u8]) -> Option<Vec<u8>>;
}

/// What gdb is told about the machine.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Guest path of the program that is debugged: breakpoints in user space stop only in
    /// processes that run it, and its view is the one served.
    pub program: Option<Vec<u8>>,
    /// Programs whose symbols the monitor's commands know.
    pub programs: Vec<Program>,
}

/// How a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// gdb let go, or went away: the machine goes on.
    Detached,
    /// gdb asked for the machine's end.
    Killed,
    /// The machine ended by itself, with this status.
    Ended(u8),
}

/// What came of running ahead to the program that is debugged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ahead {
    /// The CPU is at the first instruction of its process: of its dynamic linker, if it has one.
    AtProgram {
        /// Where the program itself begins in its address space, if the CPU is not there yet.
        entry: Option<u32>,
    },
    /// The kernel does not say where it enters programs: the machine has not run.
    NotFound,
    /// The machine ended before, with this status.
    Ended(u8),
}

/// A listening stub.
pub struct Server {
    listener: Listener,
    setup: Setup,
    /// A connection that was taken but not yet served.
    knocking: RefCell<Option<Box<dyn Stream>>>,
    /// Set when the gdb of the present session has sent something. Each session has a flag of
    /// its own: the last thing that a connection's reader does is to set it.
    arrived: RefCell<Arc<AtomicBool>>,
    /// Held by each connection that is being told that the machine is taken.
    turning_away: Arc<()>,
}

impl Server {
    /// Listens on `addr`.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub fn bind(addr: &ListenAddr, setup: Setup) -> Result<Self, Error> {
        let listener = Listener::bind(addr)?;
        let (knocking, arrived) = (RefCell::default(), RefCell::default());
        Ok(Server { listener, setup, knocking, arrived, turning_away: Arc::default() })
    }

    /// Where we listen.
    pub fn addr(&self) -> &ListenAddr {
        self.listener.addr()
    }

    /// Whether gdb wants something: a new connection waits, or the present one has sent
    /// something. For a host that decides when a run is interrupted; cheap enough to be asked
    /// a thousand times a second.
    pub fn wants_attention(&self) -> bool {
        self.arrived.borrow().load(Ordering::Relaxed) || self.knocks()
    }

    fn knocks(&self) -> bool {
        let mut knocking = self.knocking.borrow_mut();
        if knocking.is_none() {
            *knocking = self.listener.poll().unwrap_or_else(|error| {
                log::warn!("{error}");
                None
            });
        }
        knocking.is_some()
    }

    /// Serves the connection that waits, if there is one, until its session ends. The machine
    /// is stopped from the first packet on. `None` if nobody has said anything.
    ///
    /// # Errors
    /// A connection that broke in an unusual way.
    pub fn poll(&self, machine: &mut Machine, keeper: &mut dyn Keeper) -> Result<Option<Ending>, Error> {
        if !self.knocks() {
            return Ok(None);
        }
        let Some(stream) = self.knocking.borrow_mut().take() else { return Ok(None) };
        let arrived = Arc::<AtomicBool>::default();
        let link = Link::new(stream, arrived.clone())?;
        self.arrived.replace(arrived);
        let kernel = kernel_of(machine);
        let ending = session::serve(link, machine, keeper, &self.setup, &kernel, &|| self.turn_away());
        self.arrived.take();
        Ok(ending)
    }

    /// Runs the machine until the program of the setup is about to execute its first instruction.
    pub fn run_to_program(&self, machine: &mut Machine, keeper: &mut dyn Keeper) -> Ahead {
        let kernel = kernel_of(machine);
        Stub::new(machine, keeper, &self.setup, &kernel).run_to_program()
    }

    /// Tells whoever else has connected that the machine is taken.
    fn turn_away(&self) {
        let taken = self.knocking.borrow_mut().take();
        let waiting = || self.listener.poll().unwrap_or_default();
        if let Some(stream) = taken.or_else(waiting)
            && Arc::strong_count(&self.turning_away) <= MOST_TURNED_AWAY
        {
            let count = self.turning_away.clone();
            thread::spawn(move || {
                refuse(stream);
                drop(count);
            });
        }
    }

    /// Keeps the machine stopped until gdb comes, and serves it. Somebody who connects and
    /// says nothing that gdb would say is no gdb.
    ///
    /// # Errors
    /// As [`Server::poll`].
    pub fn hold(&self, machine: &mut Machine, keeper: &mut dyn Keeper) -> Result<Ending, Error> {
        loop {
            if let Some(ending) = self.poll(machine, keeper)? {
                return Ok(ending);
            }
            if let Verdict::End(status) = keeper.resting(machine) {
                return Ok(Ending::Ended(status));
            }
            thread::sleep(NAP);
        }
    }
}

fn kernel_of(machine: &Machine) -> KernelImage {
    machine.boot_images().kernel().map(|image| KernelImage::parse(&image.bytes)).unwrap_or_default()
}

/// Answers the first that is said on a connection: another gdb is served. gdb prints the reason.
fn refuse(mut stream: Box<dyn Stream>) {
    let body = "E.another debugger has this machine; only one can, at a time";
    let sum = body.bytes().fold(0u8, u8::wrapping_add);
    let mut said = [0; 4096];
    let heard = stream.prepare().and_then(|()| stream.read(&mut said));
    if heard.is_ok_and(|count| count > 0) {
        let _ = write!(stream, "+${body}#{sum:02x}").and_then(|()| stream.flush());
        // Until it has read that and says more, or goes.
        let _ = stream.read(&mut said);
    }
    stream.close();
}
