//! What checks come to: events in, what is to be done out. Docker's rules (daemon/health.go).

use std::time::Duration;

use lamina_types::OnFailure;

use super::{CheckResult, Health, HealthConfig, HealthStatus, MOST_RESULTS, Report};

/// The health of one run.
#[derive(Debug)]
pub(crate) struct Checks {
    config: HealthConfig,
    health: Health,
}

/// What follows from a check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The time until the next check.
    pub(crate) wait: Duration,
    /// What the container has become, if it has become something else.
    pub(crate) became: Option<HealthStatus>,
    /// What is to be done with it.
    pub(crate) act: OnFailure,
}

impl Checks {
    /// Begins with a run; the results of former runs are still shown.
    pub(crate) fn begin(config: HealthConfig, former: Vec<CheckResult>) -> Self {
        let health = Health {
            version: Health::VERSION,
            status: HealthStatus::Starting,
            failing_streak: 0,
            log: former,
        };
        Self { config, health }
    }

    /// Goes on with a run as another monitor has left it.
    pub(crate) fn resume(config: HealthConfig, health: Health) -> Self {
        Self { config, health }
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    pub(crate) fn config(&self) -> &HealthConfig {
        &self.config
    }

    /// Returns the time until the next check of a program that has run for `ran`.
    pub(crate) fn wait(&self, ran: Duration) -> Duration {
        let is_starting = self.health.status == HealthStatus::Starting;
        match is_starting && ran < self.config.start_period {
            true => self.config.start_interval,
            false => self.config.interval,
        }
    }

    /// Takes in what a check has come to that began when the program had run for `began`, and
    /// ended when it had for `ended`.
    pub(crate) fn take(&mut self, report: Report, began: Duration, ended: Duration) -> Step {
        let before = self.health.status;
        if let Report::Done(result) = report {
            self.count(result.exit_code == 0, began);
            let log = &mut self.health.log;
            log.push(result);
            log.drain(..log.len().saturating_sub(MOST_RESULTS));
        }
        let status = self.health.status;
        let became = (status != before).then_some(status);
        Step {
            wait: self.wait(ended),
            became,
            act: match became {
                Some(HealthStatus::Unhealthy) => self.config.on_failure,
                _ => OnFailure::None,
            },
        }
    }

    fn count(&mut self, is_well: bool, began: Duration) {
        let health = &mut self.health;
        if is_well {
            health.failing_streak = 0;
            health.status = HealthStatus::Healthy;
            return;
        }
        if health.status == HealthStatus::Starting && began < self.config.start_period {
            return;
        }
        health.failing_streak = health.failing_streak.saturating_add(1);
        if health.failing_streak >= self.config.retries {
            health.status = HealthStatus::Unhealthy;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HealthStatus::{Healthy, Starting, Unhealthy};
    use super::*;
    use crate::time::Time;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn checks(start_period: u64, retries: u32) -> Checks {
        let config = HealthConfig {
            argv: Vec::new(),
            interval: seconds(30),
            start_period: seconds(start_period),
            start_interval: seconds(5),
            retries,
            on_failure: OnFailure::Kill,
            stop_signal: 15,
            stop_timeout: None,
        };
        Checks::begin(config, Vec::new())
    }

    fn done(exit_code: i32) -> Report {
        Report::Done(CheckResult {
            start: Time::now(),
            end: Time::now(),
            exit_code,
            output: String::new(),
        })
    }

    /// Checks at these seconds with these codes; returns status, streak and the next wait.
    fn run(checks: &mut Checks, results: &[(u64, i32)]) -> Vec<(HealthStatus, u32, u64)> {
        let step = |(at, code): &(u64, i32)| {
            let step = checks.take(done(*code), seconds(*at), seconds(*at));
            let health = checks.health();
            (health.status, health.failing_streak, step.wait.as_secs())
        };
        results.iter().map(step).collect()
    }

    #[test]
    fn so_many_failures_in_a_row_are_unhealthy() {
        let shown = run(
            &mut checks(0, 3),
            &[(1, 1), (2, 1), (3, 0), (4, 2), (5, -1)],
        );
        let expected = [
            (Starting, 1, 30),
            (Starting, 2, 30),
            (Healthy, 0, 30),
            (Healthy, 1, 30),
            (Healthy, 2, 30),
        ];
        assert_eq!(shown, expected);
        let shown = run(&mut checks(0, 2), &[(1, 1), (2, 1), (3, 1), (4, 0)]);
        let expected = [
            (Starting, 1, 30),
            (Unhealthy, 2, 30),
            (Unhealthy, 3, 30),
            (Healthy, 0, 30),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_start_period_ends_with_the_first_success() {
        let mut checks = checks(60, 1);
        assert_eq!(checks.wait(Duration::ZERO), seconds(5));
        let shown = run(&mut checks, &[(5, 1), (10, 1), (15, 0), (45, 1)]);
        let expected = [
            (Starting, 0, 5),
            (Starting, 0, 5),
            (Healthy, 0, 30),
            // It still goes on, and does not matter any more.
            (Unhealthy, 1, 30),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn failures_count_after_the_start_period() {
        // When a check began decides, not when it ended.
        let mut checks = checks(60, 2);
        checks.take(done(1), seconds(59), seconds(80));
        assert_eq!(checks.health().failing_streak, 0);
        let shown = run(&mut checks, &[(60, 1), (90, 1)]);
        assert_eq!(shown, [(Starting, 1, 30), (Unhealthy, 2, 30)]);
    }

    #[test]
    fn what_it_becomes_is_told_once_and_acted_on_once() {
        let mut checks = checks(0, 1);
        let mut told = Vec::new();
        for code in [1, 1, 0, 0, 1] {
            let step = checks.take(done(code), seconds(1), seconds(1));
            told.push((step.became, step.act));
        }
        let expected = [
            (Some(Unhealthy), OnFailure::Kill),
            (None, OnFailure::None),
            (Some(Healthy), OnFailure::None),
            (None, OnFailure::None),
            (Some(Unhealthy), OnFailure::Kill),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_was_skipped_changes_nothing_and_five_results_are_kept() {
        let mut checks = checks(0, 2);
        run(&mut checks, &[(1, 1)]);
        let before = checks.health().clone();
        let step = checks.take(Report::Skipped, seconds(2), seconds(2));
        assert_eq!((step.became, step.wait), (None, seconds(30)));
        assert_eq!(checks.health(), &before);
        run(&mut checks, &[(3, 3), (4, 4), (5, 5), (6, 6), (7, 7)]);
        let codes = checks.health().log.iter().map(|result| result.exit_code);
        assert_eq!(codes.collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
        // Another run begins anew, with what was shown before.
        let again = Checks::begin(checks.config().clone(), checks.health().log.clone());
        assert_eq!(again.health().status, Starting);
        assert_eq!(
            (again.health().failing_streak, again.health().log.len()),
            (0, 5)
        );
    }
}
