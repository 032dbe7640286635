//! From text to tree, one complete command at a time.

mod compound;
mod scan;
mod simple;
mod word;

use std::{cell::OnceCell, rc::Rc};

use super::ast::{Chain, Item, Joint, List, Pipeline, Word};

/// Why a command could not be parsed.
#[derive(PartialEq, Eq, Debug)]
pub enum ParseError {
    /// The text ends within a command: more of it may complete it.
    Incomplete,
    Syntax(String),
}

type Result<T> = std::result::Result<T, ParseError>;

/// Words that have a meaning where a command may begin, and end what is before them.
const TERMINATORS: [&str; 8] = ["then", "elif", "else", "fi", "do", "done", "esac", "}"];

/// Longest nesting of commands and expansions; a guard for the stack.
const MAX_DEPTH: u32 = 200;

/// The text of a script and how far it has been parsed.
#[derive(Default)]
pub struct Parser {
    text: Vec<char>,
    at: usize,
    depth: u32,
    /// Whether a `;`, `&` or newline has ended the command before.
    separated: bool,
    /// Here-documents that begin on the next line.
    pending: Vec<HereDocument>,
}

struct HereDocument {
    end: String,
    /// No expansion in it.
    literal: bool,
    strip_tabs: bool,
    body: Rc<OnceCell<Word>>,
}

impl Parser {
    /// A parser of `text`.
    pub fn new(text: &str) -> Self {
        let mut parser = Self::default();
        parser.feed(text);
        parser
    }

    /// Adds text at the end.
    pub fn feed(&mut self, text: &str) {
        self.text.extend(text.chars());
    }

    /// Forgets the rest of the text.
    pub fn discard(&mut self) {
        self.at = self.text.len();
    }

    /// Parses the commands up to the end of the line on which the first one ends. Nothing at
    /// the end of the text. After [`ParseError::Incomplete`] the same is tried again when the
    /// text has grown.
    pub fn next_command(&mut self) -> Result<Option<List>> {
        self.text.drain(..self.at);
        self.at = 0;
        self.depth = 0;
        self.pending.clear();
        let parsed = self.line();
        if parsed.is_err() {
            self.at = 0;
        }
        parsed
    }

    fn line(&mut self) -> Result<Option<List>> {
        self.skip_newlines()?;
        if self.peek().is_none() {
            return Ok(None);
        }
        let mut list = List::default();
        loop {
            list.0.push(self.item()?);
            self.skip_blanks();
            match self.peek() {
                None | Some('\n') => break,
                _ => {}
            }
            if !self.separated {
                return Err(self.unexpected());
            }
        }
        if self.peek().is_some() {
            self.newline()?;
        } else if !self.pending.is_empty() || self.text.ends_with(&['\\', '\n']) {
            // A here-document or the rest of a continued line is still to come.
            return Err(ParseError::Incomplete);
        }
        Ok(Some(list))
    }

    /// A chain, and the `;` or `&` after it.
    fn item(&mut self) -> Result<Item> {
        let chain = self.chain()?;
        self.skip_blanks();
        let background = self.peek() == Some('&');
        self.separated = background || (self.peek() == Some(';') && self.peek_at(1) != Some(';'));
        if self.separated {
            self.at += 1;
        }
        Ok(Item { chain, background })
    }

    /// Commands up to a word or sign that ends them, which stays.
    fn compound_list(&mut self) -> Result<List> {
        let mut list = List::default();
        loop {
            self.skip_newlines()?;
            if self.peek().is_none() {
                return Err(ParseError::Incomplete);
            }
            if self.peek() == Some(')') || self.looking_at(";;") || self.keyword(&TERMINATORS).is_some() {
                return Ok(list);
            }
            if !list.0.is_empty() && !self.separated {
                return Err(self.unexpected());
            }
            list.0.push(self.item()?);
        }
    }

    fn chain(&mut self) -> Result<Chain> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.skip_blanks();
            let joint = match () {
                () if self.looking_at("&&") => Joint::And,
                () if self.looking_at("||") => Joint::Or,
                () => return Ok(Chain { first, rest }),
            };
            self.at += 2;
            self.skip_newlines()?;
            rest.push((joint, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline> {
        self.skip_blanks();
        let negated = self.take_keyword("!");
        let mut commands = vec![self.command()?];
        loop {
            self.skip_blanks();
            if self.peek() != Some('|') || self.peek_at(1) == Some('|') {
                return Ok(Pipeline { negated, commands });
            }
            self.at += 1;
            self.skip_newlines()?;
            commands.push(self.command()?);
        }
    }
}
