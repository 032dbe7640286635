//! A small builder of ACPI machine language, by hand (ACPI 1.0, "ACPI Machine Language (AML)
//! Specification").

const ZERO: u8 = 0x00;
const ONE: u8 = 0x01;
const NAME: u8 = 0x08;
const BYTE: u8 = 0x0a;
const SCOPE: u8 = 0x10;
const PACKAGE: u8 = 0x12;
const EXTENDED: u8 = 0x5b;
const PROCESSOR: u8 = 0x83;
const ROOT: u8 = b'\\';

/// Longest package whose length one byte tells, that byte included.
const ONE_BYTE_LENGTH: usize = 63;
/// Longest whose length two bytes tell.
const TWO_BYTE_LENGTH: usize = 0xfff;

/// `Name (name, value)`.
pub(super) fn name(name: [u8; 4], value: &[u8]) -> Vec<u8> {
    [&[NAME], &name[..], value].concat()
}

/// An integer of a byte.
pub(super) fn integer(value: u8) -> Vec<u8> {
    match value {
        0 => vec![ZERO],
        1 => vec![ONE],
        _ => vec![BYTE, value],
    }
}

/// `Package () { elements }`.
pub(super) fn package(elements: &[Vec<u8>]) -> Vec<u8> {
    let count = u8::try_from(elements.len()).expect("a package of a few elements");
    [vec![PACKAGE], with_length(&[&[count], &elements.concat()[..]].concat())].concat()
}

/// `Scope (\name) { terms }`.
pub(super) fn root_scope(name: [u8; 4], terms: &[u8]) -> Vec<u8> {
    [vec![SCOPE], with_length(&[&[ROOT], &name[..], terms].concat())].concat()
}

/// `Processor (name, id, 0, 0) {}`: no power states of its own.
pub(super) fn processor(name: [u8; 4], id: u8) -> Vec<u8> {
    let no_block = [0; 5];
    [vec![EXTENDED, PROCESSOR], with_length(&[&name[..], &[id], &no_block].concat())].concat()
}

/// `body` behind its PkgLength, which counts itself.
fn with_length(body: &[u8]) -> Vec<u8> {
    let length = body.len() + 1;
    if length <= ONE_BYTE_LENGTH {
        return [&[length as u8], body].concat();
    }
    let length = body.len() + 2;
    assert!(length <= TWO_BYTE_LENGTH, "a package of {length} bytes");
    // Bits 7:6 say how many bytes follow, bits 3:0 are the lowest of the length.
    [&[1 << 6 | (length & 0xf) as u8, (length >> 4) as u8], body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_package_of_integers_is_as_the_compiler_makes_it() {
        let elements = [0, 1, 5].map(integer);
        assert_eq!(name(*b"_S5_", &package(&elements)), b"\x08_S5_\x12\x06\x03\x00\x01\x0a\x05");
    }

    #[test]
    fn a_long_scope_has_its_length_in_two_bytes() {
        let short = root_scope(*b"_PR_", &[0xa3; 57]);
        assert_eq!((short[1], short.len()), (63, 64));
        let long = root_scope(*b"_PR_", &[0xa3; 58]);
        assert_eq!((&long[1..3], long.len()), (&[0x41, 0x04][..], 66));
        assert_eq!(usize::from(long[1] & 0xf) | usize::from(long[2]) << 4, long.len() - 1);
    }

    #[test]
    fn a_processor_has_its_number_and_no_block() {
        assert_eq!(processor(*b"C002", 2), b"\x5b\x83\x0bC002\x02\0\0\0\0\0");
    }
}
