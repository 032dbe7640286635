//! A command of words, its settings before and its redirections.

use std::{cell::OnceCell, rc::Rc};

use super::{HereDocument, ParseError, Parser, Result};
use crate::sh::ast::{Command, Kind, Part, Redirect, Target, Word};

impl Parser {
    pub(super) fn simple(&mut self) -> Result<Command> {
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.skip_blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            if words.is_empty()
                && let Some(assignment) = self.assignment()?
            {
                assignments.push(assignment);
                continue;
            }
            let Some(word) = self.word()? else { break };
            words.push(word);
            self.skip_blanks();
            if words.len() == 1 && assignments.is_empty() && redirects.is_empty() && self.looking_at("()") {
                let [Part::Literal(name)] = &words[0][..] else { return Err(self.unexpected()) };
                let name = name.clone();
                self.at += 2;
                self.skip_newlines()?;
                let body = Rc::new(self.command()?);
                return Ok(Command { kind: Kind::Function { name, body }, redirects });
            }
        }
        if words.is_empty() && assignments.is_empty() && redirects.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Command { kind: Kind::Simple { assignments, words }, redirects })
    }

    /// `NAME=word`, if that is what comes.
    fn assignment(&mut self) -> Result<Option<(String, Word)>> {
        let start = self.at;
        let name = self.name();
        if name.is_empty() || self.peek() != Some('=') {
            self.at = start;
            return Ok(None);
        }
        self.at += 1;
        Ok(Some((name, self.parts(None)?)))
    }

    pub(super) fn redirect(&mut self) -> Result<Option<Redirect>> {
        self.skip_blanks();
        let start = self.at;
        let digits: String = self.text[start..].iter().take_while(|c| c.is_ascii_digit()).collect();
        self.at += digits.len();
        let reads = match self.peek() {
            Some('<') => true,
            Some('>') => false,
            _ => {
                self.at = start;
                return Ok(None);
            }
        };
        let default = if reads { 0 } else { 1 };
        let fd = if digits.is_empty() { Ok(default) } else { digits.parse() };
        let fd = fd.map_err(|_| ParseError::Syntax(format!("bad descriptor {digits}")))?;
        let operator =
            ["<<-", "<<", "<&", "<>", "<", ">>", ">&", ">|", ">"].into_iter().find(|text| self.looking_at(text));
        let operator = operator.unwrap_or_default();
        self.at += operator.len();
        let word = self.word()?.ok_or_else(|| self.unexpected())?;
        let target = match operator {
            "<" => Target::Read(word),
            "<>" => Target::ReadWrite(word),
            ">>" => Target::Append(word),
            "<&" | ">&" => Target::Duplicate(word),
            "<<" | "<<-" => Target::HereDocument(self.here_document(&word, operator == "<<-")?),
            _ => Target::Write(word),
        };
        Ok(Some(Redirect { fd, target }))
    }

    fn here_document(&mut self, delimiter: &Word, strip_tabs: bool) -> Result<Rc<OnceCell<Word>>> {
        let mut end = String::new();
        let mut literal = false;
        for part in delimiter {
            match part {
                Part::Literal(text) => end += text,
                Part::Quoted(text) => {
                    end += text;
                    literal = true;
                }
                _ => return Err(ParseError::Syntax("a here-document's end must be a plain word".into())),
            }
        }
        let body = Rc::new(OnceCell::new());
        self.pending.push(HereDocument { end, literal, strip_tabs, body: body.clone() });
        Ok(body)
    }

    /// Takes a newline, and the here-documents that begin after it.
    pub(super) fn newline(&mut self) -> Result<()> {
        self.at += 1;
        for document in std::mem::take(&mut self.pending) {
            let mut text = String::new();
            loop {
                if self.peek().is_none() {
                    return Err(ParseError::Incomplete);
                }
                let mut line: String = self.text[self.at..].iter().take_while(|&&c| c != '\n').collect();
                self.at += line.chars().count();
                self.at = (self.at + 1).min(self.text.len());
                if document.strip_tabs {
                    line = line.trim_start_matches('\t').into();
                }
                if line == document.end {
                    break;
                }
                text = text + &line + "\n";
            }
            let word = if document.literal {
                vec![Part::Quoted(text)]
            } else {
                let mut inner = Parser { text: text.chars().collect(), depth: self.depth, ..Parser::default() };
                inner.quoted_parts(None)?
            };
            // Each document has a cell of its own, set here alone.
            let _ = document.body.set(word);
        }
        Ok(())
    }
}
