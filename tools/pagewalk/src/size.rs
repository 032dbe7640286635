//! Sizes on the command line.

const MIB: u64 = 1 << 20;

/// Bytes of RAM: `256M`, `1G`, `65536K`; 16 MiB to 3584 MiB, in whole MiB.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    if !(16 * MIB..=3584 * MIB).contains(&bytes) {
        return Err(format!("a machine has 16M to 3584M of memory, not {text}"));
    }
    if bytes % MIB != 0 {
        return Err(format!("memory comes in whole MiB, not {text}"));
    }
    Ok(bytes)
}

/// A number of bytes with an optional suffix K, M, G or T (powers of 1024).
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a size: write a number with K, M or G, such as 256M");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "B" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "m" | "MiB" => 20,
        "G" | "g" | "GiB" => 30,
        "T" | "t" | "TiB" => 40,
        _ => return Err(bad()),
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is more than can be counted"))
}

/// The number of a port, 0 to 65535: `0x80` or `128`.
pub fn parse_port(text: &str) -> Result<u16, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| format!("`{text}` is not a port: write a number from 0 to 65535, such as 0x80"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_between_16_mib_and_3584_mib() {
        assert_eq!(parse_memory("256M"), Ok(256 << 20));
        assert_eq!(parse_memory("2G"), Ok(2 << 30));
        assert_eq!(parse_memory("65536K"), Ok(64 << 20));
        for bad in ["3", "1T", "15M", "3585M", "x", "", "16.5M", "-1M", "99999999999999999999G", "17000K"] {
            assert!(parse_memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_is_a_number_of_16_bits() {
        assert_eq!((parse_port("0x190"), parse_port("128"), parse_port("0XFFFF")), (Ok(0x190), Ok(128), Ok(0xffff)));
        for bad in ["", "0x", "65536", "0x10000", "-1", "80h", "post"] {
            assert!(parse_port(bad).is_err(), "{bad}");
        }
    }
}
