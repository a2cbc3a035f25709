//! What an answer that is no success means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use ureq::http::HeaderMap;

use crate::error::{FetchError, one_line};
use crate::http::{Http, Reply};

/// The longest error document that is read.
const ERROR_MAX: u64 = 16 << 10;

/// The errors of the distribution specification.
#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The first error of an answer: its code and one line for people.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// Reads the body of a failure; what cannot be read is no report.
pub(crate) fn report(http: &Http, reply: Reply) -> Report {
    let Ok(bytes) = http.read_document(reply, "error", ERROR_MAX) else {
        return Report::default();
    };
    let Ok(Errors { errors }) = serde_json::from_slice(&bytes) else {
        return Report::default();
    };
    errors
        .into_iter()
        .next()
        .map_or_else(Report::default, |entry| Report {
            code: one_line(&entry.code),
            message: one_line(&entry.message),
        })
}

/// Reads only the line for people.
pub(crate) fn message(http: &Http, reply: Reply) -> String {
    report(http, reply).message
}

/// Returns the error of a status that means the same whatever was asked for.
pub(crate) fn other(http: &Http, reply: Reply) -> FetchError {
    let (status, host) = (reply.status, reply.host.clone());
    let retry_after = retry_after(&reply.headers, SystemTime::now());
    let detail = message(http, reply);
    match status {
        429 => FetchError::TooManyRequests {
            host,
            detail,
            retry_after,
        },
        408 | 425 | 500 | 502 | 503 | 504 | 520..=599 => FetchError::Server {
            host,
            status,
            detail,
            retry_after,
        },
        _ => FetchError::Status {
            host,
            status,
            detail,
        },
    }
}

/// Reads `Retry-After`: seconds or a date (RFC 9110, section 10.2.3); nonsense is nothing.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = UNIX_EPOCH + Duration::from_secs(http_date(text)?);
    Some(at.duration_since(now).unwrap_or_default())
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT` as seconds since 1970.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let day: u64 = words
        .next()?
        .parse()
        .ok()
        .filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = words
        .next()?
        .parse()
        .ok()
        .filter(|year| (1970..=9999).contains(year))?;
    let mut time = words
        .next()?
        .split(':')
        .map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if words.next() != Some("GMT") || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970 in the proleptic calendar, counting years from March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderValue;

    use super::*;

    #[test]
    fn reads_seconds_and_dates_and_ignores_nonsense() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777 - 30);
        let after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", HeaderValue::from_str(text).unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(after("0"), Some(Duration::ZERO));
        assert_eq!(after(" 5 "), Some(Duration::from_secs(5)));
        assert_eq!(
            after("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(after("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in [
            "soon",
            "-1",
            "1e3",
            "Sun, 06 Nov",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "",
        ] {
            assert_eq!(after(nonsense), None, "{nonsense:?}");
        }
    }
}
