//! Where a trace is written: as text, or as a Chrome trace, which is a list in JSON.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use inspect::{Row, Told};

use crate::error::Error;

/// Rows that get a name; a guest may have made more threads.
const MAX_ROWS: usize = 1 << 16;

/// A trace on its way out.
pub struct Output {
    out: Box<dyn Write>,
    /// The file's name, for messages.
    name: String,
    json: bool,
    /// By their numbers.
    rows: BTreeMap<(u32, u32), Row>,
}

impl Output {
    /// Into a file, whose ending says which form the trace has, or to standard error.
    pub fn open(path: Option<&Path>) -> Result<Self, Error> {
        let json = path.is_some_and(|path| path.extension().is_some_and(|ending| ending == "json"));
        let (out, name): (Box<dyn Write>, _) = match path {
            None => (Box::new(io::stderr()), "standard error".to_owned()),
            Some(path) => {
                let name = path.display().to_string();
                let file =
                    File::create(path).map_err(|why| Error::CannotStart(format!("cannot write {name}: {why}")))?;
                (Box::new(BufWriter::new(file)), name)
            }
        };
        let mut output = Output { out, name, json, rows: BTreeMap::new() };
        if json {
            output.put("[\n")?;
        }
        Ok(output)
    }

    /// Whether it is a Chrome trace.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Writes what is told, in the order of time.
    pub fn write(&mut self, mut told: Vec<Told>) -> Result<(), Error> {
        told.sort_by_key(|told| told.at_ns);
        if !self.json {
            let text: String = told.iter().map(|told| told.text.as_str()).collect();
            return self.put(&text);
        }
        let events: String = told.iter().map(|told| told.events.as_str()).collect();
        for row in told.into_iter().filter_map(|told| told.row) {
            // The last name of a thread is the one that it is known by.
            if self.rows.len() < MAX_ROWS || self.rows.contains_key(&row.ids()) {
                self.rows.insert(row.ids(), row);
            }
        }
        self.put(&events)
    }

    /// Writes what is held back, and the end of the list: the names of the rows, those of the CPUs in any case.
    pub fn finish(mut self, cpus: usize) -> Result<(), Error> {
        if self.json {
            (0..cpus as u8).map(Row::Cpu).for_each(|row| {
                self.rows.insert(row.ids(), row);
            });
            let names: Vec<String> =
                self.rows.values().flat_map(Row::name_events).map(|event| event.to_string()).collect();
            self.put(&format!("{}\n]\n", names.join(",\n")))?;
        }
        self.out.flush().map_err(|why| self.failed(&why))
    }

    fn put(&mut self, text: &str) -> Result<(), Error> {
        self.out.write_all(text.as_bytes()).map_err(|why| self.failed(&why))
    }

    fn failed(&self, why: &io::Error) -> Error {
        Error::CannotStart(format!("cannot write the trace to {}: {why}", self.name))
    }
}
