//! `test` and `[`.

use std::{
    ffi::OsString,
    fs,
    io::IsTerminal,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
};

use crate::{Error, Outcome, args::Args};

/// Status for an expression that makes no sense.
const TROUBLE: u8 = 2;

/// `test EXPRESSION`, `[ EXPRESSION ]`
pub fn test(args: Args) -> Outcome {
    answer("test", &args.raw())
}

/// `[ EXPRESSION ]`
pub fn bracket(args: Args) -> Outcome {
    let mut args = args.raw();
    if args.pop().is_none_or(|last| last != "]") {
        eprintln!("[: missing ]");
        return Ok(TROUBLE);
    }
    answer("[", &args)
}

fn answer(name: &str, args: &[OsString]) -> Outcome {
    let mut expression = Expression { args, at: 0 };
    let value = if args.is_empty() { Ok(false) } else { expression.or() };
    match value {
        Ok(value) if expression.at == args.len() => Ok(u8::from(!value)),
        Ok(_) => {
            eprintln!("{name}: {}: unexpected operand", args[expression.at].display());
            Ok(TROUBLE)
        }
        Err(message) => {
            eprintln!("{name}: {message}");
            Ok(TROUBLE)
        }
    }
}

struct Expression<'a> {
    args: &'a [OsString],
    at: usize,
}

impl<'a> Expression<'a> {
    fn or(&mut self) -> Result<bool, Error> {
        let mut value = self.and()?;
        while self.take("-o") {
            value |= self.and()?;
        }
        Ok(value)
    }

    fn and(&mut self) -> Result<bool, Error> {
        let mut value = self.not()?;
        while self.take("-a") {
            value &= self.not()?;
        }
        Ok(value)
    }

    fn not(&mut self) -> Result<bool, Error> {
        // With a binary operator after it, `!` and `(` are plain strings.
        if self.left() > 1 && !self.binary_follows() {
            if self.take("!") {
                return Ok(!self.not()?);
            }
            if self.take("(") {
                let value = self.or()?;
                return if self.take(")") { Ok(value) } else { Err("missing )".into()) };
            }
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<bool, Error> {
        if self.binary_follows() {
            let (left, operator, right) = (self.next()?, self.next()?, self.next()?);
            return binary(left, &operator.to_string_lossy(), right);
        }
        let first = self.next()?;
        let text = first.to_string_lossy();
        let is_unary = text.len() == 2 && text.starts_with('-') && self.left() > 0;
        if !is_unary {
            return Ok(!first.is_empty());
        }
        let operand = self.next()?;
        unary(&text, operand)
    }

    fn binary_follows(&self) -> bool {
        const OPERATORS: [&str; 14] =
            ["=", "==", "!=", "<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef"];
        self.left() > 2 && self.args[self.at + 1].to_str().is_some_and(|text| OPERATORS.contains(&text))
    }

    fn left(&self) -> usize {
        self.args.len() - self.at
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.args.get(self.at).is_some_and(|arg| arg == word);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Result<&'a OsString, Error> {
        let arg = self.args.get(self.at).ok_or("argument expected")?;
        self.at += 1;
        Ok(arg)
    }
}

fn unary(operator: &str, operand: &OsString) -> Result<bool, Error> {
    let metadata = || fs::metadata(operand);
    let is_kind = |kind: fn(&fs::FileType) -> bool| metadata().is_ok_and(|metadata| kind(&metadata.file_type()));
    let has_mode = |bits: u32| metadata().is_ok_and(|metadata| metadata.permissions().mode() & bits != 0);
    Ok(match operator {
        "-n" => !operand.is_empty(),
        "-z" => operand.is_empty(),
        "-e" => metadata().is_ok(),
        "-f" => is_kind(fs::FileType::is_file),
        "-d" => is_kind(fs::FileType::is_dir),
        "-h" | "-L" => fs::symlink_metadata(operand).is_ok_and(|metadata| metadata.is_symlink()),
        "-b" => is_kind(|kind| kind.is_block_device()),
        "-c" => is_kind(|kind| kind.is_char_device()),
        "-p" => is_kind(|kind| kind.is_fifo()),
        "-S" => is_kind(|kind| kind.is_socket()),
        "-s" => metadata().is_ok_and(|metadata| metadata.len() > 0),
        // The guest's user is root, who may read and write everything.
        "-r" | "-w" => metadata().is_ok(),
        "-x" => has_mode(0o111),
        "-u" => has_mode(0o4000),
        "-g" => has_mode(0o2000),
        "-k" => has_mode(0o1000),
        "-t" => match integer(operand)? {
            0 => std::io::stdin().is_terminal(),
            1 => std::io::stdout().is_terminal(),
            2 => std::io::stderr().is_terminal(),
            _ => false,
        },
        _ => return Err(format!("{operator}: unknown operator")),
    })
}

fn binary(left: &OsString, operator: &str, right: &OsString) -> Result<bool, Error> {
    let modified = |path: &OsString| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    Ok(match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        ">" => left > right,
        "-nt" => modified(left) > modified(right),
        "-ot" => modified(left) < modified(right),
        "-ef" => match (fs::metadata(left), fs::metadata(right)) {
            (Ok(left), Ok(right)) => (left.dev(), left.ino()) == (right.dev(), right.ino()),
            _ => false,
        },
        _ => {
            let (left, right) = (integer(left)?, integer(right)?);
            match operator {
                "-eq" => left == right,
                "-ne" => left != right,
                "-lt" => left < right,
                "-le" => left <= right,
                "-gt" => left > right,
                _ => left >= right,
            }
        }
    })
}

fn integer(text: &OsString) -> Result<i64, Error> {
    let parsed = std::str::from_utf8(text.as_bytes()).ok().and_then(|text| text.trim().parse().ok());
    parsed.ok_or_else(|| format!("{}: not a number", text.display()))
}
