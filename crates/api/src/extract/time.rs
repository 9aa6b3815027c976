//! Texts of a query that are times.

use bifrost_domain::error::{Error, Result};
use chrono::{DateTime, Datelike, NaiveDate, Utc};

/// A time, or the beginning of a day (with `end`: the beginning of the next one), in a year that both databases know.
pub(crate) fn time(name: &str, text: Option<&str>, end: bool) -> Result<Option<DateTime<Utc>>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    let day = || {
        let day = text.parse::<NaiveDate>().ok()?;
        let day = if end { day.succ_opt()? } else { day };
        Some(day.and_hms_opt(0, 0, 0)?.and_utc())
    };
    let found = time.or_else(day).filter(|time| (1..=9999).contains(&time.year()));
    found.map(Some).ok_or_else(|| {
        Error::invalid(
            name,
            "format",
            "must be a date like 2026-01-31 or an RFC 3339 time, in the years 1 to 9999",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn an_end_date_includes_its_day() {
        let end = time("endDate", Some("2026-01-31"), true).expect("a date").expect("given");
        assert_eq!(end.to_rfc3339(), "2026-02-01T00:00:00+00:00");
        let start =
            time("startDate", Some("2026-01-31T08:00:00+01:00"), false).expect("a time").expect("given");
        assert_eq!(start.to_rfc3339(), "2026-01-31T07:00:00+00:00");
        assert_eq!(time("startDate", Some(""), false).expect("nothing"), None);
        for bad in ["yesterday", "+262142-01-01", "-4800-01-01", "0000-01-01", "0000-01-01T00:00:00Z"] {
            assert!(time("startDate", Some(bad), false).is_err(), "{bad}");
        }
        assert!(time("endDate", Some("9999-12-31"), true).is_err(), "its end is in the year 10000");
    }
}
