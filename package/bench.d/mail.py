#!/usr/bin/env python3
"""package/bench mail: our mail system beside Postfix and C qmail, in alternating runs. Started by package/bench.

TESTS (accept local relay fanout backlog idle trace), RUNS and MESSAGES choose and shorten; SYSTEMS (ours exec postfix
cqmail) chooses who takes part.
"""
import os, re, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import *
import systems

RUNS = int(os.environ.get("RUNS", "5"))
COUNT = int(os.environ.get("MESSAGES", "1000"))
BACKLOG = int(os.environ.get("BACKLOG", "20000"))
LOCAL = f"{systems.USER}@{systems.DOMAIN}"


def taking_part():
    wanted = os.environ.get("SYSTEMS", "ours postfix cqmail").split()
    for system in systems.ALL:
        if system.name in wanted and not system.is_there():
            note(f"{system.title}: not here, left out")
    return [s for s in systems.ALL if s.name in wanted and s.is_there()]


def alternating(test, parts, runs=RUNS):
    """Medians of some runs of `test`, the systems by turns: {system: {name: median}}."""
    found = {s: [] for s in parts}
    for run in range(runs):
        for system in parts if run % 2 == 0 else reversed(parts):
            try:
                found[system].append(test(system))
                note(system.name, {k: round(v, 3) if v is not None else None for k, v in found[system][-1].items()})
            except Exception as e:
                note(system.name, "failed:", e)
    return {s: {k: median([r[k] for r in all_]) for k in all_[0]} if all_ else {} for s, all_ in found.items()}


def rate_rows(title, medians, parts):
    base = medians.get(systems.Postfix, {})
    row = [title]
    for system in parts:
        m = medians.get(system) or {}
        cell = f"{number(m.get('rate'), 0)}, {number(m.get('cpu'))}"
        if m.get("flushes") is not None:
            cell += f", {number(m['flushes'], 1)}"
        if base.get("rate") and system is not systems.Postfix and m.get("rate"):
            cell += f" ({m['rate'] / base['rate']:.2f}"
            cell += f", {m['cpu'] / base['cpu']:.2f})" if m.get("cpu") and base.get("cpu") else ")"
        row.append(cell)
    return row


def result(measured, count):
    share = lambda value, scale: None if value is None else value * scale / count
    return {"rate": count / measured.seconds, "cpu": share(measured.cpu, 1000), "flushes": share(measured.flushes, 1),
            "load": share(measured.load, 1000), "busy": measured.busy}


def accept(sessions, keep):
    count = COUNT if sessions > 1 else max(200, COUNT // 2)

    def test(system):
        with system(hold=True, most=max(120, sessions + 20)) as s:
            send(s.port, 50, min(sessions, 20), LOCAL)
            with Measured(s.group) as m:
                send(s.port, count, sessions, LOCAL, keep)
            if s.left() < count:
                raise RuntimeError(f"{s.left()} of {count} messages are in the queue")
            return result(m, count)
    return test


def deliver(keep):
    def test(system):
        with system() as s:
            send(s.port, 50, 20, LOCAL)
            until(lambda: s.arrived() >= 50, 30)
            with Measured(s.group) as m:
                send(s.port, COUNT, 20, LOCAL, keep)
                if not until(lambda: s.arrived() >= COUNT + 50, 120):
                    raise RuntimeError(f"{s.arrived()} of {COUNT + 50} arrived")
                m.stop()
                until(lambda: s.left() == 0, 10)
            return result(m, COUNT)
    return test


def relay(keep):
    def test(system):
        sink = Sink()
        try:
            with system(sink=sink.port) as s:
                send(s.port, 50, 20, f"x@{systems.SINK}")
                until(lambda: sink.counts()[1] >= 50, 30)
                with Measured(s.group) as m:
                    send(s.port, COUNT, 20, f"x@{systems.SINK}", keep)
                    if not until(lambda: sink.counts()[1] >= COUNT + 50, 120):
                        raise RuntimeError(f"{sink.counts()[1]} of {COUNT + 50} arrived")
                    m.stop()
                    until(lambda: s.left() == 0, 10)
                return result(m, COUNT)
        finally:
            sink.close()
    return test


def fanout(system):
    count, sink = 5000, Sink(dump=True)
    try:
        with system(sink=sink.port) as s:
            with Measured(s.group) as m:
                send(s.port, 1, 1, f"x@{systems.SINK}", recipients=count)
                if not until(lambda: sink.recipients() >= count, 120, 0.05):
                    raise RuntimeError(f"{sink.recipients()} of {count} recipients arrived")
            return {"seconds": m.seconds, "cpu": None if m.cpu is None else m.cpu * 1000 / count, "connections": sink.counts()[0] - 1}
    finally:
        sink.close()


def thousand(s):
    """Seconds until 1,000 local messages have arrived."""
    before, begin = s.arrived(), time.monotonic()
    send(s.port, 1000, 20, LOCAL)
    if not until(lambda: s.arrived() >= before + 1000, 300):
        raise RuntimeError(f"{s.arrived() - before} of 1000 arrived")
    return time.monotonic() - begin


def backlog(system):
    sink = Sink(more=["-r", "RCPT"])  # 450 to every RCPT
    try:
        s = system(defer=sink.port)
        with s:
            thousand(s)
            empty = thousand(s)
            send(s.port, BACKLOG, 20, f"x@{systems.DEFER}", keep=True)
            after_flood = thousand(s)
            until(lambda: False, 30)
            later = thousand(s)
            sessions, kept = sink.counts()[0] - 1, s.left()
        if kept < BACKLOG:
            raise RuntimeError(f"{kept} of {BACKLOG} messages are still in the queue")
        s.group.__init__(s.name)
        before = s.arrived()
        begin = time.monotonic()
        with s:
            ready = time.monotonic()
            send(s.port, 1, 1, LOCAL)
            until(lambda: s.arrived() > before, 60, 0.005)
            restart = time.monotonic() - ready
        return {"empty": empty, "after the flood": after_flood, "later": later, "sessions": sessions, "restart": restart,
                "start": ready - begin}
    finally:
        sink.close()


def idle(system):
    with system(most=1100) as s:
        time.sleep(2)
        alone, kb = len(s.group.pids()), pss(s.group.pids())
        note(system.name, *(f"{open(f'/proc/{p}/comm').read().strip()} {pss([p])} KB," for p in s.group.pids()))
        sockets, seconds = greeted(s.port, 1000)
        time.sleep(1)
        busy = pss(s.group.pids())
        for one in sockets:
            one.close()
        return {"each": (busy - kb) / 1000, "system": kb / 1024, "processes": alone, "greeted": seconds}


def trace(system):
    count, prefix = 200, f"{PLACE}/trace"
    for name in os.listdir(PLACE):
        if name.startswith("trace"):
            os.unlink(f"{PLACE}/{name}")
    s = system()
    s.start(trace=prefix)
    try:
        answers(s.port)
        send(s.port, 40, 20, LOCAL)
        until(lambda: s.arrived() >= 40, 60)
        time.sleep(3)
        before = counted(prefix)
        send(s.port, count, 20, LOCAL)
        until(lambda: s.arrived() >= count + 40, 120)
        time.sleep(3)
        after = counted(prefix)
    finally:
        s.stop()
    return {k: (after[k] - before[k]) / count for k in after}


KINDS = {"fork or clone": r"(?:fork|vfork|clone3?)\(|<\.\.\. (?:fork|vfork|clone3?) resumed", "exec": r"execve\(", "fsync": r"(?:fsync|fdatasync|syncfs)\(",
         "names made": r"(?:link|linkat|rename|renameat2?)\(", "names removed": r"unlink(?:at)?\("}


def counted(prefix):
    totals = dict.fromkeys(KINDS, 0)
    for name in os.listdir(PLACE):
        if not name.startswith(os.path.basename(prefix)):
            continue
        for line in open(f"{PLACE}/{name}", errors="replace"):
            for kind, pattern in KINDS.items():
                if kind == "fork or clone":
                    # Once for each success, however the line was cut.
                    hit = re.search(pattern, line) and re.search(r"= \d+$", line)
                else:
                    hit = re.match(rf"\d+ +{pattern}", line) and not re.search(r"= -1 E", line)
                totals[kind] += bool(hit)
    return totals


def main():
    tests = os.environ.get("TESTS", "accept local relay fanout backlog idle trace").split()
    parts = taking_part()
    head = ["", *(s.title for s in parts)]
    print(f"Messages each second, CPU-ms and flushes of the device for each; in brackets times Postfix. Medians of {RUNS} "
          f"alternating runs of {COUNT} messages of {SIZE} bytes. {os.uname().release}, {os.cpu_count()} processors, "
          f"{os.environ.get('BENCH_FS', '?')}.\n", flush=True)
    rows, shares = [], []
    plan = []
    if "accept" in tests:
        plan += [(f"accept, {n} session{'s' * (n > 1)}, {'many' if keep else 'one'}", accept(n, keep)) for n in (1, 20, 100) for keep in (False, True)]
    if "local" in tests:
        plan += [(f"to a Maildir, 20 sessions, {'many' if keep else 'one'}", deliver(keep)) for keep in (False, True)]
    if "relay" in tests:
        plan += [(f"relay, 20 sessions, {'many' if keep else 'one'}", relay(keep)) for keep in (False, True)]
    only = os.environ.get("ONLY")
    for title, test in plan:
        if only and only not in title:
            continue
        note(title)
        medians = alternating(test, parts)
        rows.append(rate_rows(title, medians, parts))
        shares.append([title, *(f"{number((medians[s].get('busy') or 0) * 100, 0)}%, {number(medians[s].get('load'))}" for s in parts)])
    if rows:
        table(head, rows)
        print("How busy the machine's processors were, and CPU-ms of the load itself for each message.\n")
        table(head, shares)
    for name, test, shown in (
            ("fanout", fanout, {"seconds": "5,000 recipients at one host, s", "cpu": "CPU-ms each", "connections": "connections"}),
            ("backlog", backlog, {"empty": "1,000 local messages, empty queue, s", "after the flood": f"after {BACKLOG:,} for a host that defers, s",
                                  "later": "30 s later, s", "sessions": "sessions with that host", "restart": "restart with that queue to a delivery, s"}),
            ("idle", idle, {"each": "1,000 idle sessions, KB PSS each", "greeted": "until all are greeted, s", "system": "idle system, MB PSS",
                            "processes": "its processes"}),
            ("trace", trace, {k: f"{k}, each message" for k in KINDS})):
        if name not in tests:
            continue
        note(name)
        medians = alternating(test, parts, {"backlog": 1, "trace": 1}.get(name, min(RUNS, 3)))
        table(head, [[label, *(number(medians[s].get(key)) for s in parts)] for key, label in shown.items()])


main()
