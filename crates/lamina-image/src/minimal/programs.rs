//! Which programs a minimal image has, and the few files that programs expect.

/// Programs that are copied where the host has them: a shell, and what one looks around with.
pub(crate) const PROGRAMS: &[&str] = &[
    "sh",
    "bash",
    "[",
    "ash",
    "awk",
    "base64",
    "basename",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "chroot",
    "clear",
    "cmp",
    "comm",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "diff",
    "dirname",
    "dmesg",
    "du",
    "echo",
    "egrep",
    "env",
    "expr",
    "factor",
    "false",
    "fgrep",
    "find",
    "findmnt",
    "free",
    "getopt",
    "grep",
    "groups",
    "gzip",
    "gunzip",
    "head",
    "hostname",
    "id",
    "install",
    "ip",
    "kill",
    "less",
    "link",
    "ln",
    "ls",
    "lsns",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "more",
    "mount",
    "mountpoint",
    "mv",
    "nice",
    "nl",
    "nohup",
    "nproc",
    "nsenter",
    "od",
    "paste",
    "pgrep",
    "pivot_root",
    "pkill",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "setpriv",
    "sha256sum",
    "sleep",
    "sort",
    "split",
    "stat",
    "stty",
    "sync",
    "sysctl",
    "tac",
    "tail",
    "tar",
    "tee",
    "test",
    "timeout",
    "top",
    "touch",
    "tr",
    "true",
    "truncate",
    "tty",
    "umount",
    "uname",
    "uniq",
    "unlink",
    "unshare",
    "uptime",
    "vi",
    "watch",
    "wc",
    "which",
    "whoami",
    "xargs",
    "yes",
    "zcat",
];

/// Where programs are looked for, the first that has one winning. `/bin` comes first because
/// that is where scripts expect `sh`.
pub(crate) const DIRECTORIES: &[&str] = &[
    "/bin",
    "/usr/bin",
    "/sbin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/run/current-system/sw/bin",
];

/// The PATH of a container unless its image says otherwise.
pub(crate) const PATH: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Libraries that glibc opens by name at run time, which no ELF header tells.
pub(crate) const NAME_SERVICE: &[&str] = &["libnss_files.so.2", "libnss_dns.so.2"];

/// Terminal descriptions, each a small file, below `/lib/terminfo` or `/usr/share/terminfo`.
pub(crate) const TERMINALS: &[&str] = &[
    "d/dumb",
    "l/linux",
    "s/screen",
    "s/screen-256color",
    "t/tmux-256color",
    "v/vt100",
    "x/xterm",
    "x/xterm-256color",
];

pub(crate) const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
";

pub(crate) const GROUP: &str = "\
root:x:0:
daemon:x:1:
tty:x:5:
disk:x:6:
users:x:100:
nogroup:x:65534:
";

pub(crate) const HOSTS: &str = "\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
";

pub(crate) const NSSWITCH: &str = "\
passwd: files
group: files
shadow: files
hosts: files dns
";

pub(crate) const OS_RELEASE: &str = "\
NAME=\"lamina minimal\"
ID=lamina-minimal
PRETTY_NAME=\"lamina minimal (the host's own programs)\"
";
