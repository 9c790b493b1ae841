"""A scripted SMTP server for the scenarios of qmail-remote.

usage: server.py PORTFILE SCRIPT RECORD

SCRIPT has lines "WORD REPLY": the reply to a command that begins with WORD
(any case); "connect" is the greeting, "." the answer at the end of DATA.
REPLY "close" closes the connection, "stall" says nothing, "\\n" in a reply
starts a new line. SCRIPT is read again for every connection. RECORD gets
what the client sent. Listens on a free port of 127.0.0.1.
"""

import os
import socket
import sys
import time

portfile, script, record = sys.argv[1:]
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", 0))
server.listen(5)
with open(portfile, "w") as f:
    f.write("%d\n" % server.getsockname()[1])

while True:
    client, _ = server.accept()
    replies = {}
    with open(script, "rb") as f:
        for line in f.read().splitlines():
            word, _, reply = line.partition(b" ")
            replies.setdefault(word.lower(), []).append(reply)

    def answer(word):
        """The next reply for this word; the last one stays."""
        mine = replies.get(word, [b"250 ok"])
        reply = mine.pop(0) if len(mine) > 1 else mine[0]
        if reply == b"close":
            return False
        if reply == b"stall":
            time.sleep(3)
            return False
        client.sendall(reply.replace(b"\\n", b"\r\n") + b"\r\n")
        return reply

    got = b""
    try:
        stream = client.makefile("rb")
        if answer(b"connect"):
            data = False
            for line in stream:
                got += line
                if data:
                    if line == b".\r\n":
                        data = False
                        if not answer(b"."):
                            break
                    continue
                word = line.split()[0].lower() if line.split() else b""
                reply = answer(word)
                if not reply or word == b"quit":
                    break
                data = word == b"data" and reply.startswith(b"354")
    except OSError:
        pass
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    client.close()
    with open(record + ".new", "wb") as f:
        f.write(got)
    os.rename(record + ".new", record)
