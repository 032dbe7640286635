//! Sets of CPUs as text: `f` and `0-3`, in both directions.

use crate::errno::{EINVAL, Result};
use crate::{Out, out};

/// Writes a set as a hexadecimal number with a digit for every four CPUs that there can be.
pub fn mask(out: &mut dyn Out, cpus: u32, possible: u32) {
    let digits = (32 - possible.leading_zeros()).div_ceil(4).max(1) as usize;
    out!(out, "{:0digits$x}", cpus & possible);
}

/// Writes a set as ranges of numbers. The empty set is no text.
pub fn list(out: &mut dyn Out, cpus: u32) {
    let (mut rest, mut separator) = (cpus, "");
    while rest != 0 {
        let first = rest.trailing_zeros();
        let len = (rest >> first).trailing_ones();
        out!(out, "{separator}{first}");
        if len > 1 {
            out!(out, "-{}", first + len - 1);
        }
        separator = ",";
        rest &= !(((1u64 << len) - 1) << first) as u32;
    }
}

/// Reads a hexadecimal number; commas between its digits are ignored. EINVAL for anything else, and
/// for CPUs from 32 on.
pub fn parse_mask(text: &[u8]) -> Result<u32> {
    let text = text.trim_ascii();
    let mut cpus = 0u32;
    let mut digits = 0;
    for &byte in text.iter().filter(|&&byte| byte != b',') {
        let digit = char::from(byte).to_digit(16).ok_or(EINVAL)?;
        if cpus >> 28 != 0 {
            return Err(EINVAL);
        }
        cpus = cpus << 4 | digit;
        digits += 1;
    }
    if digits == 0 { Err(EINVAL) } else { Ok(cpus) }
}

/// Reads ranges of numbers. EINVAL for anything else, and for CPUs from 32 on.
pub fn parse_list(text: &[u8]) -> Result<u32> {
    let number = |word: &str| word.parse::<u32>().ok().filter(|&cpu| cpu < 32).ok_or(EINVAL);
    let text = core::str::from_utf8(text.trim_ascii()).map_err(|_| EINVAL)?;
    let mut cpus = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(EINVAL);
        }
        (first..=last).for_each(|cpu| cpus |= 1 << cpu);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;
    use alloc::string::String;

    fn texts(cpus: u32, possible: u32) -> (String, String) {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(render(|out| mask(out, cpus, possible))), text(render(|out| list(out, cpus))))
    }

    #[test]
    fn sets_are_written_as_linux_writes_them() {
        for (cpus, possible, as_mask, as_list) in [
            (0, 1, "0", ""),
            (1, 1, "1", "0"),
            (0b1101, 0xf, "d", "0,2-3"),
            (0b1101, 0x1f, "0d", "0,2-3"),
            (0xff, 0xff, "ff", "0-7"),
            (!0, 0xff, "ff", "0-31"),
            (1 << 31 | 2, !0, "80000002", "1,31"),
        ] {
            assert_eq!(texts(cpus, possible), (as_mask.into(), as_list.into()), "{cpus:#x} of {possible:#x}");
        }
    }

    #[test]
    fn they_are_read_back_and_what_is_none_is_refused() {
        for (text, cpus) in [("f\n", 0xf), ("00000000,0000000c", 12), (" A ", 10), ("ffffffff", !0)] {
            assert_eq!(parse_mask(text.as_bytes()), Ok(cpus), "{text}");
        }
        for text in ["", "\n", ",", "0x1", "g", "1 2", "1,00000000"] {
            assert_eq!(parse_mask(text.as_bytes()), Err(EINVAL), "{text}");
        }
        for (text, cpus) in [("0", 1), ("0-3\n", 15), ("1,3", 10), ("0,2-3,7", 0x8d), ("31", 1 << 31)] {
            assert_eq!(parse_list(text.as_bytes()), Ok(cpus), "{text}");
        }
        for text in ["", "3-1", "32", "a", "1-", "1,", "-1"] {
            assert_eq!(parse_list(text.as_bytes()), Err(EINVAL), "{text}");
        }
    }
}
