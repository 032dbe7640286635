//! The CMOS clock.

use crate::arch::io::{inb, outb};

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const CENTURY: u8 = 0x32;

fn read(register: u8) -> u8 {
    outb(register, INDEX);
    inb(DATA)
}

/// Seconds since 1970 by the CMOS clock, taken as UTC.
pub fn read_time() -> u64 {
    for _ in 0..100_000 {
        if read(STATUS_A) & 0x80 == 0 {
            break;
        }
    }
    let mut raw = [0u8, 2, 4, 7, 8, 9, CENTURY].map(read);
    let status = read(STATUS_B);
    let afternoon = raw[2] & 0x80 != 0;
    raw[2] &= 0x7f;
    let binary = status & 4 != 0;
    let [second, minute, mut hour, day, month, year, century] =
        raw.map(|v| u32::from(if binary { v } else { (v >> 4) * 10 + (v & 15) }));
    if status & 2 == 0 {
        hour = hour % 12 + if afternoon { 12 } else { 0 };
    }
    let century = if (19..=29).contains(&century) { century } else { 20 };
    u64::from(days_since_epoch(century * 100 + year, month.clamp(1, 12), day)) * 86400
        + u64::from(hour * 3600 + minute * 60 + second)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_epoch(year: u32, month: u32, day: u32) -> u32 {
    // Years that begin in March put the leap day last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;
    days - 719_468
}
