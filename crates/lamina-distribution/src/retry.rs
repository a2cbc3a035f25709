//! When to ask again: exponential back-off with jitter, or what the server asks for.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::auth::lock;
use crate::client::Inner;
use crate::config::{RetryNotice, RetryPolicy};
use crate::error::{FetchError, Retry};
use crate::hosts::Endpoint;

/// A sleep that can be ended from another thread.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    cancelled: Mutex<bool>,
    wake: Condvar,
}

impl Pause {
    pub(crate) fn cancel(&self) {
        *lock(&self.cancelled) = true;
        self.wake.notify_all();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *lock(&self.cancelled)
    }

    /// Sleeps; says whether it was cancelled.
    fn sleep(&self, delay: Duration) -> bool {
        let until = Instant::now() + delay;
        let mut cancelled = lock(&self.cancelled);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if *cancelled || left.is_zero() {
                return *cancelled;
            }
            cancelled = match self.wake.wait_timeout(cancelled, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl Inner {
    /// After failure number `failed` at `endpoint`: waits if it makes sense to try again, else
    /// gives the error back.
    pub(crate) fn wait_after(
        &self,
        endpoint: &Endpoint,
        failed: u32,
        error: FetchError,
        retry: Retry,
    ) -> Result<(), FetchError> {
        if self.pause.is_cancelled() {
            return Err(FetchError::Cancelled);
        }
        let policy = &self.config.retry;
        if failed >= self.attempts(endpoint) {
            return Err(error);
        }
        let delay = match retry {
            Retry::Never => return Err(error),
            Retry::Backoff => backoff(policy, failed),
            Retry::After(asked) if asked > policy.retry_after_cap => return Err(error),
            // Never sooner than our own first delay: a server that says 0 is still in trouble.
            Retry::After(asked) => asked.max(backoff(policy, 1)),
        };
        if let Some(tell) = &self.config.on_retry {
            let host = &endpoint.authority;
            tell(&RetryNotice {
                host,
                error: &error,
                delay,
            });
        }
        if self.pause.sleep(delay) {
            return Err(FetchError::Cancelled);
        }
        Ok(())
    }
}

/// Returns the delay after failure number `failed`: doubling, capped, and between half and whole
/// of it at random, so that many clients of a restarted registry do not come back together.
fn backoff(policy: &RetryPolicy, failed: u32) -> Duration {
    let doublings = failed.saturating_sub(1).min(16);
    let whole = policy.base.saturating_mul(1 << doublings).min(policy.cap);
    let mut random = [0; 1];
    // Without randomness the delay is merely less spread.
    let _ = getrandom::fill(&mut random);
    whole / 2 + whole * u32::from(random[0]) / 510
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap() {
        let policy = RetryPolicy {
            base: Duration::from_millis(100),
            cap: Duration::from_secs(2),
            ..RetryPolicy::default()
        };
        for (failed, whole) in [(1, 100), (2, 200), (4, 800), (6, 2000), (u32::MAX, 2000)] {
            let delay = backoff(&policy, failed);
            let whole = Duration::from_millis(whole);
            assert!(delay >= whole / 2 && delay <= whole, "{failed}: {delay:?}");
        }
    }
}
