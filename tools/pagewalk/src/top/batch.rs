//! The view without a terminal: text or JSON, once or every so often.

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use inspect::Request;

use super::{model::Model, sort::Order, view, worker};
use crate::{
    error::{Error, status},
    lens::{LensError, Source, control::ControlError},
};

/// Prints so many looks (`None`: until the machine ends); an empty line stands between two texts, and of several
/// looks as JSON each takes a line.
pub fn run(mut source: Source, order: Order, every: Duration, looks: Option<u64>, json: bool) -> Result<u8, Error> {
    let mut model = Model::new(source.name());
    model.order = order;
    let looks = if source.is_live() { looks } else { Some(1) };
    let mut done = 0;
    while looks.is_none_or(|looks| done < looks) {
        let began = Instant::now();
        let text = match frame(&mut source, &mut model, json, looks == Some(1)) {
            Err(LensError::Control(ControlError::Ended(name))) if done > 0 => {
                crate::say(&format!("the machine `{name}` has ended"));
                return Ok(status::SUCCESS);
            }
            outcome => outcome.map_err(|why| Error::Lens(why.to_string()))?,
        };
        let between = if done > 0 && !json { "\n" } else { "" };
        let mut out = std::io::stdout().lock();
        match write!(out, "{between}{text}").and_then(|()| out.flush()) {
            Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => return Ok(status::SUCCESS),
            outcome => outcome.map_err(|why| Error::Lens(LensError::Output(why).to_string()))?,
        }
        drop(out);
        done += 1;
        if looks.is_none_or(|looks| done < looks) {
            thread::sleep(every.saturating_sub(began.elapsed()));
        }
    }
    Ok(status::SUCCESS)
}

/// A look in words, or as the lens has it.
fn frame(source: &mut Source, model: &mut Model, json: bool, alone: bool) -> Result<String, LensError> {
    if json {
        let since_ns = model.since_ns();
        let (look, note) = source.json(Request::Top { since_ns })?;
        note.iter().flat_map(|note| note.lines()).for_each(|line| crate::say(&format!("note: {line}")));
        return Ok(if alone { format!("{look:#}\n") } else { format!("{look}\n") });
    }
    worker::look(source, model.since_ns())?.put(model);
    Ok(view::text(model))
}
