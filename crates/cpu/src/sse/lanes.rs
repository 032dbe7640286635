//! A register as lanes, and what is done lane by lane.

/// Sixteen bytes.
pub(super) fn bytes(v: u128) -> [u8; 16] {
    v.to_le_bytes()
}

/// Eight words.
pub(super) fn words(v: u128) -> [u16; 8] {
    std::array::from_fn(|i| (v >> (16 * i)) as u16)
}

/// Four doublewords.
pub(super) fn dwords(v: u128) -> [u32; 4] {
    std::array::from_fn(|i| (v >> (32 * i)) as u32)
}

/// Two quadwords.
pub(super) fn qwords(v: u128) -> [u64; 2] {
    [v as u64, (v >> 64) as u64]
}

/// The register of these bytes.
pub(super) fn from_bytes(lanes: [u8; 16]) -> u128 {
    u128::from_le_bytes(lanes)
}

/// The register of these words.
pub(super) fn from_words(lanes: [u16; 8]) -> u128 {
    lanes.iter().rev().fold(0, |v, &lane| v << 16 | u128::from(lane))
}

/// The register of these doublewords.
pub(super) fn from_dwords(lanes: [u32; 4]) -> u128 {
    lanes.iter().rev().fold(0, |v, &lane| v << 32 | u128::from(lane))
}

/// The register of these quadwords.
pub(super) fn from_qwords(lanes: [u64; 2]) -> u128 {
    u128::from(lanes[1]) << 64 | u128::from(lanes[0])
}

/// `f` over the bytes of both.
pub(super) fn zip8(d: u128, s: u128, f: impl Fn(u8, u8) -> u8) -> u128 {
    let (d, s) = (bytes(d), bytes(s));
    from_bytes(std::array::from_fn(|i| f(d[i], s[i])))
}

/// `f` over the words of both.
pub(super) fn zip16(d: u128, s: u128, f: impl Fn(u16, u16) -> u16) -> u128 {
    let (d, s) = (words(d), words(s));
    from_words(std::array::from_fn(|i| f(d[i], s[i])))
}

/// `f` over the doublewords of both.
pub(super) fn zip32(d: u128, s: u128, f: impl Fn(u32, u32) -> u32) -> u128 {
    let (d, s) = (dwords(d), dwords(s));
    from_dwords(std::array::from_fn(|i| f(d[i], s[i])))
}

/// `f` over the quadwords of both.
pub(super) fn zip64(d: u128, s: u128, f: impl Fn(u64, u64) -> u64) -> u128 {
    let (d, s) = (qwords(d), qwords(s));
    from_qwords([f(d[0], s[0]), f(d[1], s[1])])
}

/// All ones or all zeros.
pub(super) fn mask8(set: bool) -> u8 {
    if set { !0 } else { 0 }
}

/// All ones or all zeros.
pub(super) fn mask16(set: bool) -> u16 {
    if set { !0 } else { 0 }
}

/// All ones or all zeros.
pub(super) fn mask32(set: bool) -> u32 {
    if set { !0 } else { 0 }
}

/// All ones or all zeros.
pub(super) fn mask64(set: bool) -> u64 {
    if set { !0 } else { 0 }
}

/// A word saturated to a signed byte.
pub(super) fn saturate_i8(v: i32) -> u8 {
    v.clamp(-0x80, 0x7f) as u8
}

/// A word saturated to an unsigned byte.
pub(super) fn saturate_u8(v: i32) -> u8 {
    v.clamp(0, 0xff) as u8
}

/// A doubleword saturated to a signed word.
pub(super) fn saturate_i16(v: i32) -> u16 {
    v.clamp(-0x8000, 0x7fff) as u16
}

/// A doubleword saturated to an unsigned word.
pub(super) fn saturate_u16(v: i32) -> u16 {
    v.clamp(0, 0xffff) as u16
}
