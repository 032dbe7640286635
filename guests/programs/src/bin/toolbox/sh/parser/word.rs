//! Words: quotes, and what stands for something else.

use std::rc::Rc;

use super::{MAX_DEPTH, ParseError, Parser, Result};
use crate::sh::ast::{List, Operation, Part, Word};

impl Parser {
    /// A word, or nothing if a sign or the end of the line comes.
    pub(super) fn word(&mut self) -> Result<Option<Word>> {
        self.skip_blanks();
        let word = self.parts(None)?;
        Ok(if word.is_empty() { None } else { Some(word) })
    }

    /// Parts of a word, up to where a word ends or, within `${…}`, up to `stop`.
    pub(super) fn parts(&mut self, stop: Option<char>) -> Result<Word> {
        let mut word = Word::new();
        while let Some(c) = self.peek() {
            if stop == Some(c) || (stop.is_none() && (c.is_whitespace() || "&|;<>()".contains(c))) {
                return Ok(word);
            }
            self.at += 1;
            match c {
                '\'' => {
                    let text: String = self.text[self.at..].iter().take_while(|&&c| c != '\'').collect();
                    self.at += text.chars().count();
                    self.expect_char('\'')?;
                    word.push(Part::Quoted(text));
                }
                '"' => {
                    let parts = self.quoted_parts(Some('"'))?;
                    self.expect_char('"')?;
                    // Empty quotes make an empty word.
                    word.push(Part::Quoted(String::new()));
                    word.extend(parts);
                }
                '\\' => match self.take().ok_or(ParseError::Incomplete)? {
                    '\n' => {}
                    escaped => word.push(Part::Quoted(escaped.into())),
                },
                '$' => self.dollar(&mut word, false)?,
                '`' => self.backquote(&mut word, false)?,
                literal => push_literal(&mut word, literal),
            }
        }
        if stop.is_some() { Err(ParseError::Incomplete) } else { Ok(word) }
    }

    /// Parts between double quotes, or of a here-document, up to `stop` or the end.
    pub(super) fn quoted_parts(&mut self, stop: Option<char>) -> Result<Word> {
        let mut word = Word::new();
        while let Some(c) = self.peek() {
            if stop == Some(c) {
                return Ok(word);
            }
            self.at += 1;
            match c {
                '\\' => match self.peek().ok_or(ParseError::Incomplete)? {
                    '\n' => self.at += 1,
                    escaped @ ('$' | '`' | '\\') => {
                        self.at += 1;
                        push_quoted(&mut word, escaped);
                    }
                    escaped if Some(escaped) == stop => {
                        self.at += 1;
                        push_quoted(&mut word, escaped);
                    }
                    _ => push_quoted(&mut word, '\\'),
                },
                '$' => self.dollar(&mut word, true)?,
                '`' => self.backquote(&mut word, true)?,
                // Quotes within `"${name:-…}"`.
                '"' if stop == Some('}') => {
                    word.extend(self.quoted_parts(Some('"'))?);
                    self.expect_char('"')?;
                }
                literal => push_quoted(&mut word, literal),
            }
        }
        if stop.is_some() { Err(ParseError::Incomplete) } else { Ok(word) }
    }

    /// What follows a `$`.
    fn dollar(&mut self, word: &mut Word, quoted: bool) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ParseError::Syntax("too deeply nested".into()));
        }
        let part = match self.peek() {
            Some('(') if self.peek_at(1) == Some('(') => {
                self.at += 2;
                Part::Arithmetic { expression: self.arithmetic()?, quoted }
            }
            Some('(') => {
                self.at += 1;
                let outer = std::mem::take(&mut self.pending);
                let list = Rc::new(self.compound_list()?);
                self.expect(")")?;
                self.pending = outer;
                Part::Substitution { list, quoted }
            }
            Some('{') => {
                self.at += 1;
                self.braced_parameter(quoted)?
            }
            Some(c) if c == '_' || c.is_ascii_alphabetic() => {
                Part::Parameter { name: self.name(), operation: None, quoted }
            }
            Some(c) if c.is_ascii_digit() || "?#$!@*-".contains(c) => {
                self.at += 1;
                Part::Parameter { name: c.into(), operation: None, quoted }
            }
            _ if quoted => Part::Quoted("$".into()),
            _ => Part::Literal("$".into()),
        };
        word.push(part);
        self.depth -= 1;
        Ok(())
    }

    /// The inside of `$((…))`, up to the parentheses that close it.
    fn arithmetic(&mut self) -> Result<Word> {
        let mut word = Word::new();
        let mut open = 0;
        while let Some(c) = self.take() {
            match c {
                ')' if open == 0 => {
                    self.expect_char(')')?;
                    return Ok(word);
                }
                '$' => {
                    self.dollar(&mut word, true)?;
                    continue;
                }
                '`' => {
                    self.backquote(&mut word, true)?;
                    continue;
                }
                '(' => open += 1,
                ')' => open -= 1,
                _ => {}
            }
            push_quoted(&mut word, c);
        }
        Err(ParseError::Incomplete)
    }

    /// The inside of `${…}`.
    fn braced_parameter(&mut self, quoted: bool) -> Result<Part> {
        let length = self.peek() == Some('#') && self.peek_at(1) != Some('}');
        if length {
            self.at += 1;
        }
        let mut name = self.name();
        if name.is_empty() {
            name = self.text[self.at..].iter().take_while(|c| c.is_ascii_digit()).collect();
            self.at += name.len();
        }
        if name.is_empty() {
            match self.take().ok_or(ParseError::Incomplete)? {
                special if "?#$!@*-".contains(special) => name.push(special),
                _ => return Err(ParseError::Syntax("bad substitution".into())),
            }
        }
        let operation = if length {
            Some(Operation::Length)
        } else {
            let colon = self.peek() == Some(':');
            match self.peek_at(usize::from(colon)).ok_or(ParseError::Incomplete)? {
                '}' if !colon => None,
                action @ ('-' | '=' | '+' | '?') => {
                    self.at += 1 + usize::from(colon);
                    let word = if quoted { self.quoted_parts(Some('}'))? } else { self.parts(Some('}'))? };
                    Some(Operation::Conditional { action, empty_is_unset: colon, word })
                }
                sign @ ('#' | '%') if !colon => {
                    let longest = self.peek_at(1) == Some(sign);
                    self.at += 1 + usize::from(longest);
                    Some(Operation::Trim { suffix: sign == '%', longest, pattern: self.parts(Some('}'))? })
                }
                _ => return Err(ParseError::Syntax("bad substitution".into())),
            }
        };
        self.expect_char('}')?;
        Ok(Part::Parameter { name, operation, quoted })
    }

    /// A command substitution in its old form; its text is unescaped, then parsed.
    fn backquote(&mut self, word: &mut Word, quoted: bool) -> Result<()> {
        let mut text = String::new();
        loop {
            match self.take().ok_or(ParseError::Incomplete)? {
                '`' => break,
                '\\' => match self.take().ok_or(ParseError::Incomplete)? {
                    escaped @ ('`' | '\\' | '$') => text.push(escaped),
                    other => text.extend(['\\', other]),
                },
                c => text.push(c),
            }
        }
        let mut inner = Parser { text: text.chars().collect(), ..Parser::default() };
        let mut list = List::default();
        loop {
            match inner.next_command() {
                Ok(Some(line)) => list.0.extend(line.0),
                Ok(None) => break,
                Err(ParseError::Incomplete) => {
                    return Err(ParseError::Syntax("unexpected end within backquotes".into()));
                }
                Err(error) => return Err(error),
            }
        }
        word.push(Part::Substitution { list: Rc::new(list), quoted });
        Ok(())
    }
}

fn push_literal(word: &mut Word, c: char) {
    match word.last_mut() {
        Some(Part::Literal(text)) => text.push(c),
        _ => word.push(Part::Literal(c.into())),
    }
}

fn push_quoted(word: &mut Word, c: char) {
    match word.last_mut() {
        Some(Part::Quoted(text)) => text.push(c),
        _ => word.push(Part::Quoted(c.into())),
    }
}
