//! From words to arguments: parameters, substitutions, splitting, file names.

use std::{
    fs::File,
    io::{Read, Write},
};

use pagewalk_programs::sys::{self, Fork};

use super::{
    Shell,
    arithmetic::{self, Variables},
    ast::{List, Operation, Part, Word},
    pattern::{self, Char},
};

/// What an expansion can fail with; the shell prints it and gives up the command.
type Result<T> = std::result::Result<T, String>;

/// A word while it is taken apart into fields.
#[derive(Default)]
struct Fields {
    done: Vec<Vec<Char>>,
    /// The field in the making; there is one even when empty if something quoted began it.
    open: Option<Vec<Char>>,
}

impl Fields {
    fn push(&mut self, text: Vec<Char>) {
        self.open.get_or_insert_default().extend(text);
    }

    fn end_field(&mut self) {
        self.done.extend(self.open.take());
    }

    /// Appends a value that is split where it has a separator.
    fn push_split(&mut self, value: &str, separators: &str) {
        let mut chars = value.chars().peekable();
        while let Some(c) = chars.next() {
            if !separators.contains(c) {
                self.push(vec![Char { c, quoted: false }]);
            } else if c.is_whitespace() {
                self.end_field();
                // Blanks and one other separator after them are one separation.
                while chars.peek().is_some_and(|c| c.is_whitespace() && separators.contains(*c)) {
                    chars.next();
                }
            } else {
                self.open.get_or_insert_default();
                self.end_field();
                while chars.peek().is_some_and(|c| c.is_whitespace() && separators.contains(*c)) {
                    chars.next();
                }
            }
        }
    }
}

impl Shell {
    /// The arguments that words make.
    pub fn expand_words(&mut self, words: &[Word]) -> Result<Vec<String>> {
        let mut args = Vec::new();
        for word in words {
            for field in self.fields(word)? {
                let paths = pattern::paths(&field);
                if paths.is_empty() {
                    args.push(pattern::plain(&field));
                } else {
                    args.extend(paths);
                }
            }
        }
        Ok(args)
    }

    /// A word as one string, neither split nor matched with file names.
    pub fn expand_string(&mut self, word: &Word) -> Result<String> {
        Ok(pattern::plain(&self.expand_pattern(word)?))
    }

    /// The same, with what was quoted marked, as a pattern.
    pub fn expand_pattern(&mut self, word: &Word) -> Result<Vec<Char>> {
        let mut out = Vec::new();
        for (index, part) in word.iter().enumerate() {
            match part {
                Part::Literal(text) => out.extend(self.literal(text, index == 0)),
                Part::Quoted(text) => out.extend(pattern::quoted(text)),
                Part::Parameter { name, operation, quoted } => {
                    let value = self.parameter(name, operation.as_ref())?.join(" ");
                    out.extend(if *quoted { pattern::quoted(&value) } else { pattern::unquoted(&value) });
                }
                Part::Substitution { list, quoted } => {
                    let value = self.substitute(list)?;
                    out.extend(if *quoted { pattern::quoted(&value) } else { pattern::unquoted(&value) });
                }
                Part::Arithmetic { expression, .. } => out.extend(pattern::quoted(&self.arithmetic(expression)?)),
            }
        }
        Ok(out)
    }

    fn fields(&mut self, word: &Word) -> Result<Vec<Vec<Char>>> {
        let separators = self.get("IFS");
        let separators = separators.unwrap_or(" \t\n").to_string();
        let mut fields = Fields::default();
        for (index, part) in word.iter().enumerate() {
            match part {
                Part::Literal(text) => fields.push(self.literal(text, index == 0)),
                Part::Quoted(text) => fields.push(pattern::quoted(text)),
                Part::Parameter { name, operation, quoted } => {
                    let values = self.parameter(name, operation.as_ref())?;
                    if name == "@" && *quoted && operation.is_none() {
                        push_each(&mut fields, &values);
                    } else if *quoted {
                        let joiner = if name == "*" { separators.chars().next() } else { Some(' ') };
                        let joiner = joiner.map(String::from).unwrap_or_default();
                        fields.push(pattern::quoted(&values.join(&joiner)));
                    } else {
                        for (index, value) in values.iter().enumerate() {
                            if index > 0 {
                                fields.end_field();
                            }
                            fields.push_split(value, &separators);
                        }
                    }
                }
                Part::Substitution { list, quoted } => {
                    let value = self.substitute(list)?;
                    if *quoted {
                        fields.push(pattern::quoted(&value));
                    } else {
                        fields.push_split(&value, &separators);
                    }
                }
                Part::Arithmetic { expression, quoted } => {
                    let value = self.arithmetic(expression)?;
                    if *quoted {
                        fields.push(pattern::quoted(&value));
                    } else {
                        fields.push_split(&value, &separators);
                    }
                }
            }
        }
        fields.end_field();
        Ok(fields.done)
    }

    /// Literal text; at the start of a word `~` is the home folder.
    fn literal(&self, text: &str, at_start: bool) -> Vec<Char> {
        match text.strip_prefix('~').filter(|rest| at_start && (rest.is_empty() || rest.starts_with('/'))) {
            Some(rest) => {
                let mut home = pattern::quoted(self.get("HOME").unwrap_or("~"));
                home.extend(pattern::unquoted(rest));
                home
            }
            None => pattern::unquoted(text),
        }
    }

    /// The value of `$name` or `${name…}`: one, but as many as there are parameters for `$@`.
    fn parameter(&mut self, name: &str, operation: Option<&Operation>) -> Result<Vec<String>> {
        let values = self.raw_parameter(name);
        let is_all = name == "@" || name == "*";
        match operation {
            Some(Operation::Conditional { action, empty_is_unset, word }) => {
                let unset = match &values {
                    None => true,
                    Some(values) => *empty_is_unset && values.iter().all(String::is_empty),
                };
                return match (action, unset) {
                    ('+', true) => Ok(vec![String::new()]),
                    ('+', false) | ('-', true) => Ok(vec![self.expand_string(word)?]),
                    ('=', true) => {
                        let value = self.expand_string(word)?;
                        self.set_variable(name, value.clone())?;
                        Ok(vec![value])
                    }
                    ('?', true) => {
                        let message = self.expand_string(word)?;
                        let message = if message.is_empty() { "parameter not set".into() } else { message };
                        Err(format!("{name}: {message}"))
                    }
                    _ => Ok(values.unwrap_or_default()),
                };
            }
            Some(Operation::Length) if is_all => return Ok(vec![self.params.len().to_string()]),
            _ => {}
        }
        let values = match values {
            Some(values) => values,
            None if self.options.nounset && !is_all => return Err(format!("{name}: parameter not set")),
            None => vec![String::new(); usize::from(!is_all)],
        };
        Ok(match operation {
            Some(Operation::Length) => values.iter().map(|value| value.chars().count().to_string()).collect(),
            Some(Operation::Trim { suffix, longest, pattern }) => {
                let pattern = self.expand_pattern(pattern)?;
                values.iter().map(|value| trim(value, &pattern, *suffix, *longest)).collect()
            }
            _ => values,
        })
    }

    /// A parameter's value, or nothing if it is not set.
    fn raw_parameter(&self, name: &str) -> Option<Vec<String>> {
        let one = |value: String| Some(vec![value]);
        match name {
            "@" | "*" if self.params.is_empty() => None,
            "@" | "*" => Some(self.params.clone()),
            "#" => one(self.params.len().to_string()),
            "?" => one(self.status.to_string()),
            "$" => one(self.pid.to_string()),
            "!" => self.last_background.map(|pid| vec![pid.to_string()]),
            "-" => one(self.options.letters()),
            "0" => one(self.name.clone()),
            _ => match name.parse::<usize>() {
                Ok(position) => self.params.get(position.wrapping_sub(1)).cloned().map(|value| vec![value]),
                Err(_) => self.get(name).map(|value| vec![value.to_string()]),
            },
        }
    }

    fn arithmetic(&mut self, expression: &Word) -> Result<String> {
        let text = self.expand_string(expression)?;
        arithmetic::evaluate(&text, self).map(|value| value.to_string())
    }

    /// The output of commands, without the newlines at its end.
    fn substitute(&mut self, list: &List) -> Result<String> {
        let failed = |error: std::io::Error| format!("command substitution: {}", sys::reason(&error));
        let (reading, writing) = sys::pipe().map_err(failed)?;
        let child = match self.fork().map_err(failed)? {
            Fork::Child => {
                use std::os::fd::AsRawFd;
                drop(reading);
                let status = match sys::dup2(writing.as_raw_fd(), 1) {
                    Ok(()) => self.exit_status_of(|shell| shell.list(list)),
                    Err(_) => 1,
                };
                sys::exit_now(status);
            }
            Fork::Parent(pid) => pid,
        };
        drop(writing);
        let mut output = Vec::new();
        File::from(reading).read_to_end(&mut output).map_err(failed)?;
        self.status = self.wait_for(child);
        self.substituted = true;
        output.retain(|&byte| byte != 0);
        let text = String::from_utf8_lossy(&output);
        Ok(text.trim_end_matches('\n').to_string())
    }

    /// A descriptor from which `text` can be read.
    pub fn here_document(&mut self, text: &str) -> std::io::Result<std::os::fd::OwnedFd> {
        let (reading, writing) = sys::pipe()?;
        // A process of its own writes it: a pipe takes only so much at once.
        if self.fork()? == Fork::Child {
            drop(reading);
            let written = File::from(writing).write_all(text.as_bytes());
            sys::exit_now(i32::from(written.is_err()));
        }
        Ok(reading)
    }
}

impl Variables for Shell {
    fn get(&self, name: &str) -> String {
        Shell::get(self, name).unwrap_or_default().to_string()
    }

    fn set(&mut self, name: &str, value: String) {
        // A read-only variable keeps its value.
        let _ = self.set_variable(name, value);
    }
}

/// `"$@"`: every value is a field; what is before and after joins the first and last.
fn push_each(fields: &mut Fields, values: &[String]) {
    if values.is_empty() && fields.open.as_ref().is_some_and(Vec::is_empty) {
        fields.open = None;
    }
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            fields.end_field();
        }
        fields.push(pattern::quoted(value));
    }
}

/// A value without the shortest or longest prefix or suffix that matches.
fn trim(value: &str, pattern: &[Char], suffix: bool, longest: bool) -> String {
    let chars: Vec<char> = value.chars().collect();
    let cuts: Box<dyn Iterator<Item = usize>> =
        if suffix == longest { Box::new(0..=chars.len()) } else { Box::new((0..=chars.len()).rev()) };
    for cut in cuts {
        let (before, after) = chars.split_at(cut);
        let (matched, kept) = if suffix { (after, before) } else { (before, after) };
        if pattern::matches(pattern, matched) {
            return kept.iter().collect();
        }
    }
    value.to_string()
}
