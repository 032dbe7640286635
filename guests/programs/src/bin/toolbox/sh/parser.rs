//! From text to tree, one complete command at a time.

use std::{cell::OnceCell, rc::Rc};

use super::ast::{Chain, Command, Item, Joint, Kind, List, Operation, Part, Pipeline, Redirect, Target, Word};

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

    fn command(&mut self) -> Result<Command> {
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

    fn simple(&mut self) -> Result<Command> {
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

    fn redirect(&mut self) -> Result<Option<Redirect>> {
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
    fn newline(&mut self) -> Result<()> {
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

    /// A word, or nothing if a sign or the end of the line comes.
    fn word(&mut self) -> Result<Option<Word>> {
        self.skip_blanks();
        let word = self.parts(None)?;
        Ok(if word.is_empty() { None } else { Some(word) })
    }

    /// Parts of a word, up to where a word ends or, within `${…}`, up to `stop`.
    fn parts(&mut self, stop: Option<char>) -> Result<Word> {
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
    fn quoted_parts(&mut self, stop: Option<char>) -> Result<Word> {
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

    /// The letters, digits and underscores of a name; empty if none begins here.
    fn name(&mut self) -> String {
        if self.peek().is_none_or(|c| c.is_ascii_digit()) {
            return String::new();
        }
        let name: String =
            self.text[self.at..].iter().take_while(|&&c| c == '_' || c.is_ascii_alphanumeric()).collect();
        self.at += name.len();
        name
    }

    /// Which of some words stands here, on its own.
    fn keyword<'a>(&self, words: &[&'a str]) -> Option<&'a str> {
        words.iter().copied().find(|word| {
            let after = self.peek_at(word.len());
            self.looking_at(word) && after.is_none_or(|c| c.is_whitespace() || "&|;<>()".contains(c))
        })
    }

    fn take_keyword(&mut self, word: &str) -> bool {
        let found = self.keyword(&[word]).is_some();
        if found {
            self.at += word.len();
        }
        found
    }

    /// Takes a word or sign that must come now.
    fn expect(&mut self, word: &str) -> Result<()> {
        self.skip_blanks();
        let found = if word == ")" { self.looking_at(word) } else { self.keyword(&[word]).is_some() };
        if !found {
            return Err(self.unexpected());
        }
        self.at += word.len();
        Ok(())
    }

    fn expect_char(&mut self, c: char) -> Result<()> {
        match self.take() {
            Some(taken) if taken == c => Ok(()),
            Some(_) => Err(ParseError::Syntax(format!("`{c}` expected"))),
            None => Err(ParseError::Incomplete),
        }
    }

    /// The error for what stands here.
    fn unexpected(&self) -> ParseError {
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
    fn skip_blanks(&mut self) {
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

    fn skip_newlines(&mut self) -> Result<()> {
        loop {
            self.skip_blanks();
            if self.peek() != Some('\n') {
                return Ok(());
            }
            self.newline()?;
            self.separated = true;
        }
    }

    fn looking_at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(offset, c)| self.peek_at(offset) == Some(c))
    }

    fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    fn peek_at(&self, offset: usize) -> Option<char> {
        self.text.get(self.at + offset).copied()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
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
