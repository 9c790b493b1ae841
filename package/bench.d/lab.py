"""What the parts of package/bench share: a place, processes in a group that is measured, load, sinks, medians.

Python 3 standard library. Everything talks to 127.0.0.1 on ports that are free at the time; every wait has an end; only
processes that were started here are ended.
"""
import atexit, os, re, select, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

HOST = "127.0.0.1"
SIZE = 4096  # bytes of a message's body
PLACE = os.environ.get("BENCH_PLACE", "")  # made by package/bench: a fresh file system
OURS = os.environ.get("BENCH_OURS", "")    # the programs of command/


# Whoever is told to stop leaves nothing behind.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def scratch():
    """A directory to work in, which goes at the end."""
    made = tempfile.mkdtemp(prefix="qmail-bench.")
    atexit.register(shutil.rmtree, made, True)
    os.chdir(made)


def note(*words):
    print("#", *words, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind((HOST, 0))
        return s.getsockname()[1]


def until(condition, seconds, step=0.02):
    """The first true value of `condition`, or its last one when the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


class Group:
    """A cgroup (version 1 or 2) for the processes of one system: the CPU time of all of them, also of those that ended."""

    def __init__(self, name):
        self.dir = None
        for root, file in (("/sys/fs/cgroup/cpuacct", "cpuacct.usage"), ("/sys/fs/cgroup", "cpu.stat")):
            path = f"{root}/qmail-bench-{os.getpid()}-{name}"
            try:
                os.mkdir(path)
            except OSError:
                continue
            if os.path.exists(f"{path}/{file}"):
                self.dir, self.file = path, f"{path}/{file}"
                return
            os.rmdir(path)
        note("no cgroup: CPU time is not measured")

    def enter(self):
        if self.dir:
            with open(f"{self.dir}/cgroup.procs", "w") as f:
                f.write(str(os.getpid()))

    def cpu(self):
        """Seconds so far."""
        if not self.dir:
            return None
        text = open(self.file).read()
        found = re.search(r"usage_usec (\d+)", text)
        return int(found.group(1)) / 1e6 if found else int(text) / 1e9

    def pids(self):
        try:
            return [int(p) for p in open(f"{self.dir}/cgroup.procs").read().split()] if self.dir else []
        except OSError:
            return []

    def end(self):
        """Ends whatever is left."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids():
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    pass
            if until(lambda: not self.pids(), 5):
                break
        if self.dir:
            until(lambda: self._remove(), 3)

    def _remove(self):
        try:
            os.rmdir(self.dir)
            return True
        except OSError:
            return not os.path.isdir(self.dir)


def pss(pids):
    """Kilobytes of memory, shared pages divided by those who share them."""
    total = 0
    for pid in pids:
        try:
            found = re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M)
        except OSError:
            continue
        total += int(found.group(1)) if found else 0
    return total


def flushes():
    """Flushes of the device below the place so far; None if it does not tell."""
    # Not that of the place: btrfs has device numbers of its own.
    device = os.stat(os.environ.get("BENCH_DEVICE", PLACE)).st_rdev
    try:
        fields = open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read().split()
        return int(fields[15])
    except (OSError, IndexError):
        return None


def processors():
    """Seconds that all processors together were busy so far, and that they were there."""
    user, nice, system, idle, iowait, *other = (int(n) / os.sysconf("SC_CLK_TCK") for n in open("/proc/stat").readline().split()[1:9])
    busy = user + nice + system + sum(other)
    return busy, busy + idle + iowait


class Measured:
    """with Measured(group) as m: ...   afterwards m.seconds, m.cpu, m.flushes; m.load, the CPU seconds of programs that were
    run and waited for meanwhile; m.busy, the share of the machine's processors that was in use, by whomever"""

    def __init__(self, group):
        self.group = group

    def __enter__(self):
        os.sync()
        self._cpu, self._flushes, self._begin = self.group.cpu(), flushes(), time.monotonic()
        self._load, self._processors = os.times(), processors()
        return self

    def stop(self):
        """The clock stops here, if the end of the block is later than the event."""
        self.seconds = time.monotonic() - self._begin

    def __exit__(self, *_):
        if not hasattr(self, "seconds"):
            self.stop()
        cpu, flushed, load = self.group.cpu(), flushes(), os.times()
        busy, there = (now - then for now, then in zip(processors(), self._processors))
        self.busy = busy / there if there else None
        self.load = load.children_user + load.children_system - self._load.children_user - self._load.children_system
        self.cpu = None if cpu is None else cpu - self._cpu
        self.flushes = None if flushed is None else flushed - self._flushes


def send(port, count, sessions, recipient, keep=False, recipients=1, limit=600):
    """smtp-source: `count` messages, all acknowledged."""
    words = ["smtp-source", "-s", str(min(sessions, count)), "-m", str(count), "-l", str(SIZE), "-C", "10",
             "-M", "client.test", "-f", "sender@sink.test", "-t", recipient]
    words += ["-d"] if keep else []
    words += ["-r", str(recipients)] if recipients > 1 else []
    done = subprocess.run(words + [f"{HOST}:{port}"], capture_output=True, timeout=limit)
    if done.returncode:
        raise RuntimeError(f"smtp-source: {done.stderr[-300:]!r} {done.stdout[-300:]!r}")


class Sink:
    """smtp-sink, with its counters; `more` are its options."""

    def __init__(self, more=(), dump=False):
        self.port, self.file = free_port(), f"{PLACE}/sink.{os.urandom(4).hex()}"
        self.out = open(self.file, "wb")
        self.dump = f"/dev/shm/{os.path.basename(self.file)}" if dump else None
        words = ["smtp-sink", "-c", "-m", "4000", "-u", "nobody", *more] + (["-D", self.dump] if dump else [])
        self.process = subprocess.Popen([*words, f"{HOST}:{self.port}", "1024"], stdout=self.out, stderr=self.out)
        answers(self.port)

    def counts(self):
        """(sessions, messages) so far."""
        found = re.findall(rb"sess=(\d+) quit=\d+ mesg=(\d+)", open(self.file, "rb").read()[-400:])
        return tuple(int(n) for n in found[-1]) if found else (0, 0)

    def recipients(self):
        try:
            return open(self.dump, "rb").read().count(b"\nX-Rcpt-Args:")
        except OSError:
            return 0

    def close(self):
        self.process.terminate()
        self.process.wait()
        for path in (self.file, self.dump):
            if path and os.path.exists(path):
                os.unlink(path)


def answers(port, seconds=30):
    """Waits for a greeting."""
    def try_it():
        try:
            with socket.create_connection((HOST, port), 2) as s:
                s.settimeout(5)
                greeted = bool(s.recv(4))
                s.sendall(b"QUIT\r\n")
                return greeted
        except OSError:
            return False
    if not until(try_it, seconds):
        raise RuntimeError(f"nothing answers on port {port}")


def greeted(port, count, seconds=180):
    """Opens `count` connections and waits for all greetings: (sockets, seconds)."""
    begin, poll, open_ones, waiting = time.monotonic(), select.poll(), {}, 0
    for _ in range(count):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((HOST, port))
        open_ones[s.fileno()] = s
        poll.register(s, select.POLLIN)
        waiting += 1
    while waiting and time.monotonic() < begin + seconds:
        for fd, _ in poll.poll(1000):
            poll.unregister(fd)
            waiting -= 1
            if not open_ones[fd].recv(200):
                raise RuntimeError("a connection was closed without a greeting")
    if waiting:
        raise RuntimeError(f"{waiting} of {count} have no greeting")
    return list(open_ones.values()), time.monotonic() - begin


def files(directory):
    """How many files are below a directory."""
    return sum(len(names) for _, _, names in os.walk(directory))


def entries(directory):
    try:
        return len(os.listdir(directory))
    except OSError:
        return 0


def table(head, rows):
    """Prints a table in Markdown."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def number(value, digits=2):
    return "-" if value is None else f"{value:,.{digits}f}"
