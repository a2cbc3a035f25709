/*
 * The floor: the system calls that a container costs, and nothing else.
 *
 * Makes, runs and removes one container with its own mount, pid, uts, ipc, network and cgroup
 * namespaces and four v1 cgroups (none where the controllers are not mounted as v1): an overlay
 * with a new upper directory, proc, sysfs, a tmpfs /dev with its nodes, devpts, shm and mqueue,
 * pivot_root, exec of /bin/true. `cargo xtask bench start` times whole processes of it next to
 * the engines, so that every figure can be read as "times the floor".
 *
 * usage: floor LOWER      LOWER: a tree with a static /bin/true and empty proc, dev and sys
 * build: gcc -O2 -static
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const controllers[] = {"memory", "cpu", "pids", "devices"};
enum { CONTROLLERS = 4 };

static void die(const char *what)
{
    perror(what);
    _exit(125);
}

static void must(int result, const char *what)
{
    if (result < 0)
        die(what);
}

static void device(const char *path, unsigned major_number, unsigned minor_number)
{
    must(mknod(path, S_IFCHR | 0666, makedev(major_number, minor_number)), path);
}

static void mount_dev(void)
{
    must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755"), "dev");
    device("dev/null", 1, 3);
    device("dev/zero", 1, 5);
    device("dev/full", 1, 7);
    device("dev/random", 1, 8);
    device("dev/urandom", 1, 9);
    device("dev/tty", 5, 0);
    mkdir("dev/pts", 0755);
    must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
               "newinstance,ptmxmode=0666,mode=0620"), "dev/pts");
    mkdir("dev/shm", 01777);
    must(mount("shm", "dev/shm", "tmpfs", 0, "mode=1777,size=65536k"), "dev/shm");
    mkdir("dev/mqueue", 0755);
    must(mount("mqueue", "dev/mqueue", "mqueue", 0, NULL), "dev/mqueue");
}

static void container(int go, const char *lower, const char *base)
{
    char options[1024], merged[256], byte;
    if (read(go, &byte, 1) != 1)
        _exit(125);
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/u,workdir=%s/w", lower, base, base);
    snprintf(merged, sizeof merged, "%s/m", base);
    must(mount("overlay", merged, "overlay", 0, options), "overlay");
    must(chdir(merged), "chdir");
    must(mount("proc", "proc", "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL), "proc");
    mount_dev();
    must(mount("sysfs", "sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL), "sys");
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "detach");
    must(chdir("/"), "chdir /");
    must(sethostname("floor", 5), "sethostname");
    execl("/bin/true", "true", NULL);
    die("exec");
}

static int make_cgroup(char *path, size_t size, const char *controller)
{
    snprintf(path, size, "/sys/fs/cgroup/%s/floor-%d", controller, getpid());
    return mkdir(path, 0755);
}

static void join(const char *cgroup, pid_t pid)
{
    char path[256], text[16];
    snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
    int fd = open(path, O_WRONLY | O_CLOEXEC), length = snprintf(text, sizeof text, "%d", pid);
    must(fd, path);
    if (write(fd, text, length) != length)
        die(path);
    close(fd);
}

int main(int count, char **words)
{
    if (count != 2) {
        fprintf(stderr, "usage: floor LOWER\n");
        return 2;
    }
    char base[64], path[128], cgroups[CONTROLLERS][128];
    int made[CONTROLLERS], go[2], status;
    snprintf(base, sizeof base, "floor-%d", getpid());
    must(mkdir(base, 0755), base);
    for (const char *part = "uwm"; *part; part++) {
        snprintf(path, sizeof path, "%s/%c", base, *part);
        must(mkdir(path, 0755), path);
    }
    for (int i = 0; i < CONTROLLERS; i++)
        made[i] = make_cgroup(cgroups[i], sizeof cgroups[i], controllers[i]) == 0;
    must(pipe2(go, O_CLOEXEC), "pipe");
    struct clone_args arguments = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP,
        .exit_signal = SIGCHLD,
    };
    pid_t pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    must(pid, "clone3");
    if (pid == 0) {
        close(go[1]);
        container(go[0], words[1], base);
    }
    for (int i = 0; i < CONTROLLERS; i++)
        if (made[i])
            join(cgroups[i], pid);
    if (write(go[1], "x", 1) != 1)
        die("go");
    must(waitpid(pid, &status, 0), "wait");
    for (int i = 0; i < CONTROLLERS; i++)
        if (made[i])
            rmdir(cgroups[i]);
    const char *const parts[] = {"w/work", "w", "u", "m"};
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", base, parts[i]);
        rmdir(path);
    }
    rmdir(base);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
