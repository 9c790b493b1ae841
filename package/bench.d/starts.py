#!/usr/bin/env python3
"""package/bench start: how long a program takes to start, do next to nothing and end; ours beside the C ones.

Blocks of spawns by turns; CPU time of the children and the clock, medians over the blocks. SPAWNS (2000) is the number for each
program and side, RUNS (5) the number of blocks.
"""
import os, resource, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import OURS, median, note, number, scratch, table

SPAWNS = int(os.environ.get("SPAWNS", "2000"))
RUNS = int(os.environ.get("RUNS", "5"))
REFERENCE = os.environ.get("QMAIL_REFERENCE", "")

# program, arguments; input is empty. Those of the second list are in a home of qmail.
TOOLS = [("softlimit", ["-o", "100", "/bin/true"]), ("envdir", ["env", "/bin/true"]), ("setuidgid", ["nobody", "/bin/true"]),
         ("setlock", ["lock", "/bin/true"]), ("pgrphack", ["/bin/true"]), ("argv0", ["/bin/true", "x"]), ("svok", ["."]),
         ("svstat", ["."]), ("tai64n", []), ("tai64nlocal", []), ("addcr", []), ("delcr", []), ("fixcrio", ["/bin/true"]),
         ("recordio", ["/bin/true"]), ("rblsmtpd", ["/bin/true"]), ("tcprules", ["cdb", "tmp"]), ("tcprulescheck", ["rules"]),
         ("multilog", ["-*"])]
MAIL = [("qmail-smtpd", []), ("qmail-queue", []), ("qmail-clean", []), ("qmail-getpw", ["root"]), ("qmail-local", []), ("qmail-remote", []),
        ("qmail-pop3d", ["nowhere"]), ("maildirmake", []), ("qmail-qstat", []), ("preline", ["/bin/true"]), ("tcp-env", ["/bin/true"])]


def block(path, arguments, count):
    """Microseconds of CPU and of the clock for each of `count` starts."""
    words, close = [path, *arguments], [(os.POSIX_SPAWN_OPEN, n, "/dev/null", os.O_RDWR, 0) for n in (0, 1, 2)]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for _ in range(count):
        os.waitpid(os.posix_spawn(path, words, {"PATH": "/usr/bin:/bin"}, file_actions=close), 0)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu / count * 1e6, seconds / count * 1e6


def main():
    scratch()
    os.mkdir("env")
    open("env/A", "w").write("b\n")
    subprocess.run([f"{OURS}/tcprules", "rules", "tmp"], input=b":allow\n", check=True)
    rows, count = [], max(1, SPAWNS // RUNS)
    pairs = [(name, arguments, f"/usr/bin/{name}") for name, arguments in TOOLS]
    pairs += [(name, arguments, f"{REFERENCE}/bin/{name}") for name, arguments in MAIL] if REFERENCE else []
    if not REFERENCE:
        note("no QMAIL_REFERENCE: the programs of qmail are left out")
    for name, arguments, theirs in pairs:
        ours = f"{OURS}/{name}"
        if not (os.path.exists(ours) and os.path.exists(theirs)):
            note(f"{name}: not on both sides, left out")
            continue
        found = {ours: [], theirs: []}
        for run in range(RUNS):
            for path in (ours, theirs) if run % 2 == 0 else (theirs, ours):
                found[path].append(block(path, arguments, count))
        cpu, clock = ([median([b[i] for b in found[p]]) for p in (ours, theirs)] for i in (0, 1))
        rows.append([name, *(number(v, 0) for v in (*cpu, *clock)), number(cpu[0] / cpu[1]), number(clock[0] / clock[1])])
        note(*rows[-1])
    print(f"Microseconds of a start, {SPAWNS} starts each ({os.uname().release}, {os.cpu_count()} processors).\n")
    table(["", "CPU, ours", "CPU, C", "clock, ours", "clock, C", "CPU ours/C", "clock ours/C"], rows)


main()
