//! `top`: the processes of a container, as ps(1) shows them; no program of anybody's is executed.

use std::path::Path;

use lamina_monitor::Time;
use lamina_types::{ContainerId, ErrorKind};
use rustix::process::Pid;

use crate::Engine;
use crate::container::find::FindError;
use crate::container::pause::PauseError;
use crate::container::stats::{field, memory_total, read};

mod columns;

use columns::Column;

/// A table as ps(1) prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// The headers.
    pub titles: Vec<String>,
    /// A line for each process, by pid.
    pub processes: Vec<Vec<String>>,
}

/// Why processes cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It does not run.
    #[error(transparent)]
    NotRunning(#[from] PauseError),
    /// An option of ps(1) that is not known here.
    #[error("unknown ps option {0:?}")]
    Option(String),
    /// A column of ps(1) that is not known here.
    #[error("unknown user-defined format specifier {0:?}")]
    Column(String),
}

impl TopError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::NotRunning(error) => error.kind(),
            Self::Option(_) | Self::Column(_) => ErrorKind::InvalidArgument,
        }
    }
}

/// One process at one moment, out of /proc.
#[derive(Debug, Default)]
struct Process {
    pid: u64,
    uid: u32,
    gid: u32,
    comm: String,
    args: String,
    state: char,
    /// The numbers of /proc/PID/stat from the parent's pid (field 4) on.
    numbers: Vec<i64>,
}

/// What the values of a process are shown against.
#[derive(Debug)]
struct Machine {
    /// Seconds since 1970.
    now: i64,
    /// When it was started, the same.
    boot: i64,
    ticks: i64,
    page: i64,
    memory: u64,
    passwd: String,
    group: String,
}

impl Engine {
    /// Lists the processes of a running container by the options that ps(1) would have; none
    /// are `-ef`.
    pub fn top(&self, id: &ContainerId, options: &[String]) -> Result<Top, TopError> {
        let columns = columns::of_options(options)?;
        let container = self.load_supervised(id)?;
        let cgroup = self.running_cgroup(&container)?;
        let machine = Machine::look();
        let found = cgroup.processes().into_iter().filter_map(Process::read);
        let row = |process: Process| {
            let cells = columns
                .iter()
                .map(|(_, column)| column.of(&process, &machine));
            cells.collect::<Vec<String>>()
        };
        self.note_container(&container.record, "top", &[]);
        Ok(Top {
            processes: found.map(row).collect(),
            titles: columns.into_iter().map(|(title, _)| title).collect(),
        })
    }
}

impl Machine {
    fn look() -> Self {
        let proc = Path::new("/proc");
        let etc = Path::new("/etc");
        Self {
            now: Time::now().timestamp().as_second(),
            boot: i64::try_from(field(&read(proc, "stat"), "btime")).unwrap_or(0),
            ticks: i64::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100),
            page: i64::try_from(rustix::param::page_size()).unwrap_or(4096),
            memory: memory_total(),
            passwd: read(etc, "passwd"),
            group: read(etc, "group"),
        }
    }
}

impl Process {
    /// Reads a process; `None` if it has ended.
    fn read(pid: Pid) -> Option<Self> {
        let dir = format!("/proc/{}", pid.as_raw_nonzero());
        let dir = Path::new(&dir);
        let status = read(dir, "status");
        let id = |key: &str| u32::try_from(field(&status, key)).unwrap_or(0);
        let args = read(dir, "cmdline");
        let mut process = Self::parse(&read(dir, "stat"))?;
        process.uid = id("Uid:");
        process.gid = id("Gid:");
        process.args = match args.trim_end_matches('\0') {
            "" => format!("[{}]", process.comm),
            args => args.replace('\0', " "),
        };
        Some(process)
    }

    /// Parses /proc/PID/stat, where the name may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (pid, rest) = stat.split_once(" (")?;
        let (comm, rest) = rest.rsplit_once(") ")?;
        let mut words = rest.split_whitespace();
        let state = words.next()?.chars().next()?;
        Some(Self {
            pid: pid.parse().ok()?,
            comm: comm.to_owned(),
            state,
            numbers: words.map(|word| word.parse().unwrap_or(0)).collect(),
            ..Self::default()
        })
    }

    /// Returns field `n` of /proc/PID/stat as proc(5) counts them, from 4 on.
    fn number(&self, n: usize) -> i64 {
        self.numbers.get(n - 4).copied().unwrap_or(0)
    }
}

impl Column {
    fn of(self, process: &Process, machine: &Machine) -> String {
        columns::cell(self, process, machine)
    }
}
