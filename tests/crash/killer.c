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
 *
 * usage: killer ROLE N SECONDS COMMAND...
 * It prints "killed CALL CODE" (the call's number and the command's exit code), or "passed COUNT
 * CODE" when the role made fewer than n calls, and ends when the last process has. When SECONDS are over it kills what is left, prints
 * "hung" and ends with 3.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum role { CLI, SPAWNER, MONITOR, INIT, PROGRAM, OTHER };
static const char *const names[] = {"cli", "spawner", "monitor", "init", "program", "other"};
enum { ROLES = 6, MOST = 512 };

struct process {
    pid_t pid;
    enum role role;
    int in_call, stopped_first;
    /* Its parent's event has come; its first stop may come earlier, and then it waits for that. */
    int is_born, waits;
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

/* A new process has its role from its parent's. */
static void born(pid_t pid, enum role parent)
{
    struct process *child = find(pid);
    child->role = OTHER;
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
            if (process->in_call && (int)process->role == target && ++calls == n && killed < 0) {
                struct user_regs_struct registers;
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
