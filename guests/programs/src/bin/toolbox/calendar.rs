//! Dates in UTC, from seconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const SECONDS_OF_A_DAY: i64 = 86_400;

/// A moment, split into the fields of a calendar.
pub struct DateTime {
    seconds: i64,
    year: i64,
    /// 1 to 12.
    month: usize,
    /// 1 to 31.
    day: i64,
}

impl DateTime {
    /// A moment given in seconds since the start of 1970.
    pub fn from_unix(seconds: i64) -> Self {
        let mut days = seconds.div_euclid(SECONDS_OF_A_DAY);
        // 400 years are always 146,097 days.
        let mut year = 1970 + days.div_euclid(146_097) * 400;
        days = days.rem_euclid(146_097);
        let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        while days >= 365 + i64::from(is_leap(year)) {
            days -= 365 + i64::from(is_leap(year));
            year += 1;
        }
        let february = 28 + i64::from(is_leap(year));
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 0;
        while days >= lengths[month] {
            days -= lengths[month];
            month += 1;
        }
        DateTime { seconds, year, month: month + 1, day: days + 1 }
    }

    /// A moment of the system's clock.
    pub fn from_system(time: SystemTime) -> Self {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs() as i64,
            Err(before) => -(before.duration().as_secs() as i64),
        };
        Self::from_unix(seconds)
    }

    /// The moment as a format in the manner of `strftime` says. A conversion that is not
    /// known stays as it is.
    pub fn format(&self, format: &str) -> String {
        let second_of_day = self.seconds.rem_euclid(SECONDS_OF_A_DAY);
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        let weekday = WEEKDAYS[self.seconds.div_euclid(SECONDS_OF_A_DAY).rem_euclid(7) as usize];
        let month = MONTHS[self.month - 1];
        let mut out = String::new();
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                out.push(letter);
                continue;
            }
            match letters.next() {
                Some('Y') => out += &self.year.to_string(),
                Some('y') => out += &format!("{:02}", self.year.rem_euclid(100)),
                Some('m') => out += &format!("{:02}", self.month),
                Some('d') => out += &format!("{:02}", self.day),
                Some('e') => out += &format!("{:2}", self.day),
                Some('H') => out += &format!("{hour:02}"),
                Some('M') => out += &format!("{minute:02}"),
                Some('S') => out += &format!("{second:02}"),
                Some('F') => out += &self.format("%Y-%m-%d"),
                Some('T') => out += &self.format("%H:%M:%S"),
                Some('a') => out += &weekday[..3],
                Some('A') => out += weekday,
                Some('b') => out += &month[..3],
                Some('B') => out += month,
                Some('s') => out += &self.seconds.to_string(),
                Some('Z') => out += "UTC",
                Some('z') => out += "+0000",
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('%') => out.push('%'),
                Some(other) => out.extend(['%', other]),
                None => out.push('%'),
            }
        }
        out
    }
}
