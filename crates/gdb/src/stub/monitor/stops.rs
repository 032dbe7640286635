//! Breakpoints with conditions that the emulator evaluates.

use inspect::{Error, parse_address};

use super::{Group, Outcome, usage};
use crate::stub::Stub;
use crate::stub::breakpoints::Condition;

pub const GROUP: Group = Group {
    rows: &[
        (
            "break ADDR [pid=N] [cr3=HEX] [ring=N] [cpu=N]",
            "a breakpoint with conditions that cost nothing while they fail",
        ),
        ("unbreak ADDR", "takes it away"),
    ],
    run,
};

fn run(stub: &mut Stub<'_>, words: &[&str]) -> Option<Outcome> {
    match words {
        ["break", addr, conditions @ ..] => Some(set(stub, addr, conditions)),
        ["unbreak", addr] => Some(unset(stub, addr)),
        _ => None,
    }
}

fn set(stub: &mut Stub<'_>, addr: &str, conditions: &[&str]) -> Outcome {
    let condition = parse_condition(conditions)?;
    let addr = parse_address(&stub.target(), 0, addr)?.linear.0;
    stub.change_breakpoint(addr, |wishes| wishes.monitor = Some(condition));
    Ok(format!("breakpoint at {addr:#010x}\n").into_bytes())
}

fn unset(stub: &mut Stub<'_>, addr: &str) -> Outcome {
    let addr = parse_address(&stub.target(), 0, addr)?.linear.0;
    stub.change_breakpoint(addr, |wishes| wishes.monitor = None);
    Ok(Vec::new())
}

fn parse_condition(words: &[&str]) -> Result<Condition, Error> {
    let mut condition = Condition::default();
    for word in words {
        let bad = || usage(&format!("break: `{word}` is none of pid=N, cr3=HEX, ring=N, cpu=N"));
        let (name, value) = word.split_once('=').ok_or_else(bad)?;
        match name {
            "pid" => condition.pid = Some(value.parse().map_err(|_| bad())?),
            "cr3" => {
                let digits = value.strip_prefix("0x").unwrap_or(value);
                condition.cr3 = Some(u32::from_str_radix(digits, 16).map_err(|_| bad())?);
            }
            "ring" => condition.ring = Some(value.parse().map_err(|_| bad())?),
            "cpu" => condition.cpu = Some(value.parse().map_err(|_| bad())?),
            _ => return Err(bad()),
        }
    }
    Ok(condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_refused() {
        let want = Condition { pid: Some(3), cr3: Some(0x1f3d000), ring: Some(0), cpu: None };
        assert_eq!(parse_condition(&["pid=3", "cr3=0x01f3d000", "ring=0"]), Ok(want));
        for bad in ["pid", "pid=x", "color=3"] {
            assert!(parse_condition(&[bad]).is_err(), "{bad}");
        }
    }
}
