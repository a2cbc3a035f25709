/*
 * Runs a command and kills one of its processes at the entry of its n-th system call.
 *
 * strace's injection counts calls in every process it follows, so it cannot kill the monitor
 * alone; this tracer knows the processes of a run by their parts:
 *
 *   cli       the command itself
 *   spawner   what the command forks before anything is executed
 *   monitor   the first descendant that executes a program
 *   init      the first process the monitor makes; `program` once it has executed
 *   other     everything else
 *   store     the command itself with its threads, and of its calls only those that change files
 *
 * usage: killer ROLE N SECONDS COMMAND...
 * It prints "killed CALL CODE" (the call's number and the command's exit code), or "passed COUNT
 * CODE" when the role made fewer than n calls, and ends when the last process has. When SECONDS are over it kills what is left, prints
 * "hung" and ends with 3.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum role { CLI, SPAWNER, MONITOR, INIT, PROGRAM, OTHER, STORE };
static const char *const names[] = {"cli", "spawner", "monitor", "init", "program", "other", "store"};
enum { ROLES = 7, MOST = 512 };

struct process {
    pid_t pid;
    enum role role;
    int in_call, stopped_first;
    /* Its parent's event has come; its first stop may come earlier, and then it waits for that. */
    int is_born, waits;
    /* A thread of the command itself. */
    int is_thread;
};

static struct process processes[MOST];
static int process_count, have_monitor, have_init;
static volatile sig_atomic_t late;

static struct process *find(pid_t pid)
{
    for (int i = 0; i < process_count; i++)
        if (processes[i].pid == pid)
            return &processes[i];
    if (process_count == MOST) {
        fprintf(stderr, "killer: too many processes\n");
        exit(2);
    }
    processes[process_count] = (struct process){.pid = pid, .role = OTHER};
    return &processes[process_count++];
}

static int is_thread_of_cli(pid_t pid)
{
    char path[64], line[256];
    int group = -1;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Tgid: %d", &group) == 1)
            break;
    if (file)
        fclose(file);
    return group == processes[0].pid;
}

/* Whether a call changes files, or would. */
static int changes(const struct user_regs_struct *registers)
{
    switch (registers->orig_rax) {
    case SYS_openat:
        return (registers->rdx & (O_CREAT | O_TMPFILE | O_TRUNC)) != 0;
    case SYS_write:
    case SYS_pwrite64:
    case SYS_writev:
    case SYS_copy_file_range:
    case SYS_ftruncate:
    case SYS_rename:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_link:
    case SYS_linkat:
    case SYS_symlinkat:
    case SYS_unlink:
    case SYS_unlinkat:
    case SYS_rmdir:
    case SYS_mkdirat:
    case SYS_mknodat:
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_syncfs:
    case SYS_fchmod:
    case SYS_fchmodat:
    case SYS_fchownat:
    case SYS_utimensat:
    case SYS_setxattr:
    case SYS_fsetxattr:
        return 1;
    default:
        return 0;
    }
}

/* A new process has its role from its parent's. */
static void born(pid_t pid, enum role parent)
{
    struct process *child = find(pid);
    child->role = OTHER;
    child->is_thread = (parent == CLI || parent == SPAWNER) && is_thread_of_cli(pid);
    if (parent == CLI || parent == SPAWNER)
        child->role = SPAWNER;
    if (parent == MONITOR && !have_init) {
        child->role = INIT;
        have_init = 1;
    }
    if (parent == PROGRAM)
        child->role = PROGRAM;
    child->is_born = 1;
    if (child->waits)
        ptrace(PTRACE_SYSCALL, pid, 0, 0);
}

static void executed(struct process *process)
{
    if (process->role == SPAWNER && !have_monitor) {
        process->role = MONITOR;
        have_monitor = 1;
    } else if (process->role == INIT) {
        process->role = PROGRAM;
    }
    process->in_call = 1; /* the stop at the exit of execve comes next */
}

static void on_alarm(int signal)
{
    (void)signal;
    late = 1;
}

static void start(char **command)
{
    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execvp(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    int status;
    waitpid(pid, &status, 0);
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                   PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    ptrace(PTRACE_SETOPTIONS, pid, 0, options);
    find(pid)->role = CLI;
    find(pid)->stopped_first = find(pid)->is_born = 1;
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
}

int main(int count, char **words)
{
    if (count < 5) {
        fprintf(stderr, "usage: killer ROLE N SECONDS COMMAND...\n");
        return 2;
    }
    int target = 0;
    while (target < ROLES && strcmp(words[1], names[target]))
        target++;
    long n = atol(words[2]), calls = 0, killed = -1;
    int code = -1;
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    alarm(atoi(words[3]));
    start(words + 4);
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0 && errno == EINTR && late) {
            for (int i = 0; i < process_count; i++)
                if (processes[i].pid > 0) /* -1, one that has ended, would be everybody */
                    kill(processes[i].pid, SIGKILL);
            printf("hung %ld\n", killed);
            return 3;
        }
        if (pid < 0)
            break;
        struct process *process = find(pid);
        if (!WIFSTOPPED(status)) {
            if (process->role == CLI)
                code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
            process->pid = -1;
            continue;
        }
        int signal = WSTOPSIG(status), event = status >> 16, deliver = 0;
        if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
            unsigned long child;
            ptrace(PTRACE_GETEVENTMSG, pid, 0, &child);
            born((pid_t)child, process->role);
        } else if (event == PTRACE_EVENT_EXEC) {
            executed(process);
        } else if (signal == (SIGTRAP | 0x80)) {
            process->in_call = !process->in_call;
            struct user_regs_struct registers = {0};
            int counts = process->in_call && (int)process->role == target;
            if (process->in_call && target == STORE && (process->role == CLI || process->is_thread)) {
                ptrace(PTRACE_GETREGS, pid, 0, &registers);
                counts = changes(&registers);
            }
            if (counts && ++calls == n && killed < 0) {
                ptrace(PTRACE_GETREGS, pid, 0, &registers);
                killed = (long)registers.orig_rax;
                kill(pid, SIGKILL);
            }
        } else if (signal == SIGSTOP && !process->stopped_first) {
            process->stopped_first = 1; /* how a new tracee announces itself */
            process->waits = !process->is_born;
            if (process->waits)
                continue;
        } else if (event == 0 && signal != SIGTRAP) {
            deliver = signal;
        }
        ptrace(PTRACE_SYSCALL, pid, 0, deliver);
    }
    if (killed >= 0)
        printf("killed %ld %d\n", killed, code);
    else
        printf("passed %ld %d\n", calls, code);
    return 0;
}
