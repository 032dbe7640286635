//! Long rows of numbers as short text: runs of equal steps take a few bytes whatever their length.
//!
//! A column is base64 of tokens. A token begins with a varint `n`: an even one is a run of `n / 2` values, followed
//! by the first value less the one before and by the step between them; an odd one is `n / 2` single values, each
//! followed less the one before. Differences are modulo 2³², zigzag and varint; the value before the first is 0.
//! So a page table that maps frames in a row is three numbers, and a million free frames are three, too.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

/// Runs shorter than this are written as single values.
const SHORTEST_RUN: usize = 4;

/// Packed 32-bit numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Column {
    /// How many; 0 for a column that was left out.
    pub len: u32,
    /// Base64 of the tokens.
    pub data: String,
}

impl Column {
    /// Packs `values`.
    pub fn of(values: &[u32]) -> Column {
        Column { len: values.len() as u32, data: BASE64_STANDARD.encode(tokens(values)) }
    }

    /// The values; `None` if the text is no column.
    pub fn values(&self) -> Option<Vec<u32>> {
        let bytes = BASE64_STANDARD.decode(&self.data).ok()?;
        let (mut at, mut before) = (bytes.as_slice(), 0u32);
        let mut values = Vec::new();
        while !at.is_empty() {
            let head = varint(&mut at)?;
            let count = (head >> 1) as usize;
            if values.len() + count > self.len as usize {
                return None;
            }
            if head & 1 != 0 {
                for _ in 0..count {
                    before = before.wrapping_add(unzigzag(varint(&mut at)?));
                    values.push(before);
                }
                continue;
            }
            before = before.wrapping_add(unzigzag(varint(&mut at)?));
            let step = unzigzag(varint(&mut at)?);
            for n in 0..count {
                before = if n == 0 { before } else { before.wrapping_add(step) };
                values.push(before);
            }
        }
        (values.len() == self.len as usize).then_some(values)
    }
}

/// How much text a picture may still take.
pub(super) struct Room {
    left: usize,
    /// What had to be left out, a line each.
    pub left_out: Vec<String>,
}

impl Room {
    pub fn new(bytes: usize) -> Room {
        Room { left: bytes, left_out: Vec::new() }
    }

    /// Packs `values` if they fit; else an empty column, and a line that says so of `what`.
    pub fn column(&mut self, what: impl FnOnce() -> String, values: &[u32]) -> Column {
        let column = Column::of(values);
        if column.data.len() > self.left {
            self.left_out.push(format!("{}: left out, for the picture would be too large", what()));
            return Column::default();
        }
        self.left -= column.data.len();
        column
    }

    /// Whether so many bytes of other text fit; if so they are taken.
    pub fn take(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.left;
        if fits {
            self.left -= bytes;
        }
        fits
    }
}

fn tokens(values: &[u32]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut before = 0;
    let mut singles = 0;
    let mut at = 0;
    while at < values.len() {
        let run = run_at(values, at);
        if run < SHORTEST_RUN {
            at += 1;
            continue;
        }
        before = write_singles(&mut out, before, &values[singles..at]);
        push_varint(&mut out, (run as u32) << 1);
        push_varint(&mut out, zigzag(values[at].wrapping_sub(before)));
        push_varint(&mut out, zigzag(values[at + 1].wrapping_sub(values[at])));
        before = values[at + run - 1];
        at += run;
        singles = at;
    }
    write_singles(&mut out, before, &values[singles..]);
    out
}

/// How many values from `at` on are equally far apart.
fn run_at(values: &[u32], at: usize) -> usize {
    let Some(&second) = values.get(at + 1) else { return 1 };
    let step = second.wrapping_sub(values[at]);
    let follows = |pair: &&[u32]| pair[1].wrapping_sub(pair[0]) == step;
    1 + values[at..].windows(2).take_while(follows).count()
}

fn write_singles(out: &mut Vec<u8>, mut before: u32, values: &[u32]) -> u32 {
    if !values.is_empty() {
        push_varint(out, (values.len() as u32) << 1 | 1);
    }
    for &value in values {
        push_varint(out, zigzag(value.wrapping_sub(before)));
        before = value;
    }
    before
}

/// Small differences of either sign as small numbers.
fn zigzag(difference: u32) -> u32 {
    difference << 1 ^ ((difference as i32) >> 31) as u32
}

fn unzigzag(number: u32) -> u32 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

fn push_varint(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn varint(at: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = at.split_first()?;
        *at = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_gives_back_what_was_packed() {
        let rows: [&[u32]; 8] = [
            &[],
            &[7],
            &[0, 0, 0, 0, 0],
            &[0x8048, 0x8049, 0x804a, 0x804b, 9, 8, 7, 6, 5, 1000],
            &[u32::MAX, 0, u32::MAX, 0, 1 << 31],
            &[5, 5, 5, 6, 6, 6, 6, 6],
            &[0, 1 << 31, 0, 1 << 31, 0, 1 << 31],
            &[0xffff_fffe, 0xffff_ffff, 0, 1, 2],
        ];
        for row in rows {
            assert_eq!(Column::of(row).values().as_deref(), Some(row));
        }
        let mut number = 1u32;
        let mixed: Vec<u32> = (0..5000)
            .map(|n| {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if n / 100 % 2 == 0 { number >> (n % 32) } else { n }
            })
            .collect();
        assert_eq!(Column::of(&mixed).values(), Some(mixed));
    }

    #[test]
    fn a_long_run_takes_a_few_bytes() {
        let frames: Vec<u32> = (0x1000..0x10_1000).collect();
        assert!(Column::of(&frames).data.len() <= 12);
        assert!(Column::of(&vec![3; 917_504]).data.len() <= 12);
    }

    #[test]
    fn text_that_is_no_column_is_refused() {
        for data in ["A", "AAAA!", "////", "/v//fw8="] {
            assert_eq!(Column { len: 3, data: data.into() }.values(), None, "{data}");
        }
        let whole = Column::of(&[1, 2, 3]);
        assert_eq!(Column { len: 2, ..whole }.values(), None);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut room = Room::new(16);
        assert_eq!(room.column(|| "few".into(), &[1; 1000]).len, 1000);
        assert_eq!(room.column(|| "many".into(), &[1, 9, 3, 20, 5, 77, 1000, 1 << 30]).len, 0);
        assert_eq!(room.left_out, ["many: left out, for the picture would be too large"]);
    }
}
