//! Parameters: `insmod x.ko n=3` (`parse_args`).

use abi::{
    errno::{EINVAL, ERANGE, Errno, Result},
    module::param_kind,
};

use super::{Image, Log, Table, Text};

/// Words of a `KernelParam`: name, kind, variable.
const ROW: u32 = 12;

/// Sets the module's variables as `args` says. What no variable is named after is logged and
/// left out, as in Linux; EINVAL or ERANGE for a value that does not fit. Only memory from
/// `data` on is written.
pub fn parse_args(
    module: &str,
    args: &[u8],
    table: Table,
    data: u32,
    image: &mut Image<'_>,
    log: Log<'_>,
) -> Result<()> {
    let mut rest = args;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(());
        }
        let (word, after) = next_arg(rest);
        rest = after;
        let (name, value) = match word.iter().position(|&byte| byte == b'=') {
            Some(at) => (&word[..at], Some(unquoted(&word[at + 1..]))),
            None => (word, None),
        };
        let Some(row) = table.rows(ROW).find(|&row| is_named(image, row, name)) else {
            log(format_args!("{module}: unknown parameter '{}' ignored", Text(name)));
            continue;
        };
        set(image, row, data, value).inspect_err(|_| {
            let shown = Text(value.unwrap_or_default());
            log(format_args!("{module}: `{shown}' invalid for parameter `{}'", Text(name)));
        })?;
    }
}

/// A word up to the next blank that is not inside quotes, and what follows it.
fn next_arg(text: &[u8]) -> (&[u8], &[u8]) {
    let mut in_quotes = false;
    let end = text.iter().position(|&byte| {
        in_quotes ^= byte == b'"';
        byte.is_ascii_whitespace() && !in_quotes
    });
    text.split_at(end.unwrap_or(text.len()))
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").map_or(value, |inner| inner.strip_suffix(b"\"").unwrap_or(inner))
}

/// Dashes and underscores are the same in names.
fn is_named(image: &Image<'_>, row: u32, name: &[u8]) -> bool {
    let plain = |byte: &u8| if *byte == b'-' { b'_' } else { *byte };
    let own = image.word(row).and_then(|addr| image.string(addr));
    own.is_some_and(|own| own.iter().map(plain).eq(name.iter().map(plain)))
}

fn set(image: &mut Image<'_>, row: u32, data: u32, value: Option<&[u8]>) -> Result<()> {
    let kind = image.word(row + 4).ok_or(EINVAL)?;
    let variable = image.word(row + 8).and_then(|addr| image.offset_of(addr)).filter(|&at| at >= data).ok_or(EINVAL)?;
    match kind {
        param_kind::INT => {
            let value = i32::try_from(number(value)?).map_err(|_| ERANGE)?;
            image.set_word(variable, value as u32).ok_or(EINVAL)
        }
        param_kind::UINT => {
            let value = u32::try_from(number(value)?).map_err(|_| ERANGE)?;
            image.set_word(variable, value).ok_or(EINVAL)
        }
        param_kind::BOOL => {
            let value = match value {
                None | Some([b'y' | b'Y' | b'1', ..]) | Some([b'o' | b'O', b'n' | b'N', ..]) => 1,
                Some([b'n' | b'N' | b'0', ..]) | Some([b'o' | b'O', b'f' | b'F', ..]) => 0,
                Some(_) => return Err(EINVAL),
            };
            image.range(variable, 1).ok_or(EINVAL)?[0] = value;
            Ok(())
        }
        _ => Err(EINVAL),
    }
}

/// A number as C writes it: decimal, `0x` hexadecimal, `0` octal.
fn number(text: Option<&[u8]>) -> Result<i64, Errno> {
    let text = core::str::from_utf8(text.ok_or(EINVAL)?).map_err(|_| EINVAL)?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| char::from(byte).is_digit(radix)) {
        return Err(EINVAL);
    }
    // More digits than 32 bits can have are out of range whatever they are.
    let value = i64::from_str_radix(digits, radix).map_err(|_| ERANGE)?;
    Ok(sign * value)
}
