"""What sslscan says of each port, and what is not to be at any: other protocols, sessions of another service."""
import concurrent.futures, shutil, socket, ssl
import xml.etree.ElementTree as xml

from world import CA, PLACE, PORTS, hold, run, skip, write

SERVER = "mail.example.com"


def faults(port):
    """What sslscan has to say against a port."""
    report = PLACE / f"scan-{port}"
    how = [f"--{PORTS[port]}"] if PORTS[port] else []
    code, said = run("sslscan", f"--xml={report}", "--no-colour", f"--sni-name={SERVER}", *how, f"{SERVER}:{port}", timeout=120)
    if code:
        return [said]
    test = xml.parse(report).getroot().find("ssltest")
    if test is None:
        return [f"no report: {said}"]
    found = []
    ciphers = test.findall("cipher")
    if not ciphers:
        found.append("no cipher at all")
    for protocol in test.findall("protocol"):
        is_modern = protocol.get("type") == "tls" and protocol.get("version") in ("1.2", "1.3")
        if (protocol.get("enabled") == "1") != is_modern:
            found.append(f"{protocol.get('type')} {protocol.get('version')} enabled={protocol.get('enabled')}")
    for cipher in ciphers:
        name = cipher.get("cipher")
        # Those of TLS 1.3 are all good, and have no better word there.
        if not name.startswith("TLS_") and (not name.startswith("ECDHE-") or cipher.get("strength") != "strong"):
            found.append(f"{name} {cipher.get('strength')}")
    if any(h.get("vulnerable") != "0" for h in test.findall("heartbleed")):
        found.append("heartbleed")
    if any(c.get("supported") != "0" for c in test.findall("compression")):
        found.append("compression")
    if any(r.get("supported") == "1" and r.get("secure") != "1" for r in test.findall("renegotiation")):
        found.append("insecure renegotiation")
    if not any(g.get("name") == "x25519" for g in test.findall("group")):
        found.append("no x25519")
    return found


def first_words(port, text, seconds=10):
    """What a port answers to words that are not its own, until it closes; None if it does not."""
    with socket.create_connection((SERVER, port), timeout=seconds) as client:
        client.sendall(text)
        got = b""
        try:
            while piece := client.recv(4096):
                got += piece
        except ConnectionError:
            pass
        except TimeoutError:
            return None
        return got


HTTP = [f"{verb} / HTTP/1.1\r\nHost: {SERVER}\r\nContent-Length: 60\r\n\r\n".encode() for verb in ("GET", "POST", "PUT")]
# Mail that a web browser was made to send: without the first refusal it would be taken line by line.
INSIDE = b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<dave@example.com>\r\nDATA\r\nSubject: by a browser\r\n\r\nx\r\n.\r\nQUIT\r\n"


def refused_alpn(port, kind, own, other):
    """Whether a client that names a wrong protocol is refused, and one that names ours beside it is not."""
    how = ["-starttls", kind] if kind else []
    base = ["openssl", "s_client", *how, "-connect", f"{SERVER}:{port}", "-CAfile", CA, "-alpn"]
    refused, accepted = run(*base, other)[1], run(*base, f"{own},{other}")[1]
    return "no application protocol" in refused and f"ALPN protocol: {own}" in accepted, (refused[-600:], accepted[-600:])


def cross_protocol():
    hello = b"\x16\x03\x01\x00\xf5\x01\x00\x00\xf1\x03\x03" + bytes(240)
    words = [*(("HTTP " + text.split()[0].decode(), text + INSIDE) for text in HTTP), ("a handshake of TLS", hello),
             ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n")]
    clear = [(port, what, text) for port in (25, 587, 110) for what, text in words]
    under = [(port, what, text) for port in (465, 995)
             for what, text in (("HTTP", HTTP[1] + INSIDE), ("SSH", words[-1][1]), ("mail in clear", INSIDE))]
    alpn = [(465, "", "smtp", "http/1.1"), (465, "", "smtp", "pop3"), (465, "", "smtp", "imap"), (465, "", "smtp", "h2"), (995, "", "pop3", "http/1.1"),
            (995, "", "pop3", "smtp"), (587, "smtp", "smtp", "http/1.1"), (25, "smtp", "smtp", "h2"), (110, "pop3", "pop3", "smtp")]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for (port, what, _), got in zip(clear, pool.map(lambda case: first_words(case[0], case[2]), clear)):
            lines = [line for line in (got or b"").split(b"\r\n") if line]
            # The greeting, and at most one refusal: nothing behind the first line was heard.
            is_closed = got is not None and len(lines) <= 2 and b"250" not in got and b"354" not in got
            hold(f"port {port}: {what} is sent away at its first line", is_closed, got)
        for (port, what, _), got in zip(under, pool.map(lambda case: first_words(case[0], case[2]), under)):
            hold(f"port {port}: {what} gets no program", got is not None and b"220" not in got and b"+OK" not in got, got)
        for (port, _, own, other), (is_right, said) in zip(alpn, pool.map(lambda case: refused_alpn(*case), alpn)):
            hold(f"port {port}: a client that wants to speak {other} is refused, and with {own} beside it is not", is_right, said)


def session(context, port, old=None):
    """One short session under TLS; the session that can be taken up, and whether this was one."""
    with socket.create_connection((SERVER, port), timeout=120) as plain:
        file = plain.makefile("rb")
        if port in (25, 587, 110):
            file.readline()
            for word in {110: ("STLS",)}.get(port, ("EHLO client.test", "STARTTLS")):
                plain.sendall(word.encode() + b"\r\n")
                while file.readline()[3:4] == b"-":
                    pass
        with context.wrap_socket(plain, server_hostname=SERVER, session=old) as client:
            client.sendall(b"QUIT\r\n")
            # Tickets of TLS 1.3 come with the words of the program.
            while client.recv(4096):
                pass
            return client.session, client.session_reused


def tickets():
    """A session of one service is worth nothing at another."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=str(CA))
        context.minimum_version = context.maximum_version = version
        for port in PORTS:
            kept, _ = session(context, port)
            again = session(context, port, kept)[1]
            elsewhere = {other: session(context, other, kept)[1] for other in PORTS if other != port}
            hold(f"{version.name}: a session of port {port} is taken up there, and at no other port", again and not any(elsewhere.values()),
                 (again, elsewhere))


def main():
    if shutil.which("sslscan"):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for port, found in zip(PORTS, pool.map(faults, PORTS)):
                hold(f"sslscan finds nothing against port {port}", not found, found)
    else:
        skip("sslscan of each port (not installed)")
    cross_protocol()
    tickets()
