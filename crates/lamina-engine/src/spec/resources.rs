//! Limits: what was asked for, checked and turned into the numbers cgroups take, as Docker does.

use lamina_types::{Resources, Ulimit};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxCpu, LinuxCpuBuilder, LinuxMemory, LinuxMemoryBuilder,
    LinuxPids, LinuxPidsBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType,
};

use crate::spec::SpecError;

/// Docker's smallest memory limit: with less a container cannot even start.
const MEMORY_MIN: u64 = 6 << 20;
/// The scheduler period that `--cpus` is a share of, in microseconds.
const CPU_PERIOD: u64 = 100_000;
/// The kernel's bounds for cpu.shares.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// No kernel is built for more CPUs or nodes than this; a bound against `0-9999999999`
/// (CVE-2018-20699).
const CPU_MAX: u32 = 8191;

/// The limits of the memory, cpu, pids and block I/O controllers.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub memory: Option<LinuxMemory>,
    pub cpu: Option<LinuxCpu>,
    pub pids: Option<LinuxPids>,
    pub io: Option<LinuxBlockIo>,
}

/// Checks the limits and converts them.
pub(crate) fn plan(asked: &Resources) -> Result<Limits, SpecError> {
    Ok(Limits {
        memory: memory(asked)?,
        cpu: cpu(asked)?,
        pids: pids(asked)?,
        io: io(asked)?,
    })
}

fn refuse<T>(what: &'static str, why: impl Into<String>) -> Result<T, SpecError> {
    Err(SpecError::Limit {
        what,
        why: why.into(),
    })
}

fn signed(what: &'static str, value: u64) -> Result<i64, SpecError> {
    i64::try_from(value).or_else(|_| refuse(what, "the number is too large"))
}

fn memory(asked: &Resources) -> Result<Option<LinuxMemory>, SpecError> {
    let mut memory = LinuxMemoryBuilder::default();
    let limit = match asked.memory {
        Some(limit) if limit < MEMORY_MIN => {
            return refuse("memory limit", "the minimum allowed is 6MB");
        }
        Some(limit) => Some(signed("memory limit", limit)?),
        None => None,
    };
    let swap = match (asked.memory_swap, limit) {
        (None, Some(limit)) => Some(limit.saturating_mul(2)),
        (None | Some(0), None) => None,
        // Zero is "not set", as in Docker.
        (Some(0), Some(limit)) => Some(limit.saturating_mul(2)),
        (Some(-1), _) => Some(-1),
        (Some(_), None) => return refuse("memory-swap limit", "it needs a memory limit too"),
        (Some(swap), Some(limit)) if swap < limit => {
            return refuse(
                "memory-swap limit",
                "it should be larger than the memory limit",
            );
        }
        (Some(swap), Some(_)) => Some(swap),
    };
    let reservation = match asked.memory_reservation {
        Some(reservation) if asked.memory.is_some_and(|limit| reservation > limit) => {
            return refuse(
                "memory reservation",
                "it should not be larger than the memory limit",
            );
        }
        Some(reservation) => Some(signed("memory reservation", reservation)?),
        None => None,
    };
    if limit.is_none() && swap.is_none() && reservation.is_none() {
        return Ok(None);
    }
    if let Some(limit) = limit {
        memory = memory.limit(limit);
    }
    if let Some(swap) = swap {
        memory = memory.swap(swap);
    }
    if let Some(reservation) = reservation {
        memory = memory.reservation(reservation);
    }
    Ok(Some(memory.build().expect("every field has a default")))
}

fn cpu(asked: &Resources) -> Result<Option<LinuxCpu>, SpecError> {
    check_cpu(asked)?;
    let mut cpu = LinuxCpuBuilder::default();
    let mut any = false;
    if let Some(quota) = asked.cpu_quota.filter(|quota| *quota != 0) {
        cpu = cpu.quota(quota);
        any = true;
    }
    if let Some(period) = asked.cpu_period.filter(|period| *period != 0) {
        cpu = cpu.period(period);
        any = true;
    }
    if let Some(nano) = asked.nano_cpus.filter(|nano| *nano != 0) {
        // A hundredth of a CPU is the kernel's smallest quota, 1 ms of 100 ms.
        let quota = u128::from(nano) * u128::from(CPU_PERIOD) / 1_000_000_000;
        let quota = match i64::try_from(quota) {
            Ok(quota) if quota >= 1000 => quota,
            _ => return refuse("cpus", "the range starts at 0.01"),
        };
        cpu = cpu.period(CPU_PERIOD).quota(quota);
        any = true;
    }
    if let Some(shares) = asked.cpu_shares.filter(|shares| *shares != 0) {
        if !SHARES.contains(&shares) {
            return refuse("cpu-shares", "the range is from 2 to 262144");
        }
        cpu = cpu.shares(shares);
        any = true;
    }
    if let Some(cpus) = &asked.cpuset_cpus {
        cpu = cpu.cpus(cpu_list("cpuset-cpus", cpus)?);
        any = true;
    }
    if let Some(mems) = &asked.cpuset_mems {
        cpu = cpu.mems(cpu_list("cpuset-mems", mems)?);
        any = true;
    }
    Ok(any.then(|| cpu.build().expect("every field has a default")))
}

/// Checks quota and period, which `--cpus` is another word for.
fn check_cpu(asked: &Resources) -> Result<(), SpecError> {
    let (quota, period) = (asked.cpu_quota.unwrap_or(0), asked.cpu_period.unwrap_or(0));
    let text = match asked.nano_cpus.unwrap_or(0) {
        1.. if period != 0 => "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        1.. if quota != 0 => "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        _ if period != 0 && !(1_000..=1_000_000).contains(&period) => {
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        }
        _ if (1..1_000).contains(&quota) => "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        _ => return Ok(()),
    };
    Err(SpecError::Limits(text))
}

fn io(asked: &Resources) -> Result<Option<LinuxBlockIo>, SpecError> {
    match asked.blkio_weight {
        None | Some(0) => Ok(None),
        Some(weight @ 10..=1_000) => {
            let io = LinuxBlockIoBuilder::default().weight(weight).build();
            Ok(Some(io.expect("every field has a default")))
        }
        Some(_) => Err(SpecError::Limits(
            "Range of blkio weight is from 10 to 1000",
        )),
    }
}

/// Checks a list such as `0-2,7` without ever expanding it.
fn cpu_list(what: &'static str, list: &str) -> Result<String, SpecError> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits
            .then(|| text.parse::<u32>().ok())
            .flatten()
            .filter(|n| *n <= CPU_MAX)
    };
    let valid = list.split(',').all(|part| match part.split_once('-') {
        Some((first, last)) => number(first)
            .zip(number(last))
            .is_some_and(|(first, last)| first <= last),
        None => number(part).is_some(),
    });
    if valid {
        Ok(list.to_owned())
    } else {
        refuse(what, "it is not a list such as 0-2,7")
    }
}

fn pids(asked: &Resources) -> Result<Option<LinuxPids>, SpecError> {
    match asked.pids_limit {
        // Zero and -1 are "no limit", as in Docker.
        None | Some(0 | -1) => Ok(None),
        Some(limit) if limit < -1 => refuse("pids limit", "it is -1 or a positive number"),
        Some(limit) => Ok(Some(
            LinuxPidsBuilder::default()
                .limit(limit)
                .build()
                .expect("every field has a default"),
        )),
    }
}

/// Converts `--ulimit`; a limit that nobody asked for stays the caller's.
pub(crate) fn rlimits(asked: &[Ulimit]) -> Result<Vec<PosixRlimit>, SpecError> {
    asked.iter().map(rlimit).collect()
}

fn rlimit(asked: &Ulimit) -> Result<PosixRlimit, SpecError> {
    let name = format!("RLIMIT_{}", asked.name.to_ascii_uppercase());
    let Ok(typ) = serde_json::from_value::<PosixRlimitType>(name.into()) else {
        return refuse("ulimit", format!("there is no {:?}", asked.name));
    };
    if asked.soft > asked.hard {
        return refuse("ulimit", "the soft limit must not be above the hard one");
    }
    Ok(PosixRlimitBuilder::default()
        .typ(typ)
        .soft(asked.soft)
        .hard(asked.hard)
        .build()
        .expect("every field is set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Resources {
        Resources::default()
    }

    #[test]
    fn memory_follows_docker() {
        const M: i64 = 1 << 20;
        let mib = |n: u64| Some(n << 20);
        for (memory, swap, expected) in [
            (None, None, None),
            (mib(256), None, Some((Some(256 * M), Some(512 * M)))),
            (mib(256), Some(0), Some((Some(256 * M), Some(512 * M)))),
            (mib(256), Some(-1), Some((Some(256 * M), Some(-1)))),
            (
                mib(256),
                Some(300 * M),
                Some((Some(256 * M), Some(300 * M))),
            ),
            (None, Some(-1), Some((None, Some(-1)))),
        ] {
            let plan = plan(&Resources {
                memory,
                memory_swap: swap,
                ..asked()
            })
            .unwrap();
            let got = plan.memory.map(|m| (m.limit(), m.swap()));
            assert_eq!(got, expected, "-m {memory:?} --memory-swap {swap:?}");
        }
    }

    #[test]
    fn cpus_become_quota_and_period() {
        let plan = plan(&Resources {
            nano_cpus: Some(1_500_000_000),
            cpu_shares: Some(512),
            cpuset_cpus: Some("0-1,3".to_owned()),
            pids_limit: Some(64),
            ..asked()
        })
        .unwrap();
        let cpu = plan.cpu.unwrap();
        assert_eq!((cpu.quota(), cpu.period()), (Some(150_000), Some(100_000)));
        assert_eq!(cpu.shares(), Some(512));
        assert_eq!(cpu.cpus().as_deref(), Some("0-1,3"));
        assert_eq!(plan.pids.unwrap().limit(), 64);
    }

    #[test]
    fn quota_period_and_weight_are_passed_on() {
        let asked = |quota, period, weight| Resources {
            cpu_quota: Some(quota),
            cpu_period: Some(period),
            blkio_weight: Some(weight),
            ..asked()
        };
        let limits = plan(&asked(50_000, 200_000, 300)).unwrap();
        let cpu = limits.cpu.unwrap();
        assert_eq!((cpu.quota(), cpu.period()), (Some(50_000), Some(200_000)));
        assert_eq!(limits.io.unwrap().weight(), Some(300));
        let unlimited = plan(&asked(-1, 0, 0)).unwrap();
        assert_eq!(unlimited.cpu.unwrap().quota(), Some(-1));
        assert!(unlimited.io.is_none());
        for bad in [
            asked(999, 0, 0),
            asked(0, 999, 0),
            asked(0, 1_000_001, 0),
            asked(0, 0, 9),
            asked(0, 0, 1_001),
            Resources {
                nano_cpus: Some(1_000_000_000),
                ..asked(50_000, 0, 0)
            },
        ] {
            assert!(plan(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn senseless_limits_are_refused() {
        let cpus = |list: &str| Resources {
            cpuset_cpus: Some(list.to_owned()),
            ..asked()
        };
        for bad in [
            Resources {
                memory: Some(4096),
                ..asked()
            },
            Resources {
                memory: Some(u64::MAX),
                ..asked()
            },
            Resources {
                memory_swap: Some(1 << 30),
                ..asked()
            },
            Resources {
                memory: Some(64 << 20),
                memory_swap: Some(32 << 20),
                ..asked()
            },
            Resources {
                memory: Some(64 << 20),
                memory_swap: Some(-2),
                ..asked()
            },
            Resources {
                memory: Some(64 << 20),
                memory_reservation: Some(65 << 20),
                ..asked()
            },
            Resources {
                nano_cpus: Some(1),
                ..asked()
            },
            Resources {
                nano_cpus: Some(u64::MAX),
                cpu_shares: Some(1),
                ..asked()
            },
            Resources {
                cpu_shares: Some(1),
                ..asked()
            },
            Resources {
                pids_limit: Some(-2),
                ..asked()
            },
            cpus("0-9999999999"),
            cpus(""),
            cpus("2-1"),
            cpus("+1"),
            cpus("0,"),
            cpus("0-1-2"),
            cpus("0\n"),
        ] {
            assert!(plan(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn limits_of_processes_are_named_as_setrlimit_names_them() {
        let ulimit = |name: &str, soft, hard| Ulimit {
            name: name.to_owned(),
            soft,
            hard,
        };
        let got = rlimits(&[ulimit("nofile", 1024, u64::MAX)]).unwrap();
        assert_eq!(got[0].typ(), PosixRlimitType::RlimitNofile);
        assert!(rlimits(&[ulimit("files", 1, 1)]).is_err());
        assert!(rlimits(&[ulimit("nofile", 2, 1)]).is_err());
    }
}
