"""What a stranger would send and read mail with: swaks, openssl, curl, Python, msmtp, fetchmail, getmail."""
import itertools, poplib, shutil, smtplib, ssl, time

from world import CA, HOME, PASSWORDS, PLACE, eventually, hold, mails, run, skip, write

SERVER = "mail.example.com"
PASSWORD = PASSWORDS["carol"]
words = (f"word-{n}" for n in itertools.count())


def arrived(word, user="dave"):
    return eventually(lambda: any(word in m for m in mails(f"/home/{user}/Maildir")))


def message(word):
    return f"From: carol@example.com\r\nTo: dave@example.com\r\nSubject: interop\r\n\r\n{word}\r\n.dot\r\n"


def sends(what, *argv, stdin=None, **more):
    """A client that sends a message with a word in it, which arrives."""
    word = next(words)
    argv = [str(a).replace("WORD", word) for a in argv]
    code, said = run(*argv, stdin=message(word) if stdin is None else stdin, **more)
    hold(f"{what}: sends, and it arrives", code == 0 and arrived(word), said[-1500:])


def is_refused(what, *argv, **more):
    code, said = run(*argv, **more)
    hold(f"{what}: a wrong password is refused", code != 0, said[-1500:])


def has(program):
    if shutil.which(program):
        return True
    skip(f"{program} (not installed)")
    return False


def context():
    return ssl.create_default_context(cafile=str(CA))


def smtplib_sends():
    for what, port, mechanism in itertools.product(("STARTTLS", "TLS"), (587,), ("PLAIN", "LOGIN", "CRAM-MD5")):
        word = next(words)
        if what == "STARTTLS":
            client = smtplib.SMTP(SERVER, port, timeout=120)
            client.ehlo("client.test")
            before = {"PLAIN", "LOGIN"} & set(client.esmtp_features.get("auth", "").split())
            client.starttls(context=context())
        else:
            client, before = smtplib.SMTP_SSL(SERVER, 465, timeout=120, context=context()), set()
        client.ehlo("client.test")
        unasked = client.mail("carol@example.com")[0]
        client.rset()
        client.user, client.password = "carol", PASSWORD
        client.auth(mechanism, getattr(client, "auth_" + mechanism.lower().replace("-", "_")))
        client.sendmail("carol@example.com", ["dave@example.com"], message(word))
        client.quit()
        hold(f"smtplib {what} {mechanism}: no password in clear, no mail without, and it arrives",
             (before, unasked) == (set(), 530) and arrived(word), (before, unasked))
    client = smtplib.SMTP_SSL(SERVER, 465, timeout=120, context=context())
    try:
        client.login("carol", "wrong")
        code = 235
    except smtplib.SMTPAuthenticationError as e:
        code = e.smtp_code
    hold("smtplib: a wrong password is refused", code == 535, code)
    try:
        other = ssl.create_default_context(cafile=str(CA.with_name("rogue.pem")))
        smtplib.SMTP_SSL(SERVER, 465, timeout=120, context=other)
        hold("smtplib: does not believe another authority", False)
    except ssl.SSLError:
        hold("smtplib: does not believe another authority", True)


def swaks():
    if not has("swaks"):
        return
    base = ["swaks", "--to", "dave@example.com", "--from", "carol@example.com", "--auth-user", "carol", "--ehlo", "client.test",
            "--timeout", "30", "--tls-verify", "--tls-ca-path", CA, "--body", "WORD"]
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
        for how in (["--tls", "--server", f"{SERVER}:587"], ["--tls-on-connect", "--server", f"{SERVER}:465"]):
            sends(f"swaks {how[0][2:]} {mechanism}", *base, *how, "--auth", mechanism, "--auth-password", PASSWORD)
    is_refused("swaks", *base, "--tls", "--server", f"{SERVER}:587", "--auth", "PLAIN", "--auth-password", "wrong")
    code, said = run("swaks", "--to", "dave@example.com", "--from", "ann@example.org", "--server", f"{SERVER}:25", "--tls",
                     "--ehlo", "client.test", "--body", "to port 25")
    hold("swaks: STARTTLS at port 25, without a login", code == 0 and arrived("to port 25"), said[-1500:])
    text = "".join(m for m in mails("/home/dave/Maildir") if "to port 25" in m)
    hold("Received tells of TLS", "with ESMTPS" in text and "TLSv1.3" in text, text)
    code, said = run("swaks", "--to", "far@elsewhere.test", "--from", "ann@example.org", "--server", f"{SERVER}:25", "--tls",
                     "--ehlo", "client.test")
    hold("swaks: no relaying there, TLS or not", code != 0 and "553" in said, said[-1500:])


def openssl_talks():
    def talk(text, *options):
        script = f"sleep 0.5; printf '%b' '{text}'; sleep 1"
        return run("sh", "-c", f"({script}) | openssl s_client -quiet -crlf -CAfile {CA} -verify_return_error "
                   f"-verify_hostname {SERVER} {' '.join(options)}")

    code, said = talk("EHLO client.test\\nQUIT\\n", "-starttls smtp", f"-connect {SERVER}:587")
    hold("openssl s_client: STARTTLS", "250-AUTH" in said.replace("250 AUTH", "250-AUTH") and "\n221 " in said, said)
    code, said = talk("EHLO client.test\\nQUIT\\n", f"-connect {SERVER}:465")
    hold("openssl s_client: TLS from the first byte", "220 " in said and "221 " in said, said)
    code, said = talk("QUIT\\n", "-starttls pop3", f"-connect {SERVER}:110")
    hold("openssl s_client: STLS", said.count("+OK") >= 1, said)
    code, said = talk("CAPA\\nQUIT\\n", f"-connect {SERVER}:995")
    hold("openssl s_client: POP3 under TLS", "USER" in said and "\nSTLS" not in said, said)
    for version in ("-tls1_2", "-tls1_3"):
        code, said = talk("QUIT\\n", version, f"-connect {SERVER}:465")
        hold(f"openssl s_client {version}", "221 " in said, said)


def curl():
    if not has("curl"):
        return
    base = ["curl", "-sS", "--max-time", "30", "--cacert", CA]
    send = ["--mail-from", "carol@example.com", "--mail-rcpt", "dave@example.com", "--upload-file", "-"]
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
        for url in (["--ssl-reqd", f"smtp://{SERVER}:587"], [f"smtps://{SERVER}:465"]):
            sends(f"curl {url[-1]} {mechanism}", *base, *send, "--login-options", f"AUTH={mechanism}", "--user", f"carol:{PASSWORD}", *url)
    is_refused("curl smtps", *base, *send, "--user", "carol:wrong", f"smtps://{SERVER}:465", stdin="x")
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "+APOP"):
        for url in (["--ssl-reqd", f"pop3://{SERVER}/1"], [f"pop3s://{SERVER}/1"]):
            code, said = run(*base, "--login-options", f"AUTH={mechanism}", "--user", f"dave:{PASSWORDS['dave']}", *url)
            hold(f"curl {url[-1]} {mechanism}: reads the first message", code == 0 and "Delivered-To: dave@example.com" in said, said[-800:])
    code, said = run(*base, "--user", f"eve@virtual.test:{PASSWORDS['eve@virtual.test']}", f"pop3s://{SERVER}/")
    hold("curl pop3s: a virtual user, nothing there yet", code == 0, said)
    is_refused("curl pop3s", *base, "--user", "dave:wrong", f"pop3s://{SERVER}/")


def msmtp():
    if not has("msmtp"):
        return
    base = ["msmtp", f"--host={SERVER}", "--tls=on", f"--tls-trust-file={CA}", "--timeout=120", "--user=carol", "--from=carol@example.com",
            "--domain=client.test"]
    good = [f"--passwordeval=echo {PASSWORD}", "dave@example.com"]
    # It binds to TLS by itself where it can.
    for mechanism in ("plain", "login", "cram-md5", "scram-sha-256"):
        for how in (["--port=587", "--tls-starttls=on"], ["--port=465", "--tls-starttls=off"]):
            sends(f"msmtp {how[0][2:]} {mechanism}", *base, *how, f"--auth={mechanism}", *good)
    is_refused("msmtp scram-sha-256", *base, "--port=587", "--auth=scram-sha-256", "--passwordeval=echo wrong", "dave@example.com", stdin="x")


def poplib_reads():
    for what in ("STLS", "TLS"):
        if what == "STLS":
            client = poplib.POP3(SERVER, timeout=120)
            try:
                client.user("dave")
                client.pass_(PASSWORDS["dave"])
                clear = True
            except poplib.error_proto:
                clear = False
            client = poplib.POP3(SERVER, timeout=120)
            client.stls(context=context())
        else:
            client, clear = poplib.POP3_SSL(SERVER, timeout=120, context=context()), False
        client.user("dave")
        client.pass_(PASSWORDS["dave"])
        count = client.stat()[0]
        uids = {line.split()[1] for line in client.uidl()[1]}
        text = b"\n".join(client.retr(1)[1])
        client.quit()
        hold(f"poplib {what}: no password in clear, all messages with names, one read", not clear and count and len(uids) == count
             and b"Delivered-To: dave@example.com" in text, (clear, count, uids))


def fetchmail():
    """Everything goes to a file, and is gone from the server."""
    if not has("fetchmail"):
        return
    for options in ("sslproto 'tls1.2+'", "ssl"):
        word = next(words)
        code, said = run("qmail-inject", "dave@example.com", user="carol", stdin=f"Subject: x\n\n{word}\n")
        arrived(word)
        # What came in this very second is left for the next session.
        time.sleep(1.1)
        directory = PLACE / "fetchmail"
        shutil.rmtree(directory, ignore_errors=True)
        write(directory / "rc", f"""poll {SERVER} protocol pop3 user dave password "{PASSWORDS['dave']}"
  {options} sslcertck sslcertfile {CA} mda "cat >> {directory}/got" no rewrite keep
""", 0o600)
        run("chown", "-R", "carol:carol", directory)
        code, said = run("fetchmail", "-f", directory / "rc", "--nosyslog", "-N", "--pidfile", directory / "pid", user="carol",
                         env={"HOME": str(directory), "FETCHMAILHOME": str(directory)})
        got = (directory / "got").read_text(errors="replace") if (directory / "got").exists() else ""
        hold(f"fetchmail {options}: takes the messages", code == 0 and word in got, said[-1500:])


def getmail():
    """It knows TLS from the first byte only."""
    if not has("getmail"):
        return
    directory = PLACE / "getmail"
    run("mkdir", directory)
    run("maildirmake", directory / "to")
    write(directory / "getmailrc", f"""[retriever]
type = SimplePOP3SSLRetriever
server = {SERVER}
port = 995
username = dave
password = {PASSWORDS['dave']}
ca_certs = {CA}
[destination]
type = Maildir
path = {directory}/to/
[options]
read_all = true
delete = false
max_messages_per_session = 3
""", 0o600)
    run("chown", "-R", "carol:carol", directory)
    code, said = run("getmail", f"--getmaildir={directory}", user="carol", env={"HOME": str(directory)})
    hold("getmail: takes messages", code == 0 and len(mails(directory / "to")) == 3, said[-1500:])


def main():
    smtplib_sends()
    swaks()
    openssl_talks()
    curl()
    msmtp()
    poplib_reads()
    fetchmail()
    getmail()
