//! What travels over a control socket: lines of JSON. `docs/control.md` tells the same for other programs.

use inspect::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lens::Shown;

/// The version of this protocol. It is raised when a program that speaks it could misunderstand.
pub const PROTOCOL: u32 = 1;

/// What a client wants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Ask {
    /// Whether this version is spoken.
    Hello {
        /// The client's.
        protocol: u32,
    },
    /// A lens.
    Look {
        /// Which.
        request: Request,
        /// As JSON.
        #[serde(default)]
        json: bool,
    },
    /// How the machine is.
    Status,
    /// It is to stand still until somebody lets it go on.
    Pause,
    /// It is to go on.
    Resume,
    /// It is to do so many instructions, and to stand still then.
    Step {
        /// Of all CPUs together.
        instructions: u64,
    },
    /// It is to be saved as it is now.
    Save {
        /// The file: an absolute path.
        file: String,
    },
    /// A saved machine is to take its place.
    Restore {
        /// The file: an absolute path.
        file: String,
    },
    /// Its end.
    Quit,
}

/// What the server answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "lowercase")]
pub enum Reply {
    /// The first line of every connection.
    Hello(Hello),
    /// What a lens shows.
    Shown(ShownReply),
    /// How the machine is, after what was asked has been done.
    Status(Status),
    /// It was done, and there is nothing to say.
    Done,
    /// It was not done.
    Refused {
        /// One line.
        why: String,
    },
}

/// Who answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the protocol.
    pub protocol: u32,
    /// Of the program that runs the machine.
    pub version: String,
    /// The machine's name.
    pub name: String,
    /// The host's number of the process that runs it.
    pub pid: u32,
}

/// What a lens shows, in one of three forms.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ShownReply {
    /// Text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Bytes that are no text, two hexadecimal digits each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    /// If JSON was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    /// What the reader must know of how it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// How a machine is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The machine's name.
    pub name: String,
    /// Whether it runs.
    pub state: State,
    /// Instructions retired by all CPUs.
    pub instructions: u64,
    /// Virtual time, in nanoseconds.
    pub virtual_ns: u64,
    /// CPUs.
    pub cpus: usize,
    /// The one that ran last.
    pub current: usize,
    /// Its next instruction.
    pub eip: u32,
}

/// Whether a machine runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It runs, or waits for its devices.
    Running,
    /// It stands still until `resume` or `step`.
    Paused,
    /// It does the instructions of a `step`.
    Stepping,
    /// gdb has it.
    Debugged,
}

impl From<Shown> for ShownReply {
    fn from(shown: Shown) -> Self {
        let note = shown.note;
        match shown.form {
            crate::lens::Form::Json(json) => ShownReply { json: Some(json), note, ..ShownReply::default() },
            crate::lens::Form::Text(bytes) => match String::from_utf8(bytes) {
                Ok(text) => ShownReply { text: Some(text), note, ..ShownReply::default() },
                Err(error) => {
                    let hex = error.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
                    ShownReply { hex: Some(hex), note, ..ShownReply::default() }
                }
            },
        }
    }
}

impl TryFrom<ShownReply> for Shown {
    type Error = &'static str;

    fn try_from(reply: ShownReply) -> Result<Self, &'static str> {
        let form = match reply {
            ShownReply { json: Some(json), .. } => crate::lens::Form::Json(json),
            ShownReply { text: Some(text), .. } => crate::lens::Form::Text(text.into_bytes()),
            ShownReply { hex: Some(hex), .. } => {
                crate::lens::Form::Text(bytes_of_hex(&hex).ok_or("its bytes are no hexadecimal digits")?)
            }
            _ => return Err("it shows nothing"),
        };
        Ok(Shown { form, note: reply.note })
    }
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok().filter(|_| pair.len() == 2)).collect()
}

impl Status {
    /// One line for people.
    pub fn line(&self) -> String {
        let state = match self.state {
            State::Running => "runs",
            State::Paused => "is paused",
            State::Stepping => "is doing a step",
            State::Debugged => "is under gdb",
        };
        let which = if self.cpus > 1 { format!("CPU {} of {} ", self.current, self.cpus) } else { String::new() };
        format!("{} {state}: after {} instructions, {which}at {:#010x}\n", self.name, self.instructions, self.eip)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lens::Form;

    #[test]
    fn asks_travel_as_json() {
        let rows = [
            (Ask::Hello { protocol: 1 }, r#"{"ask":"hello","protocol":1}"#),
            (
                Ask::Look { request: Request::Maps { pid: 2 }, json: true },
                r#"{"ask":"look","request":{"lens":"maps","pid":2},"json":true}"#,
            ),
            (Ask::Status, r#"{"ask":"status"}"#),
            (Ask::Step { instructions: 3 }, r#"{"ask":"step","instructions":3}"#),
            (Ask::Save { file: "/m".into() }, r#"{"ask":"save","file":"/m"}"#),
            (Ask::Quit, r#"{"ask":"quit"}"#),
        ];
        for (ask, line) in rows {
            assert_eq!(serde_json::to_string(&ask).unwrap(), line);
            assert_eq!(serde_json::from_str::<Ask>(line).unwrap(), ask);
        }
        let short: Ask = serde_json::from_str(r#"{"ask":"look","request":{"lens":"ps"}}"#).unwrap();
        assert_eq!(short, Ask::Look { request: Request::Ps, json: false });
    }

    #[test]
    fn what_a_lens_shows_travels_whole_whatever_it_is() {
        let text = |bytes: &[u8]| Shown { form: Form::Text(bytes.to_vec()), note: None };
        let tree = Shown { form: Form::Json(json!({"b": [1, 2], "a": null})), note: Some("n".into()) };
        for (shown, line) in [
            (text(b"a\n"), r#"{"reply":"shown","text":"a\n"}"#),
            (text(b"\xff\x00"), r#"{"reply":"shown","hex":"ff00"}"#),
            (tree, r#"{"reply":"shown","json":{"a":null,"b":[1,2]},"note":"n"}"#),
        ] {
            let reply = Reply::Shown(shown.clone().into());
            assert_eq!(serde_json::to_string(&reply).unwrap(), line);
            let Reply::Shown(back) = serde_json::from_str(line).unwrap() else { panic!("{line}") };
            assert_eq!(Shown::try_from(back).unwrap(), shown);
        }
        for bad in ["{}", r#"{"hex":"f"}"#, r#"{"hex":"zz"}"#, r#"{"hex":"é0"}"#] {
            assert!(Shown::try_from(serde_json::from_str::<ShownReply>(bad).unwrap()).is_err(), "{bad}");
        }
    }
}
