//! Looks in a thread of their own: a machine that does not answer keeps nobody from the keys.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Instant,
};

use inspect::Request;
use serde::Deserialize;

use super::{look::Look, model::Model};
use crate::lens::{
    LensError, Source,
    control::{self, Ask, ControlError, Reply, Status},
};

/// What is wanted of the machine.
pub enum Order {
    /// A look, with the events since then.
    Look {
        /// Virtual time, in nanoseconds.
        since_ns: u64,
    },
    /// A lens's text, to be shown under a title.
    Text {
        /// The title.
        title: String,
        /// The lens.
        request: Request,
    },
}

/// What the machine said.
pub enum Said {
    /// To a look.
    Look(Box<Found>),
    /// To a lens that shows nothing, or to a control that was refused: why.
    Refused(String),
    /// To a text: its title and the text.
    Text(String, String),
    /// To a control: how the machine is now.
    Status(Status),
    /// Nothing more: it has ended, or cannot be reached.
    Gone(LensError),
}

/// A look, and how and when it was found.
pub struct Found {
    look: Look,
    note: Option<String>,
    status: Option<Status>,
    at: Instant,
}

impl Found {
    /// Puts it into the model.
    pub fn put(self, model: &mut Model) {
        model.take(self.look, self.note, self.status, self.at);
    }
}

/// Looks once.
///
/// # Errors
/// A machine that is not there, or that says what this program does not understand.
pub fn look(source: &mut Source, since_ns: u64) -> Result<Found, LensError> {
    let status = source.status()?;
    let (json, note) = source.json(Request::Top { since_ns })?;
    let at = Instant::now();
    let look = Look::deserialize(json).map_err(|why| ControlError::Protocol(why.to_string()))?;
    Ok(Found { look, note, status, at })
}

/// The thread.
pub struct Worker {
    orders: Sender<Order>,
    send: Sender<Said>,
    said: Receiver<Said>,
    name: Option<String>,
}

impl Worker {
    /// Begins to look at `source`.
    pub fn start(mut source: Source) -> Self {
        let name = source.is_live().then(|| source.name().to_owned());
        let (orders, ordered) = channel();
        let (send, said) = channel();
        let answer = send.clone();
        thread::spawn(move || {
            for order in ordered {
                if answer.send(obey(&mut source, order)).is_err() {
                    break;
                }
            }
        });
        Worker { orders, send, said, name }
    }

    /// Wants something; what is said comes later.
    pub fn order(&self, order: Order) {
        // A thread that is gone has said why.
        let _ = self.orders.send(order);
    }

    /// Has the machine paused, stepped or continued, by a connection of its own: a step answers when it is done.
    /// `false` if it is no machine that runs.
    pub fn control(&self, ask: Ask) -> bool {
        let Some(name) = self.name.clone() else { return false };
        let send = self.send.clone();
        thread::spawn(move || {
            let _ = send.send(match control::ask(Some(&name), &ask) {
                Ok(Reply::Status(status)) => Said::Status(status),
                Ok(other) => Said::Refused(format!("{other:?}")),
                Err(why) => Said::Refused(why.to_string()),
            });
        });
        true
    }

    /// What was said since the last call.
    pub fn said(&self) -> Option<Said> {
        self.said.try_recv().ok()
    }
}

fn obey(source: &mut Source, order: Order) -> Said {
    let outcome = match order {
        Order::Look { since_ns } => look(source, since_ns).map(|found| Said::Look(Box::new(found))),
        Order::Text { title, request } => source.text(request).map(|text| Said::Text(title, text)),
    };
    outcome.unwrap_or_else(|why| match why {
        LensError::Inspect(_) | LensError::Control(ControlError::Refused(_)) => Said::Refused(why.to_string()),
        why => Said::Gone(why),
    })
}
