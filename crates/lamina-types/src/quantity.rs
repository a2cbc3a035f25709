//! Amounts as people type and read them: bytes, CPUs, durations, lists of CPUs.
//!
//! Everything is exact: a decimal fraction is scaled as an integer, never through a float that
//! rounds, and everything that does not fit is an error and not a wrapped number.

use std::time::Duration;

/// Why a string is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The string does not follow the grammar.
    #[error("invalid {what} {text:?}: expected {example}")]
    Form {
        /// What was wanted.
        what: &'static str,
        /// What was typed.
        text: String,
        /// A valid one.
        example: &'static str,
    },
    /// The value does not fit.
    #[error("{what} {text:?} is out of range")]
    Range {
        /// What was wanted.
        what: &'static str,
        /// What was typed.
        text: String,
    },
}

/// Kernel bound on CPU and node numbers that any cpuset may name: `NR_CPUS` is 8192 at most.
/// Expanding a longer range is how a list of 20 bytes occupied a daemon for minutes
/// (CVE-2018-20699).
const CPU_MAX: u32 = 8191;

/// Reads a size in bytes as Docker's `RAMInBytes`: `1024`, `64k`, `256m`, `1.5g`, `1GiB`, `10b`.
///
/// Suffixes are powers of 1024 whether or not there is an `i`.
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    let form = || QuantityError::Form {
        what: "size",
        text: clip(text),
        example: "a number with an optional suffix b, k, m, g or t, such as 256m",
    };
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let suffix = suffix.strip_prefix(' ').unwrap_or(suffix);
    let unit = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 1_u64,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        "p" | "pb" | "pib" => 1 << 50,
        _ => return Err(form()),
    };
    let scaled = scale_decimal(number, unit).ok_or_else(form)?;
    u64::try_from(scaled.0).map_err(|_| QuantityError::Range {
        what: "size",
        text: clip(text),
    })
}

/// Reads a number of CPUs (`1.5`) as billionths of a CPU.
pub fn parse_nano_cpus(text: &str) -> Result<u64, QuantityError> {
    let form = || QuantityError::Form {
        what: "number of cpus",
        text: clip(text),
        example: "a decimal number with at most nine decimals, such as 1.5",
    };
    let (nano, exact) = scale_decimal(text, 1_000_000_000).ok_or_else(form)?;
    if !exact {
        return Err(form());
    }
    u64::try_from(nano)
        .ok()
        .filter(|nano| *nano <= u64::from(CPU_MAX + 1) * 1_000_000_000)
        .ok_or_else(|| QuantityError::Range {
            what: "number of cpus",
            text: clip(text),
        })
}

/// Reads a duration as Go prints it: `90s`, `1h30m`, `1.5h`, `300ms`; `0` needs no unit.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let form = || QuantityError::Form {
        what: "duration",
        text: clip(text),
        example: "numbers with units, such as 10s, 1m30s or 1h",
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() || text.len() > 64 {
        return Err(form());
    }
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let unit_at = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(form)?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let nanos = match unit {
            "ns" => 1_u64,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3_600 * 1_000_000_000,
            _ => return Err(form()),
        };
        let (part, _) = scale_decimal(number, nanos).ok_or_else(form)?;
        total = total.saturating_add(part);
        rest = next;
    }
    // Go's durations are 63 bits of nanoseconds, 292 years.
    match u64::try_from(total) {
        Ok(nanos) if nanos <= u64::MAX >> 1 => Ok(Duration::from_nanos(nanos)),
        _ => Err(QuantityError::Range {
            what: "duration",
            text: clip(text),
        }),
    }
}

/// Checks a list of CPUs or memory nodes, `0-2,7`, by syntax and bound, without expanding it.
pub fn check_cpu_list(text: &str) -> Result<(), QuantityError> {
    let form = || QuantityError::Form {
        what: "cpu list",
        text: clip(text),
        example: "numbers and ranges, such as 0-2,7",
    };
    if text.is_empty() || text.len() > 4096 {
        return Err(form());
    }
    for item in text.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let [first, last] = [first, last].map(|digits| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse::<u32>().unwrap_or(u32::MAX))
        });
        let (first, last) = first.zip(last).ok_or_else(form)?;
        if last > CPU_MAX {
            return Err(QuantityError::Range {
                what: "cpu list",
                text: clip(text),
            });
        }
        if first > last {
            return Err(form());
        }
    }
    Ok(())
}

/// Shows a size as Docker's lists do, decimal units and three digits: `7.79MB`, `0B`.
pub fn human_size(bytes: u64) -> String {
    human(bytes, 1000, 3, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Shows a size in binary units and four digits, as `info` and `stats` do: `23.43GiB`.
pub fn binary_size(bytes: u64) -> String {
    human(
        bytes,
        1024,
        4,
        &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"],
    )
}

/// Formats with `digits` significant digits and no trailing zeros.
fn human(bytes: u64, base: u64, digits: usize, units: &[&str]) -> String {
    let mut unit = 0;
    let mut divisor: u64 = 1;
    while unit + 1 < units.len() && bytes / divisor >= base {
        divisor *= base;
        unit += 1;
    }
    let whole = bytes / divisor;
    let decimals = digits.saturating_sub(whole.to_string().len());
    let mut scale: u128 = 1;
    for _ in 0..decimals {
        scale *= 10;
    }
    let divisor = u128::from(divisor);
    let rounded = (u128::from(bytes) * scale + divisor / 2) / divisor;
    if rounded >= u128::from(base) * scale && unit + 1 < units.len() {
        // 999.96 kB rounds up into the next unit.
        return format!("1{}", units[unit + 1]);
    }
    let (whole, fraction) = (rounded / scale, rounded % scale);
    let fraction = format!("{fraction:0decimals$}");
    let fraction = fraction.trim_end_matches('0');
    if decimals == 0 || fraction.is_empty() {
        format!("{whole}{}", units[unit])
    } else {
        format!("{whole}.{fraction}{}", units[unit])
    }
}

/// Returns `number * unit` rounded down, and whether that was exact; `number` is digits with at
/// most one point among them. `None` if it is not.
fn scale_decimal(number: &str, unit: u64) -> Option<(u128, bool)> {
    /// More decimals than this cannot change a value of 64 bits.
    const DECIMALS: usize = 18;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.len() <= 30 && part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let (kept, dropped) = fraction.split_at(fraction.len().min(DECIMALS));
    let (mut numerator, mut denominator) = (0_u128, 1_u128);
    for digit in kept.bytes() {
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    let unit = u128::from(unit);
    let whole = match whole {
        "" => 0,
        digits => digits.parse::<u128>().ok()?.saturating_mul(unit),
    };
    let product = numerator * unit;
    let exact = product % denominator == 0 && dropped.bytes().all(|b| b == b'0');
    Some((whole.saturating_add(product / denominator), exact))
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
