//! Patterns with `*`, `?` and `[…]`, for file names, `case` and `${name#pattern}`.

use std::{fs, path::Path};

/// A character of an expanded word. Quoted ones mean themselves to patterns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Char {
    pub c: char,
    pub quoted: bool,
}

/// Characters that mean themselves.
pub fn quoted(text: &str) -> Vec<Char> {
    text.chars().map(|c| Char { c, quoted: true }).collect()
}

/// Characters that may be part of a pattern.
pub fn unquoted(text: &str) -> Vec<Char> {
    text.chars().map(|c| Char { c, quoted: false }).collect()
}

/// The word without its marks.
pub fn plain(word: &[Char]) -> String {
    word.iter().map(|c| c.c).collect()
}

/// Whether a pattern matches the whole of `text`.
pub fn matches(pattern: &[Char], text: &[char]) -> bool {
    // Where to go on after the last `*`: it then takes one character more.
    let mut retry: Option<(usize, usize)> = None;
    let (mut p, mut t) = (0, 0);
    loop {
        let step = match pattern.get(p) {
            Some(Char { c: '*', quoted: false }) => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(_) if t < text.len() => match_one(&pattern[p..], text[t]),
            None if t == text.len() => return true,
            _ => None,
        };
        match (step, retry) {
            (Some(len), _) => {
                p += len;
                t += 1;
            }
            (None, Some((after_star, taken))) if taken < text.len() => {
                retry = Some((after_star, taken + 1));
                (p, t) = (after_star, taken + 1);
            }
            (None, _) => return false,
        }
    }
}

/// How many characters of the pattern match `c`, if they do.
fn match_one(pattern: &[Char], c: char) -> Option<usize> {
    let first = pattern[0];
    match first.c {
        '?' if !first.quoted => Some(1),
        '[' if !first.quoted => match bracket(pattern, c) {
            Some((true, len)) => Some(len),
            Some((false, _)) => None,
            None => (c == '[').then_some(1),
        },
        literal => (literal == c).then_some(1),
    }
}

/// Whether `[…]` contains `c`, and its length; nothing if it has no end.
fn bracket(pattern: &[Char], c: char) -> Option<(bool, usize)> {
    let negated = pattern.get(1).is_some_and(|p| !p.quoted && matches!(p.c, '!' | '^'));
    let first = 1 + usize::from(negated);
    let (mut at, mut found) = (first, false);
    loop {
        let low = pattern.get(at)?;
        if low.c == ']' && !low.quoted && at > first {
            return Some((found != negated, at + 1));
        }
        let is_range = pattern.get(at + 1).is_some_and(|p| p.c == '-' && !p.quoted);
        match pattern.get(at + 2).filter(|high| is_range && (high.c != ']' || high.quoted)) {
            Some(high) => {
                found |= (low.c..=high.c).contains(&c);
                at += 3;
            }
            None => {
                found |= low.c == c;
                at += 1;
            }
        }
    }
}

/// The paths that a pattern matches, sorted; none if there is nothing of a pattern in it.
pub fn paths(pattern: &[Char]) -> Vec<String> {
    if !has_magic(pattern) {
        return Vec::new();
    }
    let absolute = pattern.first().is_some_and(|c| c.c == '/');
    let mut found = vec![String::from(if absolute { "/" } else { "" })];
    let parts: Vec<&[Char]> = pattern.split(|c| c.c == '/').filter(|part| !part.is_empty()).collect();
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        found = found.iter().flat_map(|base| one_level(base, part)).collect();
        if !is_last {
            found.retain(|path| Path::new(path).is_dir());
            found.iter_mut().for_each(|path| path.push('/'));
        }
    }
    found.sort();
    found
}

/// What a part between slashes matches in the folder `base`.
fn one_level(base: &str, part: &[Char]) -> Vec<String> {
    if !has_magic(part) {
        let path = format!("{base}{}", plain(part));
        return if fs::symlink_metadata(&path).is_ok() { vec![path] } else { Vec::new() };
    }
    let Ok(entries) = fs::read_dir(if base.is_empty() { "." } else { base }) else { return Vec::new() };
    let wants_hidden = part[0].c == '.';
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let matching = names
        .filter(|name| (wants_hidden || !name.starts_with('.')) && matches(part, &name.chars().collect::<Vec<_>>()));
    matching.map(|name| format!("{base}{name}")).collect()
}

fn has_magic(word: &[Char]) -> bool {
    word.iter().any(|c| !c.quoted && matches!(c.c, '*' | '?' | '['))
}
