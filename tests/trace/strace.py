"""What programs did, from what strace wrote: processes with their program, and each call as a fact.

A fact says what a call reaches, not how it was made: ("read", "/etc/passwd"). Calls that reach nothing new, which work with what
is open already or ask the kernel about oneself, are no facts; every call that is not known here is a fact of its own, so that what
nobody thought of is outside of every row.
"""
import dataclasses, os, pathlib, re

# Descriptors, memory, time, oneself: what they work with was opened before, and that was seen.
QUIET = set("""
read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 close close_range lseek sendfile splice tee vmsplice
copy_file_range recvfrom recvmsg recvmmsg accept accept4 shutdown getsockname getpeername getsockopt setsockopt socketpair
pipe pipe2 dup dup2 dup3 fcntl flock fsync fdatasync sync_file_range syncfs ftruncate fallocate fadvise64 readahead
poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4
timerfd_create timerfd_settime timerfd_gettime memfd_create
mmap munmap mremap mprotect madvise msync mincore mlock munlock brk membarrier
fstat newfstatat stat lstat statx access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd statfs fstatfs
getxattr lgetxattr fgetxattr
futex futex_waitv nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times alarm setitimer getitimer pause
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack restart_syscall
getpid gettid getppid getpgid getpgrp getsid getuid geteuid getgid getegid getresuid getresgid getgroups setsid setpgid
wait4 waitid pidfd_open exit exit_group set_tid_address set_robust_list get_robust_list rseq arch_prctl getrandom
sched_yield sched_getaffinity sched_getparam sched_getscheduler getcpu getpriority
umask uname sysinfo getrlimit getrusage inotify_init inotify_init1 inotify_rm_watch capget
""".split())
# Those that bring bytes of others, if they are of descriptor 0 and that is a pipe or a connection.
HEARING = re.compile(r"(read|readv|recvfrom|recvmsg)\(0<(pipe|socket):")
# A quiet call that a wall refuses. Files that a user may not see are not the walls' business.
REFUSED = re.compile(r"(?!newfstatat|stat|lstat|statx|access|faccessat|readlink).* = -1 (EACCES|EPERM|ENOSYS) .*")

# Environments are shown too.
OPTIONS = ["-ff", "-y", "-e", "abbrev=!execve", "-s", "300", "-e", "signal=none"]

LOOKS = {"TCGETS", "TIOCGWINSZ", "FIONREAD", "FIONBIO", "FIOCLEX", "FIONCLEX", "TIOCGPGRP"}
OPTIONS_OF_ONESELF = {"PR_SET_NO_NEW_PRIVS", "PR_GET_NO_NEW_PRIVS", "PR_SET_DUMPABLE", "PR_GET_DUMPABLE", "PR_SET_NAME", "PR_GET_NAME",
                      "PR_SET_PDEATHSIG", "PR_SET_VMA", "PR_CAPBSET_READ", "PR_SET_KEEPCAPS"}
# What reaches two names, and what one, as (argument of the directory or None, argument of the path).
MAKES = {"unlink": [(None, 0)], "unlinkat": [(0, 1)], "rmdir": [(None, 0)], "mkdir": [(None, 0)], "mkdirat": [(0, 1)],
         "mknod": [(None, 0)], "mknodat": [(0, 1)], "symlink": [(None, 1)], "symlinkat": [(1, 2)], "creat": [(None, 0)],
         "rename": [(None, 0), (None, 1)], "renameat": [(0, 1), (2, 3)], "renameat2": [(0, 1), (2, 3)],
         "link": [(None, 0), (None, 1)], "linkat": [(0, 1), (2, 3)]}
WRITES = {"truncate": [(None, 0)], "chmod": [(None, 0)], "fchmodat": [(0, 1)], "fchmodat2": [(0, 1)], "chown": [(None, 0)],
          "lchown": [(None, 0)], "fchownat": [(0, 1)], "utime": [(None, 0)], "utimes": [(None, 0)], "utimensat": [(0, 1)],
          "futimesat": [(0, 1)], "setxattr": [(None, 0)], "lsetxattr": [(None, 0)], "removexattr": [(None, 0)],
          "fchmod": [(0, None)], "fchown": [(0, None)], "fsetxattr": [(0, None)]}

LINE = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+|\?|0x[0-9a-f]+)(?:<([^>]*)>)?(?: (E[A-Z0-9]+))?.*", re.S)
CUT = re.compile(r"(\w+)\((.*?)(?: <unfinished \.\.\.>)?\)?\s*= \?.*", re.S)


class Unreadable(Exception):
    """A line that this parser does not understand."""


def arguments(text):
    """The arguments of a call, split at the commas that stand outside of quotes and brackets."""
    found, depth, start, at = [], 0, 0, 0
    while at < len(text):
        c = text[at]
        if c == '"':
            at += 1
            while at < len(text) and text[at] != '"':
                at += 2 if text[at] == "\\" else 1
        elif c == "<" and at and (text[at - 1].isdigit() or text[at - 1] == "D"):
            # What -y adds to a descriptor.
            at = text.find(">", at)
            if at < 0:
                raise Unreadable(text)
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "," and depth == 0:
            found.append(text[start:at].strip())
            start = at + 1
        at += 1
    last = text[start:].strip()
    return found + [last] if last or found else []


def unquote(text):
    """The bytes of a string of strace as text; None for what is no string."""
    match = re.match(r'"((?:[^"\\]|\\.)*)"', text, re.S)
    if not match:
        return None
    raw = re.sub(r"\\([0-7]{1,3}|x[0-9a-f]{2}|.)", lambda m: decode(m.group(1)), match.group(1))
    return raw


def decode(escape):
    if escape[0] in "01234567":
        return chr(int(escape, 8))
    if escape[0] == "x" and len(escape) == 3:
        return chr(int(escape[1:], 16))
    return {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}.get(escape, escape)


def strings(text):
    """The strings of an array."""
    return [unquote(w) or "" for w in arguments(text.strip("[]"))]


def described(text):
    """The path that -y says a descriptor stands for."""
    match = re.match(r"[^<]*<([^>]*)>", text or "")
    return match.group(1) if match else None


@dataclasses.dataclass
class Life:
    """A process between one exec or fork and the next exec."""
    pid: int
    parent: int
    program: str        # the file that it runs
    words: list         # its arguments
    cwd: str
    began: str          # where it was when it became this program
    uid: int            # effective
    env: dict = dataclasses.field(default_factory=dict)
    walls: frozenset = frozenset()
    copy: bool = False  # made by fork, and no program run since
    heard: bool = False # whether it has read what others say on descriptor 0
    process: int = 0    # the process, of which a thread is a part


@dataclasses.dataclass(frozen=True)
class Fact:
    kind: str           # "refusal", "late": about walls, not about rows
    object: str
    line: str
    refused: bool = False


def resolve(life, directory, path):
    """A path as seen by a process; links in it are not followed, unless they stand before a `..`."""
    base = life.cwd if directory is None else described(directory) or life.cwd
    if path is None or path == "":
        return base
    return os.path.normpath(os.path.join(base, path))


def facts(life, name, args, result, given, error):
    """The facts of one call, as (kind, object). Changes what is known of the process."""
    def path(directory, at):
        return resolve(life, None if directory is None else args[directory], None if at is None else unquote(args[at]))
    if name in ("open", "openat", "openat2"):
        flags = args[1 if name == "open" else 2]
        where = path(None if name == "open" else 0, 0 if name == "open" else 1)
        if "O_PATH" in flags:
            return []
        # What was opened is known better than its name, if links led there.
        if given and given.startswith("/") and "/proc/" not in where:
            link(where, given)
            where = given
        kind = "make" if "O_CREAT" in flags or "O_TMPFILE" in flags else "write" if "O_WRONLY" in flags or "O_RDWR" in flags else "read"
        return [(kind, where)]
    if name in MAKES:
        return [("make", path(*pair)) for pair in MAKES[name]]
    if name in WRITES:
        return [("write", where) for where in (path(*pair) for pair in WRITES[name]) if where.startswith("/")]
    if name in ("chdir", "fchdir"):
        if result == "0":
            life.cwd = described(args[0]) if name == "fchdir" else path(None, 0)
        return []
    if name == "inotify_add_watch":
        return [("read", path(None, 1))]
    if name in ("execve", "execveat"):
        return [("run", path(None, 0) if name == "execve" else path(0, 1))]
    if name in ("clone", "clone3", "fork", "vfork"):
        all_args = " ".join(args)
        spaces = [("call", f) for f in re.findall(r"CLONE_NEW\w+", all_args)]
        return spaces + [("thread", "") if "CLONE_THREAD" in all_args else ("process", "")]
    if name.startswith("set") and name.endswith("id") and error == "EPERM" and set(args) <= {"0", "-1"}:
        # Whether the way back is closed.
        return []
    if name in ("setuid", "setreuid", "setresuid", "setfsuid"):
        if result == "0" and name != "setfsuid":
            effective = args[1] if len(args) > 1 else args[0]
            life.uid = int(effective) if effective != "-1" else life.uid
        return [("user", a) for a in args if a != "-1"]
    if name in ("setgid", "setregid", "setresgid", "setfsgid"):
        return [("group", a) for a in args if a != "-1"]
    if name == "setgroups":
        return [("group", g) for g in re.findall(r"\d+", args[1])]
    if name == "socket":
        kind = args[1].split("|")[0]
        if given:
            SOCKETS[given] = "UDP" if kind == "SOCK_DGRAM" else "TCP"
        usual = args[0] in ("AF_INET", "AF_INET6", "AF_UNIX") and kind in ("SOCK_STREAM", "SOCK_DGRAM")
        return [] if usual else [("socket", f"{args[0]} {kind}")]
    if name == "listen":
        return [("listen", "")]
    if name in ("connect", "bind", "sendto", "sendmsg", "sendmmsg"):
        return address(life, name, args)
    if name in ("kill", "tkill", "tgkill", "pidfd_send_signal"):
        return [("signal", described(args[0]) or args[-2])]
    if name == "prlimit64":
        return [] if args[0] in ("0", str(life.pid)) else [("call", "prlimit64 of another")]
    if name == "setrlimit":
        return []
    if name == "prctl":
        return [] if args[0] in OPTIONS_OF_ONESELF else [("call", f"prctl {args[0]}")]
    if name == "ioctl":
        return [] if args[1] in LOOKS else [("call", f"ioctl {args[1]}")]
    if name == "landlock_restrict_self":
        if result == "0":
            life.walls |= {"Landlock"}
        return []
    if name == "seccomp":
        if result == "0" and "SET_MODE_FILTER" in args[0]:
            life.walls |= {"seccomp"}
        return []
    if name in ("landlock_create_ruleset", "landlock_add_rule"):
        return []
    return [("call", name)]


# {socket of -y: its kind}
SOCKETS = {}
# {path as a program named it: what links made of it}; the links may be gone when the traces are read.
LINKS = {}


def link(name, true):
    if name != true:
        LINKS.setdefault(name, set()).add(true)


def address(life, name, args):
    text = ", ".join(args[1:])
    family = re.search(r"sa_family=(AF_\w+)", text)
    if not family:
        return []
    family = family.group(1)
    verb = "bind" if name == "bind" else "connect"
    if family == "AF_UNIX":
        where = re.search(r'sun_path=(@?"(?:[^"\\]|\\.)*")', text)
        if not where:
            return []
        quoted = where.group(1)
        if quoted.startswith("@"):
            return [(verb, f"abstract {quoted}")]
        where = resolve(life, None, unquote(quoted))
        return [("make" if name == "bind" else "connect", where)]
    if family in ("AF_INET", "AF_INET6"):
        port = re.search(r"sin6?_port=htons\((\d+)\)", text).group(1)
        return [(verb, f"{SOCKETS.get(described(args[0]), 'unknown socket')} {port}")]
    # That one dissolves an association.
    return [] if family == "AF_UNSPEC" else [("socket", family)]


def read(directory, first):
    """Every (life, fact) of the processes whose traces are in a directory, parents first; `first` is the one that began."""
    files = {int(p.name.rsplit(".", 1)[1]): p for p in pathlib.Path(directory).glob("t.*")}
    waiting = [Life(pid=first, parent=0, program="", words=[], cwd="/", began="/", uid=0, process=first)]
    calls, found, lives = 0, [], []
    while waiting:
        life = waiting.pop()
        at = files.pop(life.pid, None)
        lives.append(life)
        if at is None:
            continue
        for line in at.read_text(errors="surrogateescape").splitlines():
            if line.startswith(("+++", "---")):
                continue
            calls += 1
            name = line.partition("(")[0]
            if name in QUIET:
                if not life.heard and HEARING.match(line):
                    life.heard = True
                elif life.walls and REFUSED.fullmatch(line):
                    found.append((dataclasses.replace(life), Fact("refusal", name, line, True)))
                elif "PROT_WRITE" in line and "PROT_EXEC" in line:
                    found.append((dataclasses.replace(life), Fact("call", "code that can be written", line)))
                continue
            match = LINE.fullmatch(line)
            if not match:
                # The process ended inside of the call.
                cut = CUT.fullmatch(line)
                if not cut:
                    raise Unreadable(f"{at.name}: {line}")
                name, text, result, given, error = cut.group(1), cut.group(2), "?", None, None
            else:
                name, text, result, given, error = match.groups()
            args = arguments(text)
            here = re.search(r"AT_FDCWD<([^>]*)>", text)
            if here:
                link(life.cwd, here.group(1))
                life.cwd = here.group(1)
            before = dataclasses.replace(life)
            for kind, object in facts(life, name, args, result, given, error):
                found.append((before, Fact(kind, object, line, bool(before.walls) and error in ("EACCES", "EPERM", "ENOSYS"))))
            if life.walls > before.walls and life.heard:
                found.append((before, Fact("late", name, line)))
            if name in ("clone", "clone3", "fork", "vfork") and result.isdigit():
                thread = "CLONE_THREAD" in text
                waiting.append(dataclasses.replace(life, pid=int(result), parent=life.parent if thread else life.process, copy=not thread, heard=thread and life.heard,
                                                   process=life.process if thread else int(result)))
            if name == "execve" and result == "0":
                life = become(life, args)
                lives.append(life)
    return lives, found, calls, sorted(files)


def become(life, args):
    """A process after an exec."""
    program = os.path.realpath(resolve(life, None, unquote(args[0])))
    words = strings(args[1])
    env = dict(pair.split("=", 1) for pair in strings(args[2]) if "=" in pair)
    uid = life.uid
    try:
        status = os.stat(program)
        if status.st_mode & 0o4000:
            uid = status.st_uid
    except OSError:
        pass
    return dataclasses.replace(life, program=program, words=words, began=life.cwd, uid=uid, env=env, walls=frozenset(), copy=False, heard=False)
