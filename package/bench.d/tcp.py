#!/usr/bin/env python3
"""package/bench tcpserver: connections taken, refused and denied, and a flood; ours beside the tcpserver of the system.

CPU time is that of the server and its children, per connection. RUNS (5) alternating runs of CONNECTIONS (2000).
"""
import os, resource, select, shutil, socket, subprocess, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import HOST, OURS, Group, free_port, median, note, number, scratch, table, until

RUNS = int(os.environ.get("RUNS", "5"))
COUNT = int(os.environ.get("CONNECTIONS", "2000"))
FLOOD = int(os.environ.get("FLOOD", "10000"))
THEIRS = os.environ.get("THEIRS", "/usr/bin") + "/tcpserver"


class Server:
    def __init__(self, path, options, program):
        self.port, self.group = free_port(), Group(f"tcp-{os.urandom(3).hex()}")
        words = [path, *options, HOST, str(self.port), *program]
        self.process = subprocess.Popen(words, stderr=subprocess.DEVNULL, preexec_fn=self.group.enter)
        if not until(self.listens, 10):
            raise RuntimeError("it does not listen")

    def listens(self):
        try:
            socket.create_connection((HOST, self.port), 1).close()
            return True
        except OSError:
            return False

    def __enter__(self):
        time.sleep(0.2)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.group.end()


def visit(port):
    """One connection, to its end."""
    with socket.create_connection((HOST, port), 30) as s:
        try:
            while s.recv(4096):
                pass
        except ConnectionResetError:
            pass


def visits(port, count, parallel):
    def some():
        for _ in range(count // parallel):
            visit(port)
    threads = [threading.Thread(target=some) for _ in range(parallel)]
    [t.start() for t in threads]
    [t.join() for t in threads]


def measured(path, options, program, parallel):
    with Server(path, options, program) as server:
        visits(server.port, 100, min(parallel, 10))
        time.sleep(0.2)
        before, begin = server.group.cpu(), time.perf_counter()
        visits(server.port, COUNT, parallel)
        seconds = time.perf_counter() - begin
        time.sleep(0.3)
        after = server.group.cpu()
    return COUNT / seconds, None if after is None else (after - before) / COUNT * 1e6


def case(title, options, program, parallel, only=None):
    sides = [p for p in (f"{OURS}/tcpserver", THEIRS) if os.path.exists(p)]
    if only:
        sides = sides[:1]
    found = {s: [] for s in sides}
    for run in range(RUNS):
        for side in sides if run % 2 == 0 else reversed(sides):
            found[side].append(measured(side, options, program, parallel))
    row = [title]
    medians = [(median([r for r, _ in found[s]]), median([c for _, c in found[s]])) for s in sides]
    for rate, cpu in medians:
        row.append(f"{number(rate, 0)}/s, {number(cpu, 0)} us")
    if len(medians) == 2:
        (rate, cpu), (rate2, cpu2) = medians
        row.append(f"{rate / rate2:.2f} times, CPU {cpu / cpu2:.2f}" if cpu and cpu2 else f"{rate / rate2:.2f} times")
    else:
        row += ["-", "-"]
    note(*row)
    return row


def bound():
    """The least that any server pays: CPU microseconds of vfork, exec of /bin/true and wait, in a process that does nothing else."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
    for _ in range(COUNT):
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
    children = sum(after[0][:2]) - sum(before[0][:2])
    return (children + after[1] - before[1]) / COUNT * 1e6


def flood(path):
    """FLOOD connections at once against -c 40 of a program that stays; an honest client comes in between."""
    with Server(path, ["-QHRl0", "-c40", "-b1024"], ["/bin/sh", "-c", "echo hello; sleep 0.05"]) as server:
        most, memory, stop = 0, [], threading.Event()

        def watch():
            nonlocal most
            while not stop.is_set():
                pids = server.group.pids()
                most = max(most, sum(1 for p in pids if parent(p) == server.process.pid))
                memory.append(int(open(f"/proc/{server.process.pid}/statm").read().split()[1]) * 4)
                time.sleep(0.02)
        watcher = threading.Thread(target=watch)
        watcher.start()
        begin, poll, open_ones, done = time.monotonic(), select.poll(), {}, 0
        honest = []

        def client():
            while not stop.is_set():
                start = time.monotonic()
                try:
                    with socket.create_connection((HOST, server.port), 30) as s:
                        s.recv(10)
                    honest.append(time.monotonic() - start)
                except OSError:
                    pass
                time.sleep(0.2)
        visitor = threading.Thread(target=client)
        visitor.start()
        while done < FLOOD:
            while len(open_ones) < min(400, FLOOD - done):
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex((HOST, server.port))
                open_ones[s.fileno()] = s
                poll.register(s, select.POLLIN)
            for fd, _ in poll.poll(1000):
                try:
                    ended = not open_ones[fd].recv(100)
                except BlockingIOError:
                    continue
                except OSError:
                    ended = True
                if ended:
                    poll.unregister(fd)
                    open_ones.pop(fd).close()
                    done += 1
            if time.monotonic() > begin + 300:
                break
        stop.set()
        watcher.join()
        visitor.join()
    return [f"{done:,} of {FLOOD:,} in {time.monotonic() - begin:.0f} s", f"{most} children at most",
            f"server {memory[0] if memory else 0} to {max(memory, default=0)} KB", f"honest client {median(honest) or 0:.2f} s"]


def parent(pid):
    try:
        return int(open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()[1])
    except (OSError, IndexError):
        return 0


def main():
    if not os.path.exists(THEIRS):
        note(f"no {THEIRS}: ours alone")
    scratch()
    subprocess.run([f"{OURS}/tcprules", "deny.cdb", "tmp"], input=b":deny\n", check=True)
    subprocess.run([f"{OURS}/tcprules", "allow.cdb", "tmp"], input=b'10.:deny\n127.:allow,RELAYCLIENT=""\n', check=True)
    true = ["/bin/true"]
    rows = [case("/bin/true, 1 client", ["-QHRl0", "-c200"], true, 1),
            case("/bin/true, 100 clients", ["-QHRl0", "-c200", "-b200"], true, 100),
            case("/bin/true, rules, 10 clients", ["-QHRl0", "-c200", "-xallow.cdb"], true, 10),
            case("/bin/true, names looked up, 10 clients", ["-QRl0", "-c200"], true, 10),
            case("denied by a rule, 10 clients", ["-QHRl0", "-c200", "-xdeny.cdb"], true, 10),
            case("over --per-address, 10 clients", ["-QHRl0", "-c200", "--per-address=0"], true, 10, only="ours")]
    print(f"Connections each second and CPU of server and program for each, {COUNT} connections, medians of {RUNS} alternating runs "
          f"({os.uname().release}, {os.cpu_count()} processors). A spawn of /bin/true alone takes {bound():.0f} us of CPU.\n")
    table(["", "ours", "the system's", ""], rows)
    for title, path in (("ours", f"{OURS}/tcpserver"), ("the system's", THEIRS)):
        if os.path.exists(path):
            print(f"Flood, -c40, {title}: " + "; ".join(flood(path)))


main()
