//! This process as the machine's surroundings: standard streams, terminal, time limit.

use std::{
    collections::VecDeque,
    io::{self, BufWriter, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use machine::{Host, InputEvent, Machine, Notice, Outlet, Stop};

use super::{
    display::Display,
    input::Input,
    keys,
    prepare::{Mode, Stream, Streams},
    terminal::{Terminal, Typed},
    why::{self, Explainer},
};

/// The kernel's console, for the report of a panic: its last so many bytes.
const CONSOLE_TAIL: usize = 64 << 10;
/// How long a wait may last before signals and lenses are looked at.
const NAP: Duration = Duration::from_millis(10);
/// How long output may stay in our buffers while the guest computes.
const FLUSH_EVERY: Duration = Duration::from_millis(20);
/// A typist's keys reach the guest no faster, so that those of pasted text fit the keyboard's buffer.
const KEY_EVERY: Duration = Duration::from_millis(5);
/// COM1, the console; COM2, GUEST's standard input and output; COM3, its standard error.
const CONSOLE: u8 = 0;
const STDIO: u8 = 1;
const STDERR: u8 = 2;

/// What the host wants of the run loop.
#[derive(Debug, PartialEq, Eq)]
pub enum Want {
    /// A signal came, or the user typed Ctrl-A x.
    Quit,
    /// `--timeout` is over.
    Timeout,
    /// The user typed Ctrl-A c.
    Monitor,
    /// Standard output is closed: nobody reads any more.
    Closed,
    /// Standard output or error takes no more.
    OutputFailed(String),
}

/// The host of a run.
pub struct Surroundings {
    mode: Mode,
    streams: Streams,
    show_console: bool,
    stdout: BufWriter<io::Stdout>,
    stderr: BufWriter<io::Stderr>,
    tail: VecDeque<u8>,
    terminal: Option<Terminal>,
    stdin: Option<Receiver<io::Result<Vec<u8>>>>,
    events: VecDeque<InputEvent>,
    display: Option<Display>,
    /// What was typed while the guest's screen is on the terminal.
    strokes: VecDeque<keys::Stroke>,
    stroke_at: Instant,
    signal: Arc<AtomicBool>,
    end: Option<Instant>,
    flushed: Instant,
    want: Option<Want>,
    lens_waits: Box<dyn Fn() -> bool>,
    explainer: Explainer,
}

impl Surroundings {
    /// For a run in `mode`. `show_console` copies the kernel's console of a program's run to
    /// standard error; `lens_waits` says whether somebody outside wants a look.
    pub fn new(
        mode: Mode,
        streams: Streams,
        show_console: bool,
        signal: Arc<AtomicBool>,
        timeout: Option<Duration>,
        lens_waits: Box<dyn Fn() -> bool>,
    ) -> Self {
        Surroundings {
            mode,
            streams,
            show_console,
            stdout: BufWriter::new(io::stdout()),
            stderr: BufWriter::new(io::stderr()),
            tail: VecDeque::new(),
            terminal: None,
            stdin: None,
            events: VecDeque::new(),
            display: None,
            strokes: VecDeque::new(),
            stroke_at: Instant::now(),
            signal,
            end: timeout.map(|limit| Instant::now() + limit),
            flushed: Instant::now(),
            want: None,
            lens_waits,
            explainer: Explainer::default(),
        }
    }

    /// What the machine runs.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Another machine has come in the place of the one before.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Gives the guest the terminal.
    pub fn set_terminal(&mut self, terminal: Terminal) {
        self.terminal = Some(terminal);
    }

    /// Tells of faults from now on.
    pub fn set_explainer(&mut self, explainer: Explainer) {
        self.explainer = explainer;
    }

    /// Tells of the fault that ended the run, if one did.
    pub fn explain_end(&mut self, machine: &mut Machine, stop: Stop) {
        let words = self.explainer.end(machine, stop);
        self.say(words);
    }

    /// Has the words for the last fault kept with the machine, which is about to be saved.
    pub fn keep_explanation(&mut self, machine: &mut Machine) {
        self.explainer.keep(machine);
    }

    fn say(&mut self, words: Option<String>) {
        if let Some(words) = words {
            self.flush();
            why::print(&words);
        }
    }

    /// The terminal, for the monitor.
    pub fn terminal(&mut self) -> Option<&mut Terminal> {
        self.terminal.as_mut()
    }

    /// Shows the guest's screen on the terminal, and gives what is typed to its keyboard.
    pub fn open_display(&mut self) {
        self.flush();
        let outcome = Display::open();
        self.display = match outcome {
            Ok(display) => Some(display),
            Err(e) => {
                self.note("standard output", Err(e));
                None
            }
        };
    }

    /// Gives the terminal's own screen back; says whether the guest's was on it.
    pub fn close_display(&mut self) -> bool {
        self.display.take().is_some()
    }

    /// Draws what has changed of the guest's screen.
    pub fn draw(&mut self, machine: &Machine) {
        if let Some(display) = &mut self.display {
            let outcome = display.draw(machine);
            self.note("standard output", outcome);
        }
    }

    /// What the host wanted when the run was interrupted.
    pub fn take_want(&mut self) -> Option<Want> {
        self.want.take()
    }

    /// The last of the kernel's console.
    pub fn console_tail(&self) -> Vec<u8> {
        self.tail.iter().copied().collect()
    }

    /// Whether the console has been shown all along.
    pub fn console_shown(&self) -> bool {
        self.show_console || self.mode != Mode::Program
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) {
        let outcome = self.stdout.flush();
        self.note("standard output", outcome);
        let outcome = self.stderr.flush();
        self.note("standard error", outcome);
    }

    fn note(&mut self, stream: &str, outcome: io::Result<()>) {
        match outcome {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.want = Some(Want::Closed),
            Err(e) => self.want = Some(Want::OutputFailed(format!("{stream}: {e}"))),
        }
    }

    fn console(&mut self, bytes: &[u8]) {
        self.tail.extend(bytes);
        let over = self.tail.len().saturating_sub(CONSOLE_TAIL);
        self.tail.drain(..over);
        if self.display.is_some() {
            return;
        }
        let terminal = self.mode == Mode::Program && self.streams.terminal();
        if self.mode != Mode::Program || terminal && self.streams.stdout == Stream::Terminal {
            let outcome = self.stdout.write_all(bytes);
            self.note("standard output", outcome);
        } else if terminal || self.show_console {
            let outcome = self.stderr.write_all(bytes);
            self.note("standard error", outcome);
        }
    }

    fn take_typed(&mut self, typed: Vec<Typed>) {
        for item in typed {
            match item {
                Typed::Bytes(bytes) if self.display.is_some() => self.strokes.extend(keys::strokes(&bytes)),
                Typed::Bytes(bytes) => self.events.push_back(InputEvent::Serial { port: CONSOLE, bytes }),
                Typed::Quit => self.want = Some(Want::Quit),
                Typed::Monitor => self.want = Some(Want::Monitor),
                Typed::Help => {
                    let text = b"\r\nCtrl-A x quits, Ctrl-A c opens the monitor, Ctrl-A Ctrl-A types a Ctrl-A\r\n";
                    let outcome = self.stdout.write_all(text);
                    self.note("standard output", outcome);
                }
                Typed::End => self.events.push_back(InputEvent::SerialEnd { port: CONSOLE }),
            }
        }
    }

    /// The keys of the next stroke, once its time has come.
    fn take_stroke(&mut self) {
        if self.stroke_at.elapsed() < KEY_EVERY {
            return;
        }
        if let Some(stroke) = self.strokes.pop_front() {
            self.stroke_at = Instant::now();
            self.events.extend(stroke.codes().into_iter().map(|codes| InputEvent::Key { codes }));
        }
    }

    /// Looks at the terminal while the machine rests, so that its user can still end or look.
    pub fn attend_terminal(&mut self) {
        let typed = self.terminal.as_mut().map(|terminal| terminal.poll()).unwrap_or_default();
        self.take_typed(typed);
    }

    /// Whether the run must stop: a wish, a signal, the time limit, a lens.
    fn must_stop(&mut self) -> bool {
        if self.want.is_none() {
            if self.signal.load(Ordering::Relaxed) {
                self.want = Some(Want::Quit);
            } else if self.end.is_some_and(|end| Instant::now() >= end) {
                self.want = Some(Want::Timeout);
            }
        }
        self.want.is_some() || self.display.as_ref().is_some_and(Display::is_due) || (self.lens_waits)()
    }
}

impl Host for Surroundings {
    fn output(&mut self, outlet: Outlet, bytes: &[u8]) {
        match outlet {
            Outlet::Serial(STDIO) if self.mode == Mode::Program => {
                let outcome = self.stdout.write_all(bytes);
                self.note("standard output", outcome);
            }
            Outlet::Serial(STDERR) if self.mode == Mode::Program => {
                let outcome = self.stderr.write_all(bytes);
                self.note("standard error", outcome);
            }
            Outlet::Serial(CONSOLE) => self.console(bytes),
            Outlet::Serial(_) => {}
            // POST codes are no text: a terminal gets their numbers.
            Outlet::Post if self.streams.stderr == Stream::Terminal => {
                let outcome = bytes.iter().try_for_each(|code| write!(self.stderr, "[{code:02x}]"));
                self.note("standard error", outcome);
            }
            Outlet::Debug | Outlet::Post => {
                let outcome = self.stderr.write_all(bytes);
                self.note("standard error", outcome);
            }
        }
    }

    fn poll_input(&mut self) -> Option<InputEvent> {
        if self.events.is_empty()
            && let Some(terminal) = &mut self.terminal
        {
            let typed = terminal.poll();
            self.take_typed(typed);
        }
        if self.events.is_empty() {
            self.take_stroke();
        }
        self.events.pop_front()
    }

    fn demand_input(&mut self, port: u8) -> Option<InputEvent> {
        self.flush();
        let stdin = self.stdin.get_or_insert_with(read_stdin);
        loop {
            match stdin.recv_timeout(NAP) {
                Ok(Ok(bytes)) if !bytes.is_empty() => return Some(InputEvent::Serial { port, bytes }),
                Ok(Ok(_)) | Err(RecvTimeoutError::Disconnected) => return Some(InputEvent::SerialEnd { port }),
                Ok(Err(e)) => {
                    crate::say(&format!("standard input: {e}; it ends here for the guest"));
                    return Some(InputEvent::SerialEnd { port });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.signal.load(Ordering::Relaxed)
                || self.end.is_some_and(|end| Instant::now() >= end)
                || (self.lens_waits)()
            {
                return None;
            }
        }
    }

    fn idle(&mut self, now_ns: u64, deadline_ns: Option<u64>) -> Option<u64> {
        if self.terminal.is_none() {
            return deadline_ns;
        }
        self.flush();
        let began = Instant::now();
        loop {
            let passed = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let now = now_ns.saturating_add(passed);
            let left = deadline_ns.map(|deadline| deadline.saturating_sub(now));
            let stroke = !self.strokes.is_empty() && self.stroke_at.elapsed() >= KEY_EVERY;
            if left == Some(0) || stroke || self.must_stop() {
                return Some(deadline_ns.map_or(now, |deadline| deadline.min(now)));
            }
            let nap = left.map_or(NAP, |left| NAP.min(Duration::from_nanos(left)));
            let typed = self.terminal.as_mut().map(|terminal| terminal.wait(nap)).unwrap_or_default();
            if !typed.is_empty() {
                self.take_typed(typed);
                let passed = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let now = now_ns.saturating_add(passed);
                return Some(deadline_ns.map_or(now, |deadline| deadline.min(now)));
            }
        }
    }

    fn noticed(&mut self, machine: &mut Machine, notice: Notice) {
        let words = self.explainer.noticed(machine, notice);
        self.say(words);
    }

    fn interrupted(&mut self) -> bool {
        let now = Instant::now();
        if now.duration_since(self.flushed) > FLUSH_EVERY {
            self.flushed = now;
            self.flush();
        }
        self.must_stop()
    }
}

/// A thread that reads standard input a piece ahead, so that a wait for it can be called off.
fn read_stdin() -> Receiver<io::Result<Vec<u8>>> {
    let (send, receive) = sync_channel(1);
    thread::spawn(move || {
        let mut input = Input::new(io::stdin());
        loop {
            let piece = input.next_piece();
            let last = !matches!(&piece, Ok(bytes) if !bytes.is_empty());
            if send.send(piece).is_err() || last {
                break;
            }
        }
    });
    receive
}
