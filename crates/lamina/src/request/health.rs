//! Health checks as they are typed, with Docker's words where they make no sense.

use lamina_engine::HealthRequest;
use lamina_types::quantity::parse_duration;
use lamina_types::{Healthcheck, OnFailure};

use super::{bad, parsed};
use crate::args::HealthArgs;
use crate::failure::{Failure, Outcome};

/// The least time, in nanoseconds: Docker's millisecond.
const LEAST: i64 = 1_000_000;

/// Reads the flags; `remove` says that the container goes with its end.
pub(super) fn request(args: &HealthArgs, remove: bool) -> Outcome<HealthRequest> {
    let on_failure = parsed("--health-on-failure", args.health_on_failure.as_deref())?;
    let on_failure = on_failure.unwrap_or_default();
    if remove && on_failure == OnFailure::Restart {
        return Err(Failure::usage(
            "conflicting options: cannot specify both --health-on-failure=restart and --rm",
        ));
    }
    let said = check(args)?;
    let says_something = said != Healthcheck::default();
    let check = match (args.no_healthcheck, says_something) {
        (true, true) => {
            return Err(Failure::usage(
                "--no-healthcheck conflicts with --health-* options",
            ));
        }
        (true, false) => Some(Healthcheck::none()),
        (false, true) => Some(said),
        (false, false) => None,
    };
    Ok(HealthRequest { check, on_failure })
}

fn check(args: &HealthArgs) -> Outcome<Healthcheck> {
    let retries = args.health_retries.unwrap_or_default();
    if retries < 0 {
        return Err(Failure::usage("--health-retries cannot be negative"));
    }
    let command = args.health_cmd.as_deref().filter(|text| !text.is_empty());
    let shell = |text: &str| vec!["CMD-SHELL".to_owned(), text.to_owned()];
    Ok(Healthcheck {
        test: command.map(shell).unwrap_or_default(),
        interval: time(
            "--health-interval",
            "Interval",
            args.health_interval.as_deref(),
        )?,
        timeout: time(
            "--health-timeout",
            "Timeout",
            args.health_timeout.as_deref(),
        )?,
        start_period: time(
            "--health-start-period",
            "StartPeriod",
            args.health_start_period.as_deref(),
        )?,
        start_interval: time(
            "--health-start-interval",
            "StartInterval",
            args.health_start_interval.as_deref(),
        )?,
        retries,
    })
}

/// Reads a time as nanoseconds; `field` is what an image calls it.
fn time(flag: &'static str, field: &str, text: Option<&str>) -> Outcome<i64> {
    let Some(text) = text else { return Ok(0) };
    if let Some(rest) = text.strip_prefix('-') {
        parse_duration(rest).map_err(|error| bad(flag, text, error))?;
        return Err(Failure::usage(format!("{flag} cannot be negative")));
    }
    let duration = parse_duration(text).map_err(|error| bad(flag, text, error))?;
    let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    if (1..LEAST).contains(&nanos) {
        return Err(Failure::usage(format!(
            "{field} in Healthcheck cannot be less than 1ms"
        )));
    }
    Ok(nanos)
}
