/// Sets the byte at `at` so that all bytes add up to 0, as tables of firmware do.
pub(super) fn seal(table: &mut [u8], at: usize) {
    table[at] = 0;
    let sum = table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    table[at] = sum.wrapping_neg();
}
