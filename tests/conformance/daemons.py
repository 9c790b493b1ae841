"""qmail-send at work, with spawners of our own.

usage: daemons.py LOG ORDERS PIDFILE

Starts qmail-clean and qmail-send with the descriptors that qmail-start would
give them (0 log; 1, 2 local; 3, 4 remote; 5, 6 clean) and plays both
spawners: every order is written to ORDERS, and the beginning of the
recipient decides the report: fail D, wait Z (unless the file "ok" exists),
odd some unsafe bytes, rubbish an unknown letter (unless "ok" exists), late the rest
of the name after half a second, held K when the file "go" exists, anything else K. All of it runs as the caller.
"""

import fcntl
import os
import subprocess
import sys
import threading
import time

log_name, orders_name, pid_name = sys.argv[1:]
log = os.open(log_name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
orders = os.open(orders_name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
LIMIT = 20


def high(fd):
    """The same descriptor, out of the way of 0 to 6."""
    new = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 30)
    os.close(fd)
    return new


def pipe():
    r, w = os.pipe()
    return high(r), high(w)


log, orders = high(log), high(orders)
local_r, local_w = pipe()
local_report_r, local_report_w = pipe()
remote_r, remote_w = pipe()
remote_report_r, remote_report_w = pipe()
clean_r, clean_w = pipe()
clean_answer_r, clean_answer_w = pipe()


def place(*fds):
    def put():
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
    return put


def report_for(recipient):
    local = recipient.split(b"@")[0].rpartition(b"-")[2]
    if local.startswith(b"late"):
        time.sleep(0.5)
        local = local[4:]
    while local.startswith(b"held") and not os.path.exists("go"):
        time.sleep(0.02)
    if local.startswith(b"fail"):
        return b"Dno way\nat all\n"
    if local.startswith(b"wait"):
        return b"Kfine now\n" if os.path.exists("ok") else b"Zlater\n"
    if local.startswith(b"odd"):
        return b"Ka\nb%c d\001\377/e\n"
    if local.startswith(b"rubbish"):
        return b"Kfine now\n" if os.path.exists("ok") else b"?what\n"
    return b"Kdid it\n"


def spawner(name, order_fd, report_fd):
    os.write(report_fd, bytes([LIMIT]))
    rest = b""
    while True:
        got = os.read(order_fd, 4096)
        if not got:
            return
        rest += got
        while rest.count(b"\0", 1) >= 3:
            slot = rest[:1]
            path, sender, recipient, rest = rest[1:].split(b"\0", 3)
            if slot[0] >= LIMIT:
                # The question for the extended protocol: refused as the original does.
                os.write(report_fd, slot + b"ZInternal error: delnum too big. (#4.3.5)\n\0")
                continue
            os.write(orders, b"%s %s <%s> <%s>\n" % (name, path, sender, recipient))
            os.write(report_fd, slot + report_for(recipient) + b"\0")


clean = subprocess.Popen(["qmail-clean"], preexec_fn=place(clean_r, clean_answer_w), close_fds=True)
send = subprocess.Popen(["qmail-send"], close_fds=False, preexec_fn=place(
    log, local_w, local_report_r, remote_w, remote_report_r, clean_w, clean_answer_r))
for fd in (clean_r, clean_answer_w, clean_w, clean_answer_r, local_w, local_report_r, remote_w, remote_report_r):
    os.close(fd)
with open(pid_name + ".new", "w") as f:
    f.write("%d\n" % send.pid)
os.rename(pid_name + ".new", pid_name)
for args in ((b"local", local_r, local_report_w), (b"remote", remote_r, remote_report_w)):
    threading.Thread(target=spawner, args=args, daemon=True).start()
code = send.wait()
clean.wait()
with open(pid_name + ".code", "w") as f:
    f.write("%d\n" % code)
