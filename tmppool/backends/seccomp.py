"""The system calls that a notebook may make: a table with reasons, and the seccomp profile made from it.

Calls in no group are refused with EPERM. The table is an allow-list, like the engine's own profile (Docker
documentation, "Seccomp security profiles"), but narrower: four socket families, no kernel AIO or io_uring, no keys,
no BPF, no tracing, no new namespaces, and the machine's native ABI only. The engine's library ignores names that it
does not know, so one table serves old and new engines.
"""

import errno
import json
import socket
from pathlib import Path
from typing import Any

from tmppool.errors import BackendError

ALLOWED = {
    "bytes in and out": """
        read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek sendfile copy_file_range splice
        tee readahead fadvise64 sync_file_range fsync fdatasync syncfs
    """,
    "files by name": """
        open openat openat2 creat close close_range access faccessat faccessat2 stat lstat fstat newfstatat statx
        readlink readlinkat getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat
        renameat2 link linkat symlink symlinkat truncate ftruncate fallocate statfs fstatfs umask flock
        name_to_handle_at
    """,
    "owners, modes, times and attributes; mknod also makes a FIFO, devices need a capability": """
        chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat futimesat mknod mknodat
        getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr fsetxattr removexattr
        lremovexattr fremovexattr getxattrat listxattrat setxattrat removexattrat file_getattr file_setattr
    """,
    "descriptors and waiting for them": """
        dup dup2 dup3 fcntl ioctl pipe pipe2 poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl
        epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4
        timerfd_create timerfd_settime timerfd_gettime inotify_init inotify_init1 inotify_add_watch inotify_rm_watch
        memfd_create
    """,
    "sockets, once made": """
        bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt send sendto sendmsg
        sendmmsg recv recvfrom recvmsg recvmmsg
    """,
    "memory; numerical libraries place theirs": """
        brk mmap mprotect munmap mremap madvise process_madvise mincore msync mlock mlock2 munlock mlockall munlockall
        mseal remap_file_pages membarrier pkey_alloc pkey_free pkey_mprotect map_shadow_stack mbind get_mempolicy
        set_mempolicy set_mempolicy_home_node cachestat
    """,
    "processes and threads; clone is below": """
        fork vfork execve execveat exit exit_group wait4 waitid set_tid_address set_robust_list get_robust_list futex
        futex_waitv futex_wait futex_wake futex_requeue rseq arch_prctl prctl getcpu gettid getpid getppid getpgid
        getpgrp setpgid getsid setsid pidfd_open pidfd_send_signal process_mrelease restart_syscall
    """,
    "signals": """
        kill tkill tgkill pause alarm rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait
        rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn sigaltstack
    """,
    "who one is; without a capability one can become nobody else": """
        getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid setresuid setresgid
        setfsuid setfsgid setgroups capget capset
    """,
    "scheduling of one's own, and limits": """
        sched_yield sched_getparam sched_setparam sched_getscheduler sched_setscheduler sched_getattr sched_setattr
        sched_getaffinity sched_setaffinity sched_get_priority_max sched_get_priority_min sched_rr_get_interval
        getpriority setpriority ioprio_get ioprio_set getrlimit setrlimit prlimit64 getrusage times
    """,
    "clocks; setting them needs a capability": """
        time gettimeofday clock_gettime clock_getres nanosleep clock_nanosleep getitimer setitimer timer_create
        timer_settime timer_gettime timer_getoverrun timer_delete adjtimex clock_adjtime
    """,
    "shared memory and semaphores, in the container's own IPC namespace": """
        shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl
    """,
    "about the machine, and randomness": "uname sysinfo getrandom",
    "what only narrows: filters of one's own": """
        seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
    """,
    "the kernel's own return from a probe that the host's operator has set": "uretprobe",
}
"""Calls that are allowed with any arguments: names separated by whitespace, by purpose."""

REFUSED = {
    "a ring of its own beside every rule made here, and a large part of all kernel exploits": """
        io_uring_setup io_uring_enter io_uring_register
    """,
    "namespaces and mounts: in a user namespace a visitor would be root": """
        unshare setns mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr
        statmount listmount
    """,
    "keys are counted for each user of the host, and are not namespaced": "add_key request_key keyctl",
    "programs and counters inside the kernel": "bpf perf_event_open",
    "looking into other processes, and holding the kernel up while it reads memory": """
        ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd userfaultfd memfd_secret vmsplice
    """,
    "what concerns the host": """
        acct init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff quotactl
        quotactl_fd settimeofday clock_settime sethostname setdomainname syslog vhangup lookup_dcookie nfsservctl
        open_by_handle_at fanotify_init fanotify_mark move_pages migrate_pages
    """,
    "old interfaces of one architecture": "ioperm iopl modify_ldt uselib ustat sysfs _sysctl socketcall ipc",
}
"""Calls refused with EPERM by name: a runtime answers ENOSYS to calls newer than any in the profile."""

MISSING = {
    "its flags are in memory, where no filter can read them; the C library then uses clone": "clone3",
    "kernel-wide counters that one visitor could use up": """
        io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents
        mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr
    """,
}
"""Calls that fail with ENOSYS, so that programs use a fallback."""

IDLE = {"it would make the whole host write to its disks, and nothing of a notebook is on one": "sync"}
"""Calls that return success without doing anything."""

_NETLINK_ROUTE = 0  # linux/netlink.h; getifaddrs(3) uses it
_TYPE = 0xF  # of socket(2)'s second argument, beside SOCK_CLOEXEC and SOCK_NONBLOCK (linux/net.h)
_STREAMS = (0, socket.IPPROTO_TCP)
_DATAGRAMS = (0, socket.IPPROTO_UDP)
_INET: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (socket.AF_INET, socket.SOCK_STREAM, _STREAMS),
    (socket.AF_INET, socket.SOCK_DGRAM, (*_DATAGRAMS, socket.IPPROTO_ICMP)),
    (socket.AF_INET6, socket.SOCK_STREAM, _STREAMS),
    (socket.AF_INET6, socket.SOCK_DGRAM, (*_DATAGRAMS, socket.IPPROTO_ICMPV6)),
)
"""TCP, UDP and ping: family, type and protocols; 0 is the type's default.

The types count, since another type's default is SCTP or DCCP, for which the kernel loads a module.
"""
_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW* of clone(2), linux/sched.h
_PERSONALITIES = (0x0, 0x20000, 0xFFFFFFFF)  # PER_LINUX, UNAME26, and the query: personality(2)
_ARCHITECTURES = ("SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64")


def profile() -> str:
    """Return tmppool's profile as the JSON text for ``seccomp=`` in HostConfig.SecurityOpt."""
    rules = [
        _rule(_names(ALLOWED)),
        _rule(_names(REFUSED), error=errno.EPERM),
        _rule(_names(MISSING), error=errno.ENOSYS),
        _rule(_names(IDLE), error=0),
        _rule(["clone"], _is(0, _NEW_NAMESPACES, 0, op="SCMP_CMP_MASKED_EQ")),
        _rule(["socketpair"], _is(0, socket.AF_UNIX)),
    ]
    rules.append(_rule(["socket"], _is(0, socket.AF_UNIX)))
    rules.append(_rule(["socket"], _is(0, socket.AF_NETLINK), _is(2, _NETLINK_ROUTE)))
    rules += [
        _rule(["socket"], _is(0, family), _is(1, _TYPE, kind, op="SCMP_CMP_MASKED_EQ"), _is(2, protocol))
        for family, kind, protocols in _INET
        for protocol in protocols
    ]
    rules += [_rule(["personality"], _is(0, persona)) for persona in _PERSONALITIES]
    # The engine picks the machine's architecture; without sub-architectures no 32-bit call is allowed.
    natives = [{"architecture": name, "subArchitectures": []} for name in _ARCHITECTURES]
    return json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "archMap": natives, "syscalls": rules})


def load(wanted: str) -> str | None:
    """Return the profile for a setting: ``tmppool``, ``engine`` (returns None) or the path of a file.

    Does blocking I/O: call it in a thread. Raises BackendError.
    """
    if wanted == "engine":
        return None
    if wanted == "tmppool":
        return PROFILE
    try:
        text = Path(wanted).read_text(encoding="utf-8")
        found = json.loads(text)
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except (ValueError, RecursionError):
        problem = "is not JSON"
    else:
        if isinstance(found, dict) and "defaultAction" in found:
            return text
        problem = 'has no "defaultAction"'
    raise BackendError(
        f"--seccomp: {wanted} {problem}; it must be tmppool, engine or a file in the engine's profile format",
        transient=False,
    )


def _names(groups: dict[str, str]) -> list[str]:
    return [name for words in groups.values() for name in words.split()]


def _rule(names: list[str], *conditions: dict[str, Any], error: int | None = None) -> dict[str, Any]:
    if error is None:
        return {"names": names, "action": "SCMP_ACT_ALLOW", "args": list(conditions)}
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": error}


def _is(index: int, value: int, second: int = 0, *, op: str = "SCMP_CMP_EQ") -> dict[str, Any]:
    """Return a condition on one argument; for MASKED_EQ, ``value`` is the mask and ``second`` the wanted result."""
    return {"index": index, "value": value, "valueTwo": second, "op": op}


PROFILE = profile()
