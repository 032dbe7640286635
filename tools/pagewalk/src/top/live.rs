//! The view on a terminal: keys, signals, looks every so often.

use std::{
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use crossterm::event::{self, Event, KeyEventKind};
use inspect::Request;

use super::{
    keys::{self, Action},
    model::Model,
    sort::Order as Sorted,
    terminal::{self, Asked, Screen},
    ui::{Over, Pane, Question, Ui, help},
    view,
    worker::{self, Order, Said, Worker},
};
use crate::{
    error::{Error, status},
    lens::{
        LensError, Source,
        control::{Ask, ControlError, State},
    },
};

/// How long a word of the machine may lie there before it is noticed.
const NAP: Duration = Duration::from_millis(40);
/// From when on it is said that the machine does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Shows the machine until the user leaves (`Ok`: the exit status) or it ends.
pub fn run(mut source: Source, order: Sorted, every: Duration) -> Result<u8, Error> {
    let mut model = Model::new(source.name());
    model.order = order;
    // Before the terminal is taken: what fails at once is one line.
    worker::look(&mut source, 0).map_err(failed)?.put(&mut model);
    let is_live = source.is_live();
    let terminal = |why: std::io::Error| Error::CannotStart(format!("the terminal: {why}"));
    let signals = terminal::signals().map_err(terminal)?;
    let worker = Worker::start(source);
    let screen = Screen::take().map_err(terminal)?;
    let now = Instant::now();
    let (due, every) = (now + every, if is_live { Some(every) } else { None });
    let mut view = View { model, ui: Ui::default(), worker, signals, screen, every, due, asked: None, redraw: true };
    let outcome = view.watch();
    let name = view.model.name.clone();
    drop(view);
    match outcome {
        Ok(status) => Ok(status),
        Err(Left::Machine(LensError::Control(ControlError::Ended(_)))) => {
            crate::say(&format!("the machine `{name}` has ended"));
            Ok(status::SUCCESS)
        }
        Err(Left::Machine(why)) => Err(failed(why)),
        Err(Left::Terminal(why)) => Err(terminal(why)),
    }
}

fn failed(why: LensError) -> Error {
    Error::Lens(why.to_string())
}

/// Why the view ended that nobody wanted to end.
enum Left {
    Machine(LensError),
    Terminal(std::io::Error),
}

impl From<std::io::Error> for Left {
    fn from(why: std::io::Error) -> Self {
        Left::Terminal(why)
    }
}

struct View {
    model: Model,
    ui: Ui,
    worker: Worker,
    signals: Receiver<Asked>,
    screen: Screen,
    /// Between two looks; `None` if nothing changes.
    every: Option<Duration>,
    due: Instant,
    /// When the look was asked for that is not answered yet.
    asked: Option<Instant>,
    redraw: bool,
}

impl View {
    /// Until the user leaves.
    fn watch(&mut self) -> Result<u8, Left> {
        loop {
            self.look_when_due();
            if std::mem::take(&mut self.redraw) {
                let (model, ui) = (&self.model, &mut self.ui);
                self.screen.draw(|frame| view::draw(frame, model, ui))?;
            }
            if event::poll(NAP)? {
                match event::read()? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => {
                        self.redraw = true;
                        let action = keys::action(key, self.ui.over.as_ref());
                        if let Some(status) = action.map_or(Ok(None), |action| self.act(action))? {
                            return Ok(status);
                        }
                    }
                    _ => self.redraw = true,
                }
            }
            while let Ok(asked) = self.signals.try_recv() {
                match asked {
                    Asked::End(status) => return Ok(status),
                    Asked::Suspend => self.screen.suspend()?,
                    Asked::Continued => self.screen.again()?,
                }
                self.redraw = true;
            }
            while let Some(said) = self.worker.said() {
                self.redraw = true;
                self.hear(said)?;
            }
        }
    }

    fn look_when_due(&mut self) {
        let now = Instant::now();
        match self.asked {
            None if self.every.is_some() && now >= self.due => self.look(),
            Some(since) if now - since > PATIENCE => {
                let seconds = (now - since).as_secs();
                let message = format!("the machine has not answered for {seconds} s");
                if self.ui.message.as_ref() != Some(&message) {
                    (self.ui.message, self.redraw) = (Some(message), true);
                }
            }
            _ => {}
        }
    }

    fn look(&mut self) {
        if self.asked.is_none() {
            self.asked = Some(Instant::now());
            self.worker.order(Order::Look { since_ns: self.model.since_ns() });
        }
    }

    fn hear(&mut self, said: Said) -> Result<(), Left> {
        match said {
            Said::Look(found) => {
                found.put(&mut self.model);
                self.answered();
            }
            Said::Refused(why) => {
                self.ui.message = Some(why);
                self.asked = None;
                self.due = Instant::now() + self.every.unwrap_or_default();
            }
            Said::Text(title, text) => self.ui.show(title, &text),
            Said::Status(status) => {
                self.ui.message = Some(status.line().trim_end().to_owned());
                self.model.status = Some(status);
                self.look();
            }
            Said::Gone(why) => return Err(Left::Machine(why)),
        }
        Ok(())
    }

    fn answered(&mut self) {
        let waited = self.asked.take().is_some_and(|since| since.elapsed() > PATIENCE);
        if waited {
            self.ui.message = None;
        }
        self.due = Instant::now() + self.every.unwrap_or_default();
    }

    /// Does what a key asks for; the exit status, if it is to leave.
    fn act(&mut self, action: Action) -> Result<Option<u8>, Left> {
        let (model, ui) = (&mut self.model, &mut self.ui);
        match action {
            Action::Quit => return Ok(Some(status::SUCCESS)),
            Action::Interrupt => return Ok(Some(status::INTERRUPTED)),
            Action::Suspend => self.screen.suspend()?,
            Action::Turn(by) => ui.turn(by),
            Action::Go(motion) => ui.go(model, motion),
            Action::Sort(by) => model.sort(Sorted { by, reversed: false }),
            Action::Reverse => model.sort(Sorted { reversed: !model.order.reversed, ..model.order }),
            Action::Help => ui.show("Help", &help()),
            Action::Notes => {
                let notes = view::notes(model);
                let text = if notes.is_empty() { "everything is known".to_owned() } else { notes.join("\n") };
                ui.show("What could not be known", &text);
            }
            Action::Close if ui.over.is_none() => ui.message = None,
            Action::Close => ui.over = None,
            Action::Ask(what) => ui.over = Some(Over::Question { what, typed: String::new() }),
            Action::Type(c) => {
                if let Some(Over::Question { typed, .. }) = &mut ui.over {
                    typed.push(c);
                }
            }
            Action::Erase => {
                if let Some(Over::Question { typed, .. }) = &mut ui.over {
                    typed.pop();
                }
            }
            Action::Refresh => {
                self.screen.forget()?;
                self.look();
            }
            Action::TogglePause => self.toggle_pause(),
            Action::Open => self.open(),
            Action::Enter => {
                if let Some(Over::Question { what, typed }) = self.ui.over.take() {
                    self.answer(what, typed.trim());
                }
            }
        }
        Ok(None)
    }

    fn toggle_pause(&mut self) {
        let stands = self.model.status.as_ref().is_some_and(|status| status.state == State::Paused);
        self.control(if stands { Ask::Resume } else { Ask::Pause });
    }

    fn control(&mut self, ask: Ask) {
        if !self.worker.control(ask) {
            self.ui.message = Some("a saved machine stands still; `pagewalk restore` lets it go on".into());
        }
    }

    /// Shows in full what is chosen.
    fn open(&mut self) {
        let order = match self.ui.pane {
            Pane::Processes => self
                .ui
                .process(&self.model)
                .map(|pid| Order::Text { title: format!("maps of process {pid}"), request: Request::Maps { pid } }),
            Pane::Cpus => Some(Order::Text {
                title: format!("registers of CPU {}", self.ui.cpu),
                request: Request::Regs { cpu: Some(self.ui.cpu) },
            }),
            Pane::Memory | Pane::Events => None,
        };
        order.into_iter().for_each(|order| self.worker.order(order));
    }

    /// A line was typed.
    fn answer(&mut self, what: Question, typed: &str) {
        if typed.is_empty() {
            return;
        }
        match what {
            Question::Step => match typed.replace([',', '_'], "").parse() {
                Ok(instructions @ 1..) => {
                    self.ui.message = Some(format!("a step of {instructions} instructions"));
                    self.control(Ask::Step { instructions });
                }
                _ => self.ui.message = Some(format!("`{typed}` is no number of instructions from 1 on")),
            },
            Question::Walk => match self.walk(typed) {
                Ok(request) => self.worker.order(Order::Text { title: format!("walk {typed}"), request }),
                Err(why) => self.ui.message = Some(why.to_string()),
            },
        }
    }

    /// The walk of an address as the chosen process has it, or the chosen CPU, where the words do not say.
    fn walk(&self, typed: &str) -> Result<Request, inspect::Error> {
        let words: Vec<&str> = std::iter::once("walk").chain(typed.split_whitespace()).collect();
        let request = Request::from_words(&words)?;
        if words.iter().any(|word| ["--pid", "--cpu"].contains(word)) {
            return Ok(request);
        }
        let Request::Walk { addr, .. } = request else { return Ok(request) };
        let pid = self.ui.process(&self.model).filter(|_| self.ui.pane == Pane::Processes);
        Ok(Request::Walk { addr, cpu: self.ui.cpu, pid })
    }
}
