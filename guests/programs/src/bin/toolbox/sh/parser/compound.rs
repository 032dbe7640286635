//! `if`, `for`, `while`, `case`, groups, functions.

use super::{MAX_DEPTH, ParseError, Parser, Result, TERMINATORS};
use crate::sh::ast::{Command, Kind, List};

impl Parser {
    pub(super) fn command(&mut self) -> Result<Command> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ParseError::Syntax("too deeply nested".into()));
        }
        self.skip_blanks();
        if self.peek().is_none() {
            return Err(ParseError::Incomplete);
        }
        let kind = match self.compound()? {
            Some(kind) => kind,
            None => return self.simple().inspect(|_| self.depth -= 1),
        };
        let mut redirects = Vec::new();
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
        }
        self.depth -= 1;
        Ok(Command { kind, redirects })
    }

    /// A command that begins with a word or sign of the language.
    fn compound(&mut self) -> Result<Option<Kind>> {
        if self.peek() == Some('(') {
            self.at += 1;
            let list = self.compound_list()?;
            self.expect(")")?;
            return Ok(Some(Kind::Subshell(list)));
        }
        let words = ["if", "while", "until", "for", "case", "{"];
        let Some(word) = self.keyword(&words.iter().chain(&TERMINATORS).copied().collect::<Vec<_>>()) else {
            return Ok(None);
        };
        if TERMINATORS.contains(&word) {
            return Err(self.unexpected());
        }
        self.at += word.len();
        Ok(Some(match word {
            "{" => {
                let list = self.compound_list()?;
                self.expect("}")?;
                Kind::Group(list)
            }
            "if" => self.if_command()?,
            "for" => self.for_command()?,
            "case" => self.case_command()?,
            _ => {
                let condition = self.compound_list()?;
                Kind::Loop { until: word == "until", condition, body: self.do_group()? }
            }
        }))
    }

    fn if_command(&mut self) -> Result<Kind> {
        let mut arms = Vec::new();
        loop {
            let condition = self.compound_list()?;
            self.expect("then")?;
            arms.push((condition, self.compound_list()?));
            if self.take_keyword("elif") {
                continue;
            }
            let otherwise = if self.take_keyword("else") { Some(self.compound_list()?) } else { None };
            self.expect("fi")?;
            return Ok(Kind::If { arms, otherwise });
        }
    }

    fn for_command(&mut self) -> Result<Kind> {
        self.skip_blanks();
        let name = self.name();
        if name.is_empty() {
            return Err(self.unexpected());
        }
        self.skip_newlines()?;
        let words = if self.take_keyword("in") {
            let mut words = Vec::new();
            while let Some(word) = self.word()? {
                words.push(word);
            }
            Some(words)
        } else {
            None
        };
        self.skip_blanks();
        if self.peek() == Some(';') {
            self.at += 1;
        }
        Ok(Kind::For { name, words, body: self.do_group()? })
    }

    fn do_group(&mut self) -> Result<List> {
        self.skip_newlines()?;
        self.expect("do")?;
        let body = self.compound_list()?;
        self.expect("done")?;
        Ok(body)
    }

    fn case_command(&mut self) -> Result<Kind> {
        let word = self.word()?.ok_or_else(|| self.unexpected())?;
        self.skip_newlines()?;
        self.expect("in")?;
        let mut arms = Vec::new();
        loop {
            self.skip_newlines()?;
            if self.take_keyword("esac") {
                return Ok(Kind::Case { word, arms });
            }
            if self.peek() == Some('(') {
                self.at += 1;
            }
            let mut patterns = Vec::new();
            loop {
                patterns.push(self.word()?.ok_or_else(|| self.unexpected())?);
                self.skip_blanks();
                if self.peek() != Some('|') {
                    break;
                }
                self.at += 1;
            }
            self.expect(")")?;
            arms.push((patterns, self.compound_list()?));
            if self.looking_at(";;") {
                self.at += 2;
            }
        }
    }
}
