//! Times as people read and type them.

use std::time::Duration;

use jiff::Timestamp;
use lamina_types::quantity::parse_duration;

/// Shows how long ago a moment was: `3 hours ago`.
pub(crate) fn ago(moment: Timestamp, now: Timestamp) -> String {
    let span = Duration::try_from(now.duration_since(moment)).unwrap_or_default();
    format!("{} ago", lamina_engine::human(span))
}

/// The string is no time.
#[derive(Debug, thiserror::Error)]
#[error("invalid time {0:?}: expected 2013-01-02T13:23:37Z, seconds since 1970, or 42m")]
pub(crate) struct TimeError(String);

/// Reads a moment: RFC 3339 (or a part of it, in UTC), seconds since 1970, or a duration before
/// `now`.
pub(crate) fn parse_moment(text: &str, now: Timestamp) -> Result<Timestamp, TimeError> {
    let fail = || TimeError(text.chars().take(80).collect());
    // `0` is the beginning of time, as in Docker, and no duration.
    if text != "0"
        && let Ok(duration) = parse_duration(text)
    {
        return now.checked_sub(duration).map_err(|_| fail());
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.len() <= 18 && part.bytes().all(|b| b.is_ascii_digit());
    if !seconds.is_empty() && digits(seconds) && digits(fraction) {
        let nanos = format!("{fraction:0<9}");
        let nanos = nanos
            .get(..9)
            .and_then(|n| n.parse().ok())
            .ok_or_else(fail)?;
        let seconds = seconds.parse().map_err(|_| fail())?;
        return Timestamp::new(seconds, nanos).map_err(|_| fail());
    }
    // Docker completes a date or a time without a zone.
    let completed = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    completed.parse().map_err(|_| fail())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_every_form() {
        let now: Timestamp = "2020-01-01T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("10m", "2020-01-01T11:50:00Z"),
            ("2019-12-31T00:00:00Z", "2019-12-31T00:00:00Z"),
            ("2019-12-31T00:00:00+01:00", "2019-12-30T23:00:00Z"),
            ("2019-12-31", "2019-12-31T00:00:00Z"),
            ("2019-12-31T10:11", "2019-12-31T10:11:00Z"),
            ("2019-12-31T10:11:12", "2019-12-31T10:11:12Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("0s", "2020-01-01T12:00:00Z"),
            ("1577836800", "2020-01-01T00:00:00Z"),
            ("1577836800.5", "2020-01-01T00:00:00.5Z"),
        ] {
            assert_eq!(
                parse_moment(text, now).unwrap().to_string(),
                expected,
                "{text}"
            );
        }
        for bad in [
            "",
            "yesterday",
            "-1",
            "99999999999999999",
            "2019-13-01",
            "1.x",
        ] {
            assert!(parse_moment(bad, now).is_err(), "{bad:?}");
        }
    }
}
