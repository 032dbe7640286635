//! The characters below the grammar.

use super::{ParseError, Parser, Result};

impl Parser {
    /// The letters, digits and underscores of a name; empty if none begins here.
    pub(super) fn name(&mut self) -> String {
        if self.peek().is_none_or(|c| c.is_ascii_digit()) {
            return String::new();
        }
        let name: String =
            self.text[self.at..].iter().take_while(|&&c| c == '_' || c.is_ascii_alphanumeric()).collect();
        self.at += name.len();
        name
    }

    /// Which of some words stands here, on its own.
    pub(super) fn keyword<'a>(&self, words: &[&'a str]) -> Option<&'a str> {
        words.iter().copied().find(|word| {
            let after = self.peek_at(word.len());
            self.looking_at(word) && after.is_none_or(|c| c.is_whitespace() || "&|;<>()".contains(c))
        })
    }

    pub(super) fn take_keyword(&mut self, word: &str) -> bool {
        let found = self.keyword(&[word]).is_some();
        if found {
            self.at += word.len();
        }
        found
    }

    /// Takes a word or sign that must come now.
    pub(super) fn expect(&mut self, word: &str) -> Result<()> {
        self.skip_blanks();
        let found = if word == ")" { self.looking_at(word) } else { self.keyword(&[word]).is_some() };
        if !found {
            return Err(self.unexpected());
        }
        self.at += word.len();
        Ok(())
    }

    pub(super) fn expect_char(&mut self, c: char) -> Result<()> {
        match self.take() {
            Some(taken) if taken == c => Ok(()),
            Some(_) => Err(ParseError::Syntax(format!("`{c}` expected"))),
            None => Err(ParseError::Incomplete),
        }
    }

    /// The error for what stands here.
    pub(super) fn unexpected(&self) -> ParseError {
        match self.peek() {
            None => ParseError::Incomplete,
            Some('\n') => ParseError::Syntax("newline unexpected".into()),
            Some(_) => {
                let rest = &self.text[self.at..];
                let len = rest.iter().take_while(|c| !c.is_whitespace() && !"&|;<>()".contains(**c)).count().max(1);
                ParseError::Syntax(format!("`{}` unexpected", rest[..len].iter().collect::<String>()))
            }
        }
    }

    /// Skips blanks, continued lines and a comment.
    pub(super) fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r') => self.at += 1,
                Some('\\') if self.peek_at(1) == Some('\n') => self.at += 2,
                Some('#') => {
                    self.at += self.text[self.at..].iter().take_while(|&&c| c != '\n').count();
                }
                _ => return,
            }
        }
    }

    pub(super) fn skip_newlines(&mut self) -> Result<()> {
        loop {
            self.skip_blanks();
            if self.peek() != Some('\n') {
                return Ok(());
            }
            self.newline()?;
            self.separated = true;
        }
    }

    pub(super) fn looking_at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(offset, c)| self.peek_at(offset) == Some(c))
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, offset: usize) -> Option<char> {
        self.text.get(self.at + offset).copied()
    }

    pub(super) fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }
}
