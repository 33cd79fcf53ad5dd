//! Times as people write them: milliseconds, dates, dates with a time of day; and back. All are
//! UTC. Knows nothing of what happens at them.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::CliError;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Reads `now`, milliseconds since the epoch, `2013-07-01`, `2013-07-01T12:30` or
/// `2013-07-01T12:30:15`, with or without a `Z`.
pub(crate) fn parse(text: &str) -> Result<i64, CliError> {
    if text == "now" {
        return Ok(now_ms());
    }
    text.parse().ok().or_else(|| parse_date_time(text)).ok_or_else(|| {
        CliError::Usage(format!(
            "time \"{text}\": expected milliseconds since 1970-01-01 UTC, a date such as \
             2013-07-01 or 2013-07-01T12:30:00Z, or now"
        ))
    })
}

/// The time in milliseconds since the epoch by this machine's clock.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `2013-07-01 12:30`, with seconds and milliseconds where they are not zero.
pub(crate) fn show(millis: i64) -> String {
    let (day, rest) = (millis.div_euclid(DAY_MS), millis.rem_euclid(DAY_MS));
    let (year, month, day) = civil_of_day(day);
    let (hour, minute) = (rest / HOUR_MS, rest % HOUR_MS / MINUTE_MS);
    let (second, milli) = (rest % MINUTE_MS / SECOND_MS, rest % SECOND_MS);
    let clock = match (second, milli) {
        (0, 0) => format!("{hour:02}:{minute:02}"),
        (_, 0) => format!("{hour:02}:{minute:02}:{second:02}"),
        _ => format!("{hour:02}:{minute:02}:{second:02}.{milli:03}"),
    };
    format!("{year:04}-{month:02}-{day:02} {clock}")
}

fn parse_date_time(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers(date, '-')?[..] else { return None };
    let parts = numbers(clock, ':')?;
    let (hour, minute, second) = match parts[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let is_clock = hour < 24 && minute < 60 && second < 60;
    let days = day_of_civil(year, month, day);
    if !is_clock || civil_of_day(days) != (year, month, day) {
        return None;
    }
    Some(days * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS)
}

/// Runs of one to four digits between separators.
fn numbers(text: &str, separator: char) -> Option<Vec<i64>> {
    let number = |part: &str| {
        let is_short = (1..=4).contains(&part.len());
        let is_number = is_short && part.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { part.parse().ok() } else { None }
    };
    text.split(separator).map(number).collect()
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. Years are counted from March, so
/// that the leap day is the last (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn day_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`day_of_civil`], from the same source.
fn civil_of_day(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, day_of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        assert_eq!(parse("1357035300000").unwrap(), 1_357_035_300_000);
        assert_eq!(parse("-5").unwrap(), -5);
        assert_eq!(parse("1970-01-02").unwrap(), DAY_MS);
        assert_eq!(parse("2013-01-01T10:15").unwrap(), 1_357_035_300_000);
        assert_eq!(parse("2013-01-01 10:15:00Z").unwrap(), 1_357_035_300_000);
        assert_eq!(parse("2000-02-29").unwrap(), 951_782_400_000);
        assert!(parse("now").unwrap() > 1_700_000_000_000);
    }

    #[test]
    fn what_is_no_time_is_refused_by_name() {
        for text in ["", "yesterday", "2013-02-29", "2013-13-01", "2013-01-01T24:00", "2013-01"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("\"{text}\"")), "{error}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_is_shown_and_read_back() {
        for day in -146_097..146_097 {
            let millis = day * DAY_MS + 12 * HOUR_MS;
            let shown = show(millis);
            assert_eq!(parse(&shown).unwrap(), millis, "{shown}");
        }
        assert_eq!(show(1_357_035_300_250), "2013-01-01 10:15:00.250");
        assert_eq!(show(-1), "1969-12-31 23:59:59.999");
    }
}
