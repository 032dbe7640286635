//! Regular expressions for `grep`: literals, `.`, `[…]`, `*`, `^`, `$`, `\`, and with -E
//! also `+`, `?` and `|` (no groups).

use crate::Error;

/// A pattern: a line matches if one of the alternatives does.
pub struct Pattern {
    alternatives: Vec<Alternative>,
    ignore_case: bool,
}

#[derive(Default)]
struct Alternative {
    at_start: bool,
    at_end: bool,
    pieces: Vec<Piece>,
}

/// One byte's worth of pattern and how often it may occur.
struct Piece {
    set: Set,
    least: usize,
    most: usize,
}

enum Set {
    Any,
    Byte(u8),
    Class { negated: bool, ranges: Vec<(u8, u8)> },
}

impl Pattern {
    /// Compiles a basic regular expression, or an extended one.
    pub fn new(text: &[u8], extended: bool) -> Result<Self, Error> {
        let mut alternatives = Vec::new();
        let mut rest = text;
        loop {
            let (alternative, after) = Alternative::parse(rest, extended)?;
            alternatives.push(alternative);
            match after {
                Some(after) => rest = after,
                None => return Ok(Pattern { alternatives, ignore_case: false }),
            }
        }
    }

    /// A pattern that matches `text` itself.
    pub fn literal(text: &[u8]) -> Self {
        let pieces = text.iter().map(|&byte| Piece::once(Set::Byte(byte))).collect();
        Pattern { alternatives: vec![Alternative { pieces, ..Alternative::default() }], ignore_case: false }
    }

    /// Makes upper and lower case letters the same.
    pub fn ignore_case(&mut self) {
        self.ignore_case = true;
    }

    /// Whether the pattern is found in a line.
    pub fn is_match(&self, line: &[u8]) -> bool {
        self.alternatives.iter().any(|alternative| {
            let last_start = if alternative.at_start { 0 } else { line.len() };
            (0..=last_start).any(|start| self.matches_here(&alternative.pieces, alternative.at_end, &line[start..]))
        })
    }

    fn matches_here(&self, pieces: &[Piece], at_end: bool, text: &[u8]) -> bool {
        let Some((piece, rest)) = pieces.split_first() else { return !at_end || text.is_empty() };
        let fits = text.iter().take(piece.most).take_while(|&&byte| self.contains(&piece.set, byte)).count();
        (piece.least..=fits).rev().any(|taken| self.matches_here(rest, at_end, &text[taken..]))
    }

    fn contains(&self, set: &Set, byte: u8) -> bool {
        if self.ignore_case {
            set.contains(byte.to_ascii_lowercase()) || set.contains(byte.to_ascii_uppercase())
        } else {
            set.contains(byte)
        }
    }
}

impl Alternative {
    /// Parses up to a `|`; the alternative, and what follows the `|` if there is one.
    fn parse(text: &[u8], extended: bool) -> Result<(Self, Option<&[u8]>), Error> {
        let mut this = Alternative::default();
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            at += 1;
            let set = match byte {
                b'^' if at == 1 => {
                    this.at_start = true;
                    continue;
                }
                b'$' if text.get(at).is_none_or(|&next| extended && next == b'|') => {
                    this.at_end = true;
                    continue;
                }
                b'|' if extended => return Ok((this, Some(&text[at..]))),
                b'(' | b')' | b'{' if extended => {
                    return Err(format!("`{}` is not supported in a pattern", char::from(byte)));
                }
                b'*' if !this.pieces.is_empty() => {
                    this.repeat_last(0, usize::MAX);
                    continue;
                }
                b'+' | b'?' if extended && !this.pieces.is_empty() => {
                    let (least, most) = if byte == b'+' { (1, usize::MAX) } else { (0, 1) };
                    this.repeat_last(least, most);
                    continue;
                }
                b'.' => Set::Any,
                b'[' => {
                    let (class, len) = parse_class(&text[at..]).ok_or("unmatched `[` in the pattern")?;
                    at += len;
                    class
                }
                b'\\' => {
                    let escaped = *text.get(at).ok_or("the pattern ends in a backslash")?;
                    at += 1;
                    Set::Byte(escaped)
                }
                literal => Set::Byte(literal),
            };
            this.pieces.push(Piece::once(set));
        }
        Ok((this, None))
    }

    fn repeat_last(&mut self, least: usize, most: usize) {
        if let Some(piece) = self.pieces.last_mut() {
            (piece.least, piece.most) = (least, most);
        }
    }
}

impl Piece {
    fn once(set: Set) -> Self {
        Piece { set, least: 1, most: 1 }
    }
}

impl Set {
    fn contains(&self, byte: u8) -> bool {
        match self {
            Set::Any => true,
            Set::Byte(literal) => byte == *literal,
            Set::Class { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&byte)) != *negated
            }
        }
    }
}

/// Parses what follows a `[`, up to and with the `]`; the class and its length in bytes.
fn parse_class(text: &[u8]) -> Option<(Set, usize)> {
    let negated = text.first() == Some(&b'^');
    let first = usize::from(negated);
    let mut at = first;
    let mut ranges = Vec::new();
    loop {
        let low = *text.get(at)?;
        if low == b']' && at > first {
            return Some((Set::Class { negated, ranges }, at + 1));
        }
        let named = [
            ("[:digit:]", &[(b'0', b'9')][..]),
            ("[:alpha:]", &[(b'a', b'z'), (b'A', b'Z')]),
            ("[:space:]", &[(b'\t', b'\r'), (b' ', b' ')]),
        ];
        if let Some((name, set)) = named.into_iter().find(|(name, _)| text[at..].starts_with(name.as_bytes())) {
            ranges.extend_from_slice(set);
            at += name.len();
        } else if text.get(at + 1) == Some(&b'-') && text.get(at + 2).is_some_and(|&high| high != b']') {
            ranges.push((low, text[at + 2]));
            at += 3;
        } else {
            ranges.push((low, low));
            at += 1;
        }
    }
}
