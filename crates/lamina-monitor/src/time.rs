//! Points in time as the records write them: RFC 3339, UTC, nanoseconds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A point in time, written as `2026-01-31T09:30:00.123456789Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(jiff::Timestamp);

/// Why a text is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time like 2026-01-31T09:30:00Z")]
pub struct TimeError(String);

impl Time {
    /// Returns the present time by the wall clock.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now())
    }

    /// Returns the time of a timestamp.
    pub fn from_timestamp(timestamp: jiff::Timestamp) -> Self {
        Self(timestamp)
    }

    /// Returns it as a timestamp, to calculate with.
    pub fn timestamp(self) -> jiff::Timestamp {
        self.0
    }

    /// Returns the time of what [`Time::parts`] returns; `None` where there is no such time.
    pub(crate) fn of_parts(second: i64, nanos: u32) -> Option<Self> {
        let nanos = i32::try_from(nanos).ok()?;
        jiff::Timestamp::new(second, nanos).ok().map(Self)
    }

    /// Returns the whole seconds since 1970, and the nanoseconds above them (0 to 999,999,999).
    pub(crate) fn parts(self) -> (i64, u32) {
        let second = self.0.as_second();
        let nanos = self.0.subsec_nanosecond();
        match u32::try_from(nanos) {
            Ok(nanos) => (second, nanos),
            Err(_) => (second - 1, (nanos + 1_000_000_000).unsigned_abs()),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9}", self.0)
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let parsed = text.parse().map(Self);
        parsed.map_err(|_| TimeError(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for Time {
    type Error = TimeError;

    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}
