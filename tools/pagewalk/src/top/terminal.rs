//! The terminal while the view has it: given back whatever ends the view but SIGKILL, which nobody can handle.

use std::{
    fs::OpenOptions,
    io::{Stdout, Write, stdout},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use crossterm::{
    cursor::Show,
    execute, queue,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Terminal, backend::CrosstermBackend, layout::Rect};
use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP},
    iterator::Signals,
    low_level::raise,
};

/// How long the view may take to end by itself after a signal.
const GRACE: Duration = Duration::from_millis(500);

/// Whether the terminal is the view's now.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal in raw mode, on its alternate screen. Dropped, it is as before.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal. A panic of any thread gives it back before it says what it has to say.
    pub fn take() -> std::io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                give_back();
                before(info);
            }));
        });
        let taken = enter();
        let terminal = taken.and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        // What was done of it is undone.
        let terminal = terminal.inspect_err(|_| give_back())?;
        Ok(Screen { terminal })
    }

    /// Draws what has changed.
    pub fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> std::io::Result<()> {
        self.terminal.draw(draw).map(|_| ())
    }

    /// Forgets what is on the terminal: the next drawing draws all.
    pub fn forget(&mut self) -> std::io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    /// Gives the terminal back, stops this process as SIGTSTP would, and takes it again when it is continued.
    pub fn suspend(&mut self) -> std::io::Result<()> {
        give_back();
        raise(signal_hook::consts::SIGSTOP)?;
        self.again()
    }

    /// Takes the terminal again: the shell may have changed its modes meanwhile.
    pub fn again(&mut self) -> std::io::Result<()> {
        give_back();
        enter()?;
        self.forget()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> std::io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen)
}

/// Gives the terminal back; harmless when it was not taken.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// The same beside a view that hangs in the middle of its output: its modes first, which need no output, then the
/// rest as far as the terminal takes it.
fn give_back_by_force() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = disable_raw_mode();
    let writer = thread::spawn(|| {
        let mut bytes = Vec::new();
        let _ = queue!(bytes, LeaveAlternateScreen, Show);
        let _ = OpenOptions::new().write(true).open("/dev/tty").and_then(|mut tty| tty.write_all(&bytes));
    });
    let patience = 10;
    for _ in 0..patience {
        if writer.is_finished() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a signal asks of the view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// To end, with this exit status.
    End(u8),
    /// To stop until it is continued.
    Suspend,
    /// It was continued.
    Continued,
}

/// Signals as they come. Where the view does not end by itself soon after one that ends it, the process does.
pub fn signals() -> std::io::Result<Receiver<Asked>> {
    let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT])?;
    let (send, asked) = channel();
    thread::spawn(move || {
        for signal in signals.forever() {
            let what = match signal {
                SIGTSTP => Asked::Suspend,
                SIGCONT => Asked::Continued,
                _ => Asked::End(128 + signal as u8),
            };
            let heard = send.send(what).is_ok();
            if let Asked::End(status) = what {
                if heard {
                    thread::sleep(GRACE);
                }
                give_back_by_force();
                std::process::exit(status.into());
            }
        }
    });
    Ok(asked)
}
