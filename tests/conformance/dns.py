#!/usr/bin/env python3
"""A DNS server for scenarios: dns.py ADDRESS ZONEFILE.

It listens on port 53 (programs in C know no other). A line of the zone is
`NAME TYPE DATA`: A, AAAA, PTR, MX (preference and host), TXT (one string; \\xNN for odd bytes), FAIL, SILENT. Names that
are not there do not exist. Every name asked for is appended to ZONEFILE.asked.
"""

import socket
import struct
import sys

TYPES = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}


def strings(data):
    return b"".join(bytes([len(data[i:i + 255])]) + data[i:i + 255] for i in range(0, len(data), 255))


def wire(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def read_zone(name):
    zone = {}
    with open(name) as f:
        for line in f:
            owner, kind, data = (line.rstrip("\n").split(" ", 2) + ["", ""])[:3]
            if kind == "A":
                data = socket.inet_aton(data)
            elif kind == "AAAA":
                data = socket.inet_pton(socket.AF_INET6, data)
            elif kind == "PTR":
                data = wire(data)
            elif kind == "MX":
                preference, host = data.split()
                data = struct.pack(">H", int(preference)) + wire(host)
            elif kind == "TXT":
                data = strings(data.encode().decode("unicode_escape").encode("latin-1"))
            zone.setdefault(owner, []).append((kind, data))
    return zone


def reply(query, zone, asked):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1").lower())
        at += 1 + query[at]
    kind = struct.unpack(">H", query[at + 1:at + 3])[0]
    name = ".".join(labels)
    asked.write("%s %s\n" % (name, {v: k for k, v in TYPES.items()}.get(kind, kind)))
    asked.flush()
    records = zone.get(name)
    code = 3 if records is None else 0
    kinds = [k for k, _ in records or []]
    if "SILENT" in kinds:
        return None
    if "FAIL" in kinds:
        code = 2
    found = [d for k, d in records or [] if TYPES.get(k) == kind]
    head = query[:2] + bytes([0x81, 0x80 | code]) + struct.pack(">HHHH", 1, len(found), 0, 0)
    body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(d)) + d for d in found)
    return head + query[12:at + 5] + body


def main():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((sys.argv[1], 53))
    zone = read_zone(sys.argv[2])
    with open(sys.argv[2] + ".asked", "a") as asked:
        while True:
            query, client = server.recvfrom(2048)
            try:
                answer = reply(query, zone, asked)
            except (IndexError, struct.error):
                continue
            if answer:
                server.sendto(answer, client)


main()
