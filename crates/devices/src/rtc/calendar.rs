//! Time and date, and how the registers spell them.

use super::{B_24_HOURS, B_BINARY, DAY_S, REGISTER_B};

const SECONDS: usize = 0x00;
const MINUTES: usize = 0x02;
const HOURS: usize = 0x04;
const WEEKDAY: usize = 0x06;
const DAY: usize = 0x07;
const MONTH: usize = 0x08;
const YEAR: usize = 0x09;
/// Where PC firmware keeps the century, always in BCD.
const CENTURY: usize = 0x32;

const AFTERNOON: u8 = 1 << 7;
/// 1970-01-01 was a Thursday; the clock calls Sunday 1.
const EPOCH_WEEKDAY: i64 = 4;
/// Days from 0000-03-01 to 1970-01-01 in the Gregorian calendar.
const EPOCH_DAYS: i64 = 719_468;
/// Days and years of a whole Gregorian cycle.
const ERA_DAYS: i64 = 146_097;
const ERA_YEARS: i64 = 400;

/// A date and time of day, as seconds and as what the weekday register said of it.
#[derive(Clone, Copy)]
pub(super) struct Calendar {
    unix_s: i64,
    /// How far the guest's weekday is from the true one: the chip only counts it round.
    weekday_shift: i64,
}

impl Calendar {
    pub fn from_unix_s(unix_s: u64) -> Self {
        Calendar { unix_s: i64::try_from(unix_s).unwrap_or(i64::MAX / 2), weekday_shift: 0 }
    }

    /// What the registers say. UNDEFINED: digits and dates that do not exist are carried over,
    /// so that the 32nd of a month is the first of the next.
    pub fn load(ram: &[u8]) -> Self {
        let get = |index: usize| i64::from(decode(ram[index], ram[REGISTER_B]));
        let hours = match (ram[REGISTER_B] & B_24_HOURS, ram[HOURS] & AFTERNOON) {
            (0, half) => {
                let hour = i64::from(decode(ram[HOURS] & !AFTERNOON, ram[REGISTER_B])) % 12;
                hour + if half != 0 { 12 } else { 0 }
            }
            _ => get(HOURS),
        };
        let year = i64::from(from_bcd(ram[CENTURY])) * 100 + get(YEAR);
        let days = days_of_date(year, get(MONTH), get(DAY));
        let unix_s = days * DAY_S as i64 + hours * 3600 + get(MINUTES) * 60 + get(SECONDS);
        Calendar { unix_s, weekday_shift: get(WEEKDAY) - weekday(days) }
    }

    pub fn after(self, seconds: u64) -> Self {
        Calendar { unix_s: self.unix_s.saturating_add_unsigned(seconds), ..self }
    }

    pub fn store(self, ram: &mut [u8]) {
        let format = ram[REGISTER_B];
        let days = self.unix_s.div_euclid(DAY_S as i64);
        let second = self.unix_s.rem_euclid(DAY_S as i64);
        let (year, month, day) = date_of_days(days);
        let mut put = |index: usize, value: i64| ram[index] = encode(value, format);
        put(SECONDS, second % 60);
        put(MINUTES, second / 60 % 60);
        put(WEEKDAY, (weekday(days) + self.weekday_shift - 1).rem_euclid(7) + 1);
        put(DAY, day);
        put(MONTH, month);
        put(YEAR, year.rem_euclid(100));
        let hour = second / 3600;
        ram[HOURS] = if format & B_24_HOURS != 0 {
            encode(hour, format)
        } else {
            encode((hour + 11) % 12 + 1, format) | if hour >= 12 { AFTERNOON } else { 0 }
        };
        ram[CENTURY] = to_bcd(year.div_euclid(100).rem_euclid(100));
    }
}

fn encode(value: i64, format: u8) -> u8 {
    if format & B_BINARY != 0 { value as u8 } else { to_bcd(value) }
}

fn decode(value: u8, format: u8) -> u8 {
    if format & B_BINARY != 0 { value } else { from_bcd(value) }
}

fn to_bcd(value: i64) -> u8 {
    (value / 10 * 16 + value % 10) as u8
}

fn from_bcd(value: u8) -> u8 {
    (value >> 4) * 10 + (value & 0xf)
}

fn weekday(days: i64) -> i64 {
    (days + EPOCH_WEEKDAY).rem_euclid(7) + 1
}

/// Days since 1970-01-01. Years are taken to begin in March, so that the leap day comes last.
fn days_of_date(year: i64, month: i64, day: i64) -> i64 {
    let months = year * 12 + month - 1 - 2;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12));
    let (era, year) = (year.div_euclid(ERA_YEARS), year.rem_euclid(ERA_YEARS));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * ERA_DAYS + year * 365 + year / 4 - year / 100 + day_of_year - EPOCH_DAYS
}

/// The year, month and day of a number of days since 1970-01-01.
fn date_of_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let first_of_month = (153 * month + 2) / 5;
    let in_next_year = month >= 10;
    let month_of_year = if in_next_year { month - 9 } else { month + 3 };
    (era * ERA_YEARS + year + i64::from(in_next_year), month_of_year, day_of_year - first_of_month + 1)
}
