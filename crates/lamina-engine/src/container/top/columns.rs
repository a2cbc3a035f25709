//! The columns of ps(1) that people ask for, and the options that name them.

use jiff::Timestamp;

use super::{Machine, Process, TopError};

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    User,
    Uid,
    Group,
    Gid,
    Pid,
    ParentPid,
    ProcessGroup,
    Session,
    /// CPU use as a whole number.
    C,
    Cpu,
    Memory,
    VirtualSize,
    ResidentSize,
    Tty,
    State,
    Stat,
    Started,
    /// CPU time as hours, minutes and seconds.
    Time,
    /// CPU time as minutes and seconds.
    BsdTime,
    Elapsed,
    Threads,
    Nice,
    Priority,
    Name,
    Arguments,
}

use Column as Is;

/// The words of `-o`, each with its header.
const WORDS: [(&str, &str, Column); 42] = [
    ("user", "USER", Is::User),
    ("uname", "USER", Is::User),
    ("euser", "EUSER", Is::User),
    ("ruser", "RUSER", Is::User),
    ("uid", "UID", Is::Uid),
    ("euid", "EUID", Is::Uid),
    ("ruid", "RUID", Is::Uid),
    ("group", "GROUP", Is::Group),
    ("egroup", "EGROUP", Is::Group),
    ("rgroup", "RGROUP", Is::Group),
    ("gid", "GID", Is::Gid),
    ("egid", "EGID", Is::Gid),
    ("pid", "PID", Is::Pid),
    ("tgid", "TGID", Is::Pid),
    ("ppid", "PPID", Is::ParentPid),
    ("pgid", "PGID", Is::ProcessGroup),
    ("pgrp", "PGRP", Is::ProcessGroup),
    ("sid", "SID", Is::Session),
    ("sess", "SESS", Is::Session),
    ("c", "C", Is::C),
    ("pcpu", "%CPU", Is::Cpu),
    ("%cpu", "%CPU", Is::Cpu),
    ("pmem", "%MEM", Is::Memory),
    ("%mem", "%MEM", Is::Memory),
    ("vsz", "VSZ", Is::VirtualSize),
    ("vsize", "VSZ", Is::VirtualSize),
    ("rss", "RSS", Is::ResidentSize),
    ("rssize", "RSS", Is::ResidentSize),
    ("tty", "TT", Is::Tty),
    ("tt", "TT", Is::Tty),
    ("s", "S", Is::State),
    ("state", "S", Is::State),
    ("stat", "STAT", Is::Stat),
    ("stime", "STIME", Is::Started),
    ("start_time", "START", Is::Started),
    ("time", "TIME", Is::Time),
    ("cputime", "TIME", Is::Time),
    ("etime", "ELAPSED", Is::Elapsed),
    ("nlwp", "NLWP", Is::Threads),
    ("ni", "NI", Is::Nice),
    ("pri", "PRI", Is::Priority),
    ("comm", "COMMAND", Is::Name),
];
const MORE: [(&str, &str, Column); 4] = [
    ("ucmd", "CMD", Is::Name),
    ("cmd", "CMD", Is::Arguments),
    ("args", "COMMAND", Is::Arguments),
    ("command", "COMMAND", Is::Arguments),
];

const FULL: [(&str, Column); 8] = [
    ("UID", Is::User),
    ("PID", Is::Pid),
    ("PPID", Is::ParentPid),
    ("C", Is::C),
    ("STIME", Is::Started),
    ("TTY", Is::Tty),
    ("TIME", Is::Time),
    ("CMD", Is::Arguments),
];
const SHORT: [(&str, Column); 4] = [
    ("PID", Is::Pid),
    ("TTY", Is::Tty),
    ("TIME", Is::Time),
    ("CMD", Is::Name),
];
const USER_ORIENTED: [(&str, Column); 11] = [
    ("USER", Is::User),
    ("PID", Is::Pid),
    ("%CPU", Is::Cpu),
    ("%MEM", Is::Memory),
    ("VSZ", Is::VirtualSize),
    ("RSS", Is::ResidentSize),
    ("TTY", Is::Tty),
    ("STAT", Is::Stat),
    ("START", Is::Started),
    ("TIME", Is::BsdTime),
    ("COMMAND", Is::Arguments),
];

/// Reads the options of ps(1): `-ef`, `aux`, `-o pid,cmd`, `-eo pid=ID`. Which processes are meant
/// is known already, so letters that only choose them are accepted.
pub(super) fn of_options(options: &[String]) -> Result<Vec<(String, Column)>, TopError> {
    let named = |columns: &[(&str, Column)]| -> Vec<(String, Column)> {
        let named = columns.iter().map(|(title, is)| ((*title).to_owned(), *is));
        named.collect()
    };
    let (mut chosen, mut full, mut by_user) = (Vec::new(), options.is_empty(), false);
    let mut words = options.iter();
    while let Some(option) = words.next() {
        let unknown = || TopError::Option(option.chars().take(80).collect());
        if let Some(list) = option.strip_prefix("--format=") {
            chosen.extend(of_list(list)?);
            continue;
        }
        let bsd = !option.starts_with('-');
        let letters = option.strip_prefix('-').unwrap_or(option);
        for (at, letter) in letters.char_indices() {
            match letter {
                'o' | 'O' => {
                    let list = match &letters[at + 1..] {
                        "" => words.next().ok_or_else(unknown)?,
                        list => list,
                    };
                    chosen.extend(of_list(list)?);
                    break;
                }
                'f' | 'F' if !bsd => full = true,
                'u' if bsd || letters.starts_with('a') => by_user = true,
                'a' | 'A' | 'e' | 'x' | 'w' | 'f' | 'd' => {}
                _ => return Err(unknown()),
            }
        }
    }
    Ok(match (chosen.is_empty(), by_user, full) {
        (false, ..) => chosen,
        (_, true, _) => named(&USER_ORIENTED),
        (_, _, true) => named(&FULL),
        _ => named(&SHORT),
    })
}

/// `pid,ppid,cmd=WHAT`: after an equals sign a header of one's own, to the end.
fn of_list(list: &str) -> Result<Vec<(String, Column)>, TopError> {
    let (list, title) = match list.split_once('=') {
        Some((list, title)) => (list, Some(title)),
        None => (list, None),
    };
    let mut columns = Vec::new();
    for word in list.split([',', ' ']).filter(|word| !word.is_empty()) {
        let mut known = WORDS.iter().chain(&MORE);
        let found = known.find(|(name, ..)| name.eq_ignore_ascii_case(word));
        let (_, title, column) = found.ok_or_else(|| TopError::Column(word.to_owned()))?;
        columns.push(((*title).to_owned(), *column));
    }
    if let (Some(title), Some(last)) = (title, columns.last_mut()) {
        title.clone_into(&mut last.0);
    }
    Ok(columns)
}

/// Returns what a column shows of a process.
pub(super) fn cell(column: Column, process: &Process, machine: &Machine) -> String {
    let number = |n| process.number(n);
    let kib = |bytes: i64| (bytes / 1024).to_string();
    let started = machine.boot + number(22) / machine.ticks;
    let elapsed = (machine.now - started).max(0);
    let cpu = (number(14) + number(15)) / machine.ticks;
    // In tenths of a percent.
    let share = |part: i64, whole: i64| {
        if whole > 0 {
            part.saturating_mul(1000) / whole
        } else {
            0
        }
    };
    let tenths = |value: i64| format!("{}.{}", value / 10, value % 10);
    match column {
        Is::User => name_of(&machine.passwd, process.uid),
        Is::Uid => process.uid.to_string(),
        Is::Group => name_of(&machine.group, process.gid),
        Is::Gid => process.gid.to_string(),
        Is::Pid => process.pid.to_string(),
        Is::ParentPid => number(4).to_string(),
        Is::ProcessGroup => number(5).to_string(),
        Is::Session => number(6).to_string(),
        Is::C => (share(cpu, elapsed) / 10).min(99).to_string(),
        Is::Cpu => tenths(share(cpu, elapsed)),
        Is::Memory => {
            let total = i64::try_from(machine.memory).unwrap_or(0);
            tenths(share(number(24).saturating_mul(machine.page), total))
        }
        Is::VirtualSize => kib(number(23)),
        Is::ResidentSize => kib(number(24).saturating_mul(machine.page)),
        Is::Tty => tty(number(7)),
        Is::State => process.state.to_string(),
        Is::Stat => stat(process),
        Is::Started => start_time(started, machine.now),
        Is::Time => clock(cpu, true),
        Is::BsdTime => format!("{}:{:02}", cpu / 60, cpu % 60),
        Is::Elapsed => clock(elapsed, false),
        Is::Threads => number(20).to_string(),
        Is::Nice => number(19).to_string(),
        Is::Priority => (39 - number(18)).to_string(),
        Is::Name => process.comm.clone(),
        Is::Arguments => process.args.clone(),
    }
}

/// Returns the name that a file such as /etc/passwd has for an id; else the id.
fn name_of(file: &str, id: u32) -> String {
    let id = id.to_string();
    let found = file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    found.unwrap_or(id)
}

/// The device number of a terminal, as in proc(5).
fn tty(device: i64) -> String {
    let major = (device >> 8) & 0xfff;
    let minor = (device & 0xff) | ((device >> 12) & 0xfff00);
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        _ => "?".to_owned(),
    }
}

fn stat(process: &Process) -> String {
    let mut text = process.state.to_string();
    match process.number(19) {
        ..0 => text.push('<'),
        1.. => text.push('N'),
        0 => {}
    }
    let pid = i64::try_from(process.pid).unwrap_or(0);
    if process.number(6) == pid {
        text.push('s');
    }
    if process.number(20) > 1 {
        text.push('l');
    }
    if process.number(8) == process.number(5) {
        text.push('+');
    }
    text
}

/// `[days-]hours:minutes:seconds`; without hours where they may be left out and are none.
fn clock(seconds: i64, hours: bool) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (h, m, s) = (rest / 3600, rest / 60 % 60, rest % 60);
    match (days, h) {
        (1.., _) => format!("{days}-{h:02}:{m:02}:{s:02}"),
        (_, 0) if !hours => format!("{m:02}:{s:02}"),
        _ => format!("{h:02}:{m:02}:{s:02}"),
    }
}

/// The hour of today, the day of this year, else the year; in UTC.
fn start_time(started: i64, now: i64) -> String {
    let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let (then, today) = (time(started), time(now));
    let same =
        |format: &str| then.strftime(format).to_string() == today.strftime(format).to_string();
    let format = match () {
        () if same("%Y-%m-%d") => "%H:%M",
        () if same("%Y") => "%b%d",
        () => "%Y",
    };
    then.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(options: &[&str]) -> Result<String, TopError> {
        let options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
        let columns = of_options(&options)?;
        let titles: Vec<String> = columns.into_iter().map(|(title, _)| title).collect();
        Ok(titles.join(" "))
    }

    #[test]
    fn options_as_people_type_them() {
        let full = "UID PID PPID C STIME TTY TIME CMD";
        for (options, expected) in [
            (&[][..], full),
            (&["-ef"], full),
            (&["-e", "-f"], full),
            (
                &["aux"],
                "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND",
            ),
            (
                &["-aux"],
                "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND",
            ),
            (&["-e"], "PID TTY TIME CMD"),
            (&["-o", "pid,comm"], "PID COMMAND"),
            (&["-eo", "pid,cmd=what is run"], "PID what is run"),
            (&["-opid", "-o", "user"], "PID USER"),
        ] {
            assert_eq!(titles(options).unwrap(), expected, "{options:?}");
        }
        for options in [&["-o"][..], &["-o", "pid,nonsense"], &["-q"], &["--forest"]] {
            assert!(titles(options).is_err(), "{options:?}");
        }
    }

    #[test]
    fn values_as_ps_shows_them() {
        let mut stat =
            "7 (a) b) S 3 7 7 34817 7 0 0 0 0 0 250 50 0 0 20 0 2 0 100 4096000 5".to_owned();
        stat += " 0 0 0\n";
        let process = Process {
            uid: 5,
            args: "x y".to_owned(),
            ..Process::parse(&stat).unwrap()
        };
        let machine = Machine {
            now: 1_700_000_100,
            boot: 1_700_000_000,
            ticks: 100,
            page: 4096,
            memory: 4_096_000,
            passwd: "root:x:0:0\nme:x:5:5:::\n".to_owned(),
            group: String::new(),
        };
        let show = |column| cell(column, &process, &machine);
        assert_eq!(process.comm, "a) b");
        assert_eq!(show(Is::User), "me");
        assert_eq!(show(Is::Group), "0");
        assert_eq!(show(Is::ParentPid), "3");
        assert_eq!(show(Is::Tty), "pts/1");
        assert_eq!(show(Is::Stat), "Ssl+");
        assert_eq!(show(Is::Time), "00:00:03");
        assert_eq!(show(Is::BsdTime), "0:03");
        assert_eq!(show(Is::Cpu), "3.0");
        assert_eq!(show(Is::Memory), "0.5");
        assert_eq!(show(Is::VirtualSize), "4000");
        assert_eq!(show(Is::ResidentSize), "20");
        assert_eq!(show(Is::Elapsed), "01:39");
        assert_eq!(show(Is::Started), "22:13");
        assert_eq!(clock(90_061, false), "1-01:01:01");
        assert_eq!(start_time(1_600_000_000, machine.now), "2020");
    }
}
