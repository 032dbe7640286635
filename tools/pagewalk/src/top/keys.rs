//! What each key does.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    sort::By,
    ui::{Motion, Over, Question},
};

/// What a key asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Leave.
    Quit,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    /// Stand still, or go on.
    TogglePause,
    /// A line is to be typed.
    Ask(Question),
    /// The help.
    Help,
    /// All that could not be known.
    Notes,
    /// The next pane, or (-1) the one before.
    Turn(isize),
    /// Up and down.
    Go(Motion),
    /// What is chosen, in full.
    Open,
    /// Another order of processes.
    Sort(By),
    /// The other way round.
    Reverse,
    /// A look at once, and the screen anew.
    Refresh,
    /// What lies over the panes goes.
    Close,
    /// A letter of a line.
    Type(char),
    /// The last letter goes.
    Erase,
    /// The line is done.
    Enter,
}

/// The keys for people.
pub const HELP: [(&str, &str); 14] = [
    ("q, Ctrl-C", "leave; the machine goes on as it is"),
    ("p", "pause the machine, or let it go on"),
    ("s", "step: so many instructions of all CPUs together"),
    ("w", "walk: one translation step by step, of the chosen process or CPU; --pid N, --cpu N"),
    ("Tab, Left, Right", "another pane"),
    ("Up, Down, k, j", "a row up or down"),
    ("PgUp, PgDn", "a page up or down; Space too"),
    ("Home, End, g, G", "the first, the last"),
    ("Enter", "a process's maps; a CPU's registers"),
    ("n", "what could not be known, in full"),
    ("r, Ctrl-L", "look at once, and draw the screen anew"),
    ("Esc", "close what lies over the panes"),
    ("Ctrl-Z", "to the shell; fg comes back"),
    ("?, h", "this help"),
];

/// What a key means while `over` lies over the panes.
pub fn action(key: KeyEvent, over: Option<&Over>) -> Option<Action> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control {
        return match key.code {
            KeyCode::Char('c') => Some(Action::Interrupt),
            KeyCode::Char('z') => Some(Action::Suspend),
            KeyCode::Char('l') => Some(Action::Refresh),
            _ => None,
        };
    }
    match over {
        Some(Over::Question { .. }) => match key.code {
            KeyCode::Char(c) => Some(Action::Type(c)),
            KeyCode::Backspace => Some(Action::Erase),
            KeyCode::Enter => Some(Action::Enter),
            KeyCode::Esc => Some(Action::Close),
            _ => None,
        },
        Some(Over::Text { .. }) => match key.code {
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => Some(Action::Close),
            code => motion(code).map(Action::Go),
        },
        None => panes(key.code),
    }
}

fn panes(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('p') => Action::TogglePause,
        KeyCode::Char('s') => Action::Ask(Question::Step),
        KeyCode::Char('w') => Action::Ask(Question::Walk),
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Action::Help,
        KeyCode::Char('n') => Action::Notes,
        KeyCode::Char('r') => Action::Refresh,
        KeyCode::Char('R') => Action::Reverse,
        KeyCode::Tab | KeyCode::Right => Action::Turn(1),
        KeyCode::BackTab | KeyCode::Left => Action::Turn(-1),
        KeyCode::Enter => Action::Open,
        KeyCode::Esc => Action::Close,
        code => {
            let by = |letter: char| By::ALL.iter().find(|(_, known, _)| *known == letter).map(|(by, ..)| *by);
            let sort = if let KeyCode::Char(letter) = code { by(letter) } else { None };
            return sort.map(Action::Sort).or(motion(code).map(Action::Go));
        }
    })
}

fn motion(code: KeyCode) -> Option<Motion> {
    Some(match code {
        KeyCode::Up | KeyCode::Char('k') => Motion::Rows(-1),
        KeyCode::Down | KeyCode::Char('j') => Motion::Rows(1),
        KeyCode::PageUp => Motion::Pages(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => Motion::Pages(1),
        KeyCode::Home | KeyCode::Char('g') => Motion::First,
        KeyCode::End | KeyCode::Char('G') => Motion::Last,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: KeyCode, over: Option<&Over>) -> Option<Action> {
        action(KeyEvent::new(code, KeyModifiers::NONE), over)
    }

    #[test]
    fn letters_are_keys_in_panes_and_letters_in_a_line() {
        let line = Over::Question { what: Question::Walk, typed: String::new() };
        let text = Over::Text { title: String::new(), lines: Vec::new(), top: 0 };
        for (key, in_panes, in_line, in_text) in [
            ('q', Some(Action::Quit), Some(Action::Type('q')), Some(Action::Close)),
            ('p', Some(Action::TogglePause), Some(Action::Type('p')), None),
            ('M', Some(Action::Sort(By::Rss)), Some(Action::Type('M')), None),
            ('j', Some(Action::Go(Motion::Rows(1))), Some(Action::Type('j')), Some(Action::Go(Motion::Rows(1)))),
            ('x', None, Some(Action::Type('x')), None),
        ] {
            let code = KeyCode::Char(key);
            assert_eq!((of(code, None), of(code, Some(&line)), of(code, Some(&text))), (in_panes, in_line, in_text));
        }
        assert_eq!(
            (of(KeyCode::Enter, None), of(KeyCode::Enter, Some(&line))),
            (Some(Action::Open), Some(Action::Enter))
        );
    }

    #[test]
    fn control_keys_are_the_same_everywhere() {
        let text = Over::Text { title: String::new(), lines: Vec::new(), top: 0 };
        for over in [None, Some(&text)] {
            let key = |c| action(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL), over);
            assert_eq!((key('c'), key('z'), key('d')), (Some(Action::Interrupt), Some(Action::Suspend), None));
        }
    }
}
