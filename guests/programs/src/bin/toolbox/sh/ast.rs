//! The shell's language as a tree.

use std::{cell::OnceCell, rc::Rc};

/// Commands in sequence.
#[derive(Debug, Default)]
pub struct List(pub Vec<Item>);

/// A command of a list, and whether the shell waits for it.
#[derive(Debug)]
pub struct Item {
    pub chain: Chain,
    pub background: bool,
}

/// Pipelines joined by `&&` and `||`.
#[derive(Debug)]
pub struct Chain {
    pub first: Pipeline,
    pub rest: Vec<(Joint, Pipeline)>,
}

/// On which outcome the next pipeline of a chain runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Joint {
    And,
    Or,
}

/// Commands joined by `|`.
#[derive(Debug)]
pub struct Pipeline {
    pub negated: bool,
    pub commands: Vec<Command>,
}

/// A command with its redirections.
#[derive(Debug)]
pub struct Command {
    pub kind: Kind,
    pub redirects: Vec<Redirect>,
}

#[derive(Debug)]
pub enum Kind {
    Simple {
        assignments: Vec<(String, Word)>,
        words: Vec<Word>,
    },
    Group(List),
    Subshell(List),
    If {
        arms: Vec<(List, List)>,
        otherwise: Option<List>,
    },
    Loop {
        until: bool,
        condition: List,
        body: List,
    },
    /// Without words it goes over the positional parameters.
    For {
        name: String,
        words: Option<Vec<Word>>,
        body: List,
    },
    Case {
        word: Word,
        arms: Vec<(Vec<Word>, List)>,
    },
    Function {
        name: String,
        body: Rc<Command>,
    },
}

#[derive(Debug)]
pub struct Redirect {
    pub fd: i32,
    pub target: Target,
}

#[derive(Debug)]
pub enum Target {
    Read(Word),
    Write(Word),
    Append(Word),
    ReadWrite(Word),
    /// `<&` and `>&`: the word is a descriptor or `-`.
    Duplicate(Word),
    /// Set when the parser reaches the line after.
    HereDocument(Rc<OnceCell<Word>>),
}

/// A word before expansion.
pub type Word = Vec<Part>;

#[derive(Debug)]
pub enum Part {
    /// Characters that mean themselves, except to patterns.
    Literal(String),
    /// Characters that mean themselves everywhere.
    Quoted(String),
    Parameter {
        name: String,
        operation: Option<Operation>,
        quoted: bool,
    },
    Substitution {
        list: Rc<List>,
        quoted: bool,
    },
    Arithmetic {
        expression: Word,
        quoted: bool,
    },
}

/// What `${name…}` does beyond giving the value.
#[derive(Debug)]
pub enum Operation {
    /// `${#name}`
    Length,
    /// `:-`, `:=`, `:+`, `:?`; without the colon an empty value counts as set.
    Conditional { action: char, empty_is_unset: bool, word: Word },
    /// `#`, `##`, `%`, `%%`
    Trim { suffix: bool, longest: bool, pattern: Word },
}
