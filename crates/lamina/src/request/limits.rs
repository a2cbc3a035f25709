//! Limits as Docker checks them.

use lamina_types::quantity::{check_cpu_list, parse_bytes, parse_nano_cpus};
use lamina_types::{ErrorKind, Resources};

use super::bad;
use crate::args::UpdateLimitArgs;
use crate::failure::{Failure, Outcome};

/// Docker's least memory limit: less does not hold init.
const MEMORY_MIN: u64 = 6 << 20;

pub(crate) fn resources(args: &UpdateLimitArgs) -> Outcome<Resources> {
    let memory = positive("--memory", args.memory.as_deref())?;
    if memory.is_some_and(|bytes| bytes < MEMORY_MIN) {
        return Err(Failure::said(
            ErrorKind::InvalidArgument,
            "minimum memory limit allowed is 6MB",
        ));
    }
    let memory_reservation = positive("--memory-reservation", args.memory_reservation.as_deref())?;
    if memory
        .zip(memory_reservation)
        .is_some_and(|(limit, soft)| soft > limit)
    {
        return Err(Failure::usage(
            "minimum memory limit can not be less than memory reservation limit",
        ));
    }
    for (flag, list) in [
        ("--cpuset-cpus", &args.cpuset_cpus),
        ("--cpuset-mems", &args.cpuset_mems),
    ] {
        if let Some(text) = list.as_deref().filter(|text| !text.is_empty()) {
            check_cpu_list(text).map_err(|error| bad(flag, text, error))?;
        }
    }
    Ok(Resources {
        memory,
        memory_swap: memory_swap(args.memory_swap.as_deref(), memory)?,
        memory_reservation,
        nano_cpus: nano_cpus(args.cpus.as_deref())?,
        cpu_shares: cpu_shares(args.cpu_shares)?,
        cpu_quota: args.cpu_quota,
        cpu_period: cpu_period(args.cpu_period)?,
        blkio_weight: args.blkio_weight,
        cpuset_cpus: args.cpuset_cpus.clone().filter(|text| !text.is_empty()),
        cpuset_mems: args.cpuset_mems.clone().filter(|text| !text.is_empty()),
        pids_limit: pids_limit(args.pids_limit)?,
    })
}

/// Reads a size; zero, as in Docker, is no limit.
fn positive(flag: &'static str, text: Option<&str>) -> Outcome<Option<u64>> {
    let Some(text) = text else { return Ok(None) };
    let bytes = parse_bytes(text).map_err(|error| bad(flag, text, error))?;
    if i64::try_from(bytes).is_err() {
        return Err(Failure::usage(format!(
            "invalid argument {text:?} for {flag}: out of range"
        )));
    }
    Ok(Some(bytes).filter(|bytes| *bytes > 0))
}

fn memory_swap(text: Option<&str>, memory: Option<u64>) -> Outcome<Option<i64>> {
    let swap = match text {
        None => return Ok(None),
        Some("-1") => return Ok(Some(-1)),
        Some(text) => positive("--memory-swap", Some(text))?,
    };
    let Some(swap) = swap else { return Ok(None) };
    match memory {
        None => Err(Failure::usage(
            "you should always set the memory limit when using the memory swap limit",
        )),
        Some(memory) if swap < memory => Err(Failure::usage(
            "minimum memoryswap limit should be larger than memory limit",
        )),
        Some(_) => Ok(i64::try_from(swap).ok()),
    }
}

fn nano_cpus(text: Option<&str>) -> Outcome<Option<u64>> {
    let Some(text) = text else { return Ok(None) };
    let nano = parse_nano_cpus(text).map_err(|error| bad("--cpus", text, error))?;
    // The kernel's least quota is 1 ms of a period of 100 ms.
    if (1..10_000_000).contains(&nano) {
        return Err(Failure::usage(format!(
            "invalid argument {text:?} for --cpus: the least is 0.01"
        )));
    }
    Ok(Some(nano).filter(|nano| *nano > 0))
}

fn cpu_shares(shares: Option<u64>) -> Outcome<Option<u64>> {
    match shares {
        None | Some(0) => Ok(None),
        Some(shares @ 2..=262_144) => Ok(Some(shares)),
        Some(other) => Err(Failure::usage(format!(
            "invalid argument {other} for --cpu-shares: expected 2 to 262144"
        ))),
    }
}

fn cpu_period(period: Option<i64>) -> Outcome<Option<u64>> {
    let Some(period) = period else {
        return Ok(None);
    };
    u64::try_from(period).map(Some).map_err(|_| {
        let text =
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)";
        Failure::said(ErrorKind::InvalidArgument, text)
    })
}

fn pids_limit(limit: Option<i64>) -> Outcome<Option<i64>> {
    match limit {
        None | Some(0) => Ok(None),
        Some(limit) if limit >= -1 => Ok(Some(limit)),
        Some(other) => Err(Failure::usage(format!(
            "invalid argument {other} for --pids-limit: expected -1 (unlimited) or more"
        ))),
    }
}

/// Returns the size of /dev/shm; zero is refused, because a tmpfs reads it as unlimited.
pub(super) fn shm_size(text: Option<&str>) -> Outcome<Option<u64>> {
    match (text, positive("--shm-size", text)?) {
        (Some(text), None) => Err(Failure::usage(format!(
            "invalid argument {text:?} for --shm-size: must be greater than 0"
        ))),
        (_, size) => Ok(size),
    }
}

/// A parent cgroup becomes a path below every hierarchy, so nothing in it may climb.
pub(super) fn cgroup_parent(text: Option<&str>) -> Outcome<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let inner = text.trim_matches('/');
    let plain = |part: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-@:\\".contains(&b);
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed)
    };
    if text.len() > 1024 || !inner.split('/').all(plain) {
        return Err(Failure::usage(format!(
            "invalid argument {:?} for --cgroup-parent: expected a path such as /batch",
            text.chars().take(160).collect::<String>()
        )));
    }
    Ok(Some(format!("/{inner}")))
}
