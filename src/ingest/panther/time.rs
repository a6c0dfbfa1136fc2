//! Reads the time that Python's `datetime.isoformat()` writes.
//!
//! The form is fixed, so a reader of just that form is shorter than the use of a calendar crate, and unlike
//! one it refuses what Python never writes: `2026-11-23T22:43:47[.988657][+01:00[:00[.000000]]]`, and `Z`.

/// Says why a time is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// Not the form that `isoformat()` writes.
    #[error("not a time as datetime.isoformat() writes it, such as 2026-11-23T22:43:47.988657")]
    Form,
    /// A field is out of its range, such as February 30.
    #[error("no such date or time of day")]
    NoSuchTime,
    /// Before 1970 or after 2554, which 64 bits of nanoseconds cannot hold.
    #[error("before 1970 or after 2554, outside of what 64 bits of nanoseconds hold")]
    OutOfRange,
}

/// Returns the nanoseconds since the Unix epoch of a time as `datetime.isoformat()` writes it; a time without
/// an offset is taken as UTC.
///
/// # Errors
/// When the form, a field or the range is not right.
pub(super) fn time_ns(text: &str) -> Result<u64, TimeError> {
    let mut scan = Scan(text.as_bytes());
    let (year, month, day) = (scan.number(4)?, scan.after(b'-', 2)?, scan.after(b'-', 2)?);
    let (hour, minute, second) = (scan.after(b'T', 2)?, scan.after(b':', 2)?, scan.after(b':', 2)?);
    let microsecond = scan.microseconds()?;
    let offset_us = scan.offset_us()?;
    if !scan.0.is_empty() {
        return Err(TimeError::Form);
    }
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && year >= 1
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return Err(TimeError::NoSuchTime);
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let microseconds = seconds * 1_000_000 + microsecond - offset_us;
    u64::try_from(microseconds).ok().and_then(|us| us.checked_mul(1_000)).ok_or(TimeError::OutOfRange)
}

struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    /// Reads a number of exactly `len` digits.
    fn number(&mut self, len: usize) -> Result<i64, TimeError> {
        let (digits, rest) = self.0.split_at_checked(len).ok_or(TimeError::Form)?;
        self.0 = rest;
        digits.iter().try_fold(0, |number, digit| match digit {
            b'0'..=b'9' => Ok(number * 10 + i64::from(digit - b'0')),
            _ => Err(TimeError::Form),
        })
    }

    fn after(&mut self, separator: u8, len: usize) -> Result<i64, TimeError> {
        if self.take(separator) { self.number(len) } else { Err(TimeError::Form) }
    }

    fn take(&mut self, wanted: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == wanted => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn microseconds(&mut self) -> Result<i64, TimeError> {
        if self.take(b'.') { self.number(6) } else { Ok(0) }
    }

    fn offset_us(&mut self) -> Result<i64, TimeError> {
        if self.take(b'Z') {
            return Ok(0);
        }
        let sign = match (self.take(b'+'), self.take(b'-')) {
            (true, false) => 1,
            (false, true) => -1,
            (false, false) => return Ok(0),
            (true, true) => return Err(TimeError::Form),
        };
        let (hours, minutes) = (self.number(2)?, self.after(b':', 2)?);
        let has_seconds = self.take(b':');
        let seconds = if has_seconds { self.number(2)? } else { 0 };
        let microseconds = if has_seconds { self.microseconds()? } else { 0 };
        if hours >= 24 || minutes >= 60 || seconds >= 60 {
            return Err(TimeError::NoSuchTime);
        }
        Ok(sign * ((hours * 3_600 + minutes * 60 + seconds) * 1_000_000 + microseconds))
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar, year 1 or later.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // 719,162 days lie between 0001-01-01 and 1970-01-01.
    let years = year - 1;
    let days_in_years = years * 365 + years / 4 - years / 100 + years / 400;
    let days_in_months: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    days_in_years + days_in_months + day - 1 - 719_162
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_from_1970_to_2553_follows_the_one_before() {
        let mut days = 0_u64;
        for year in 1970..=2553 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    let text = format!("{year:04}-{month:02}-{day:02}T00:00:00");
                    assert_eq!(time_ns(&text), Ok(days * 86_400_000_000_000), "{text}");
                    days += 1;
                }
            }
        }
        // 584 years with 142 leap days among them: every fourth from 1972 to 2552, but 2100, 2200, 2300, 2500.
        assert_eq!(days, 584 * 365 + 142);
    }

    #[test]
    fn fractions_and_offsets_count() {
        // As Python's datetime.fromisoformat(...).timestamp() says.
        let python = [
            ("2026-11-23T22:43:47.988657", 1_795_473_827_988_657_000),
            ("2026-11-23T22:43:47.988657Z", 1_795_473_827_988_657_000),
            ("2026-11-23T22:43:47.000001+00:00", 1_795_473_827_000_001_000),
            ("2026-11-23T22:43:47+01:30", 1_795_468_427_000_000_000),
            ("2026-11-23T22:43:47-00:00:01.000001", 1_795_473_828_000_001_000),
            ("1969-12-31T23:30:00-01:00", 1_800_000_000_000),
            ("2024-02-29T23:59:59.999999", 1_709_251_199_999_999_000),
        ];
        for (text, expected) in python {
            assert_eq!(time_ns(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_isoformat_never_writes_is_refused() {
        let refused = [
            ("", TimeError::Form),
            ("2026-11-23", TimeError::Form),
            ("2026-11-23 22:43:47", TimeError::Form),
            ("2026-11-23T22:43", TimeError::Form),
            ("2026-11-23T22:43:47.988", TimeError::Form),
            ("2026-11-23T22:43:47.9886571", TimeError::Form),
            ("2026-11-23T22:43:47+-01:00", TimeError::Form),
            ("2026-11-23T22:43:47+0100", TimeError::Form),
            ("2026-11-23T22:43:47Zx", TimeError::Form),
            ("+026-11-23T22:43:47", TimeError::Form),
            ("2026-02-29T00:00:00", TimeError::NoSuchTime),
            ("2100-02-29T00:00:00", TimeError::NoSuchTime),
            ("2026-13-01T00:00:00", TimeError::NoSuchTime),
            ("2026-00-01T00:00:00", TimeError::NoSuchTime),
            ("2026-01-00T00:00:00", TimeError::NoSuchTime),
            ("2026-01-01T24:00:00", TimeError::NoSuchTime),
            ("2026-01-01T23:59:60", TimeError::NoSuchTime),
            ("2026-01-01T00:00:00+24:00", TimeError::NoSuchTime),
            ("1969-12-31T23:59:59.999999", TimeError::OutOfRange),
            ("2555-01-01T00:00:00", TimeError::OutOfRange),
            ("9999-12-31T23:59:59", TimeError::OutOfRange),
        ];
        for (text, expected) in refused {
            assert_eq!(time_ns(text), Err(expected), "{text}");
        }
    }
}
