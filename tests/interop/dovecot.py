"""IMAP by Debian's Dovecot on our Maildirs and accounts, as docs/imap-with-dovecot.md says: its commands, its files."""
import imaplib, poplib, re, shutil, smtplib, ssl, subprocess, time

import world
from world import CA, HOME, PASSWORDS, PLACE, Host, answers, eventually, hold, mails, run, skip, write

SERVER = "mail.example.com"
DOC = "docs/imap-with-dovecot.md"
REPLY = "/usr/lib/dovecot/checkpassword-reply"
EVE = "eve@virtual.test"
LOG = PLACE / "dovecot.log"
server = None


def log():
    return LOG.read_text(errors="replace")[-2500:] if LOG.exists() else ""


def commands():
    """The commands of the document, one list for each block."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (world.office.TOP / DOC).read_text(), re.M | re.S)
    return [[line for line in block.splitlines() if not line.startswith("#")] for block in blocks]


def obey(lines):
    """Runs them in this world; what manages packages and services is done in another way here."""
    for line in lines:
        if line.startswith("systemctl restart dovecot"):
            restart()
        elif line.startswith("dpkg-statoverride"):
            # The rights that it would give, in this world only.
            shutil.copy(REPLY, PLACE / "reply")
            (PLACE / "reply").chmod(int(line.split()[5], 8))
            subprocess.run(["mount", "--bind", PLACE / "reply", REPLY], check=True)
        else:
            code, said = run("sh", "-ec", f"cd {world.office.TOP}; {line}")
            hold(f"{DOC}: {line[:60]}", code == 0, said)


def restart():
    global server
    if server:
        server.terminate()
        server.wait(120)
    server = subprocess.Popen(["dovecot", "-F"], stdin=subprocess.DEVNULL, env={"PATH": world.office.PATH})
    hold("Dovecot starts with the files of the document", eventually(lambda: answers(143, b"* OK")), log())


def context():
    return ssl.create_default_context(cafile=str(CA))


def imap(name, password, starttls=False):
    if starttls:
        client = imaplib.IMAP4(SERVER, timeout=120)
        client.starttls(context())
    else:
        client = imaplib.IMAP4_SSL(SERVER, ssl_context=context(), timeout=120)
    client.login(name, password)
    return client


def count(client, folder="INBOX"):
    kind, said = client.status(folder, "(MESSAGES)")
    return int(re.search(rb"MESSAGES (\d+)", said[0]).group(1)) if kind == "OK" else None


def fetchers():
    """Programs that take mail away by IMAP."""
    put("to be fetched", "carol@example.com")
    eventually(lambda: any("to be fetched" in m for m in mails("/home/carol/Maildir")))
    place = PLACE / "imap-fetch"
    run("mkdir", place)
    run("maildirmake", place / "to")
    write(place / "fetchmailrc", f"""poll {SERVER} protocol imap user carol password "{PASSWORDS['carol']}"
  ssl sslcertck sslcertfile {CA} mda "cat >> {place}/got" no rewrite keep
""", 0o600)
    write(place / "getmailrc", f"""[retriever]
type = SimpleIMAPSSLRetriever
server = {SERVER}
username = carol
password = {PASSWORDS['carol']}
ca_certs = {CA}
[destination]
type = Maildir
path = {place}/to/
[options]
delete = false
max_messages_per_session = 1
""", 0o600)
    run("chown", "-R", "dave:dave", place)
    home = {"HOME": str(place), "FETCHMAILHOME": str(place)}
    if shutil.which("fetchmail"):
        code, said = run("fetchmail", "-f", place / "fetchmailrc", "-a", "--nosyslog", "-N", "--pidfile", place / "pid", user="dave", env=home)
        got = (place / "got").read_text(errors="replace") if (place / "got").exists() else ""
        hold("fetchmail by IMAP", code == 0 and "to be fetched" in got, said[-1500:])
    else:
        skip("fetchmail by IMAP (not installed)")
    if shutil.which("getmail"):
        code, said = run("getmail", f"--getmaildir={place}", user="dave", env=home)
        hold("getmail by IMAP", code == 0 and len(mails(place / "to")) == 1, said[-1500:])
    else:
        skip("getmail by IMAP (not installed)")


def names(name, password):
    """What POP3 calls the messages, and how large they are."""
    client = poplib.POP3_SSL(SERVER, timeout=120, context=context())
    client.user(name)
    client.pass_(password)
    found = [line.split()[1] for line in client.uidl()[1]]
    client.quit()
    return found


def put(word, to, subject="x", sender="dave@example.com"):
    with smtplib.SMTP("127.0.0.1", timeout=120) as client:
        client.sendmail(sender, [to], f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\n{word}\r\n")


def logins():
    for who in PASSWORDS:
        for how in (False, True):
            try:
                client = imap(who, PASSWORDS[who], how)
                fine = client.select("INBOX")[0] == "OK"
                client.logout()
            except imaplib.IMAP4.error as e:
                fine = e
            hold(f"imaplib: {who} logs in, {'STARTTLS' if how else 'TLS'}", fine is True, f"{fine}\n{log()}")
    for who, password in (("carol", "wrong"), ("nobody-here", "x"), ("nobody@virtual.test", PASSWORDS[EVE]), ("root", "")):
        try:
            imap(who, password)
            refused = False
        except imaplib.IMAP4.error as e:
            refused = "AUTHENTICATIONFAILED" in str(e) or "authentication failed" in str(e).lower() or e
        hold(f"imaplib: {who} with a wrong password is refused", refused is True, f"{refused}\n{log()}")
    far = Host(4)
    code, said = far.run("curl", "-sS", "--max-time", "30", f"imap://{SERVER}/", "--user", f"carol:{PASSWORDS['carol']}")
    hold("from another host no password in clear", code != 0, said)
    code, said = far.run("curl", "-sS", "--max-time", "30", "--ssl-reqd", "--cacert", CA, f"imap://{SERVER}/INBOX", "--user",
                         f"carol:{PASSWORDS['carol']}", "-X", "STATUS INBOX (MESSAGES)")
    hold("curl: STARTTLS and a look into the mailbox", code == 0 and "MESSAGES" in said, said + log())


def both_ways():
    """IMAP beside our POP3: the same messages under the same names, whatever a client does with flags."""
    for n in range(3):
        put(f"imap-{n}", EVE)
    maildir = "/home/vmail/virtual.test/eve/Maildir"
    eventually(lambda: len(mails(maildir)) == 3)
    time.sleep(1.1)
    before = names(EVE, PASSWORDS[EVE])
    client = imap(EVE, PASSWORDS[EVE])
    client.select("INBOX")
    text = client.fetch("1", "(BODY[])")[1][0][1]
    client.store("2", "+FLAGS", "\\Flagged")
    kept = client.append("INBOX", "", None, b"Subject: a copy\r\n\r\nby IMAP\r\n")[0]
    client.logout()
    time.sleep(1.1)
    after = names(EVE, PASSWORDS[EVE])
    hold("what SMTP brought is there by IMAP", b"imap-" in text, text)
    hold("names in POP3 are the same before and after IMAP, and one more", len(before) == 3 and after[:3] == before
         and (kept, len(after)) == ("OK", 4), (before, after))
    return after


def by_lmtp(blocks):
    obey(blocks[1])
    home = "/home/vmail/virtual.test/eve"
    write(f"{home}/.dovecot.sieve", 'require ["fileinto", "mailbox"];\nif header :contains "subject" "[list]" '
                                    '{ fileinto :create "Lists"; }\n')
    run("chown", "vmail:vmail", f"{home}/.dovecot.sieve")
    put("lmtp-plain", EVE)
    put("lmtp-sieve", EVE, "[list] x")
    client = imap(EVE, PASSWORDS[EVE])

    def arrived():
        client.noop()
        return count(client) == 5 and count(client, "Lists") == 1
    hold("by LMTP: one to INBOX, one where Sieve puts it", eventually(arrived), log() + world.service_log("qmail-send")[-1500:])
    kind, quota = client.getquotaroot("INBOX")
    hold("no quota yet", b"STORAGE" not in b"".join(x for part in quota for x in part if isinstance(x, bytes)), quota)
    client.logout()
    code, said = run("vuser", "-D", "virtual.test", "quota", "eve", "1MB")
    if code == 0:
        # vuser has written its own delivery again.
        obey(blocks[1])
    client = imap(EVE, PASSWORDS[EVE])
    quota = client.getquotaroot("INBOX")[1]
    hold("IMAP tells the quota of vuser", re.search(rb"STORAGE \d+ 1024", b" ".join(x for part in quota for x in part if x)), (said, quota, log()))
    client.logout()
    put("x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * 20_000, EVE, "too large", "carol@example.com")
    bounced = eventually(lambda: any("Quota" in m or "quota" in m for m in mails("/home/carol/Maildir") if "too large" in m))
    hold("what does not fit bounces", bounced, world.service_log("qmail-send")[-1500:] + log())


def moved(blocks, before):
    """POP3 by Dovecot, with the same names."""
    time.sleep(1.1)
    ours = {who: names(who, PASSWORDS[who]) for who in PASSWORDS}
    hold("names that were there are there", ours[EVE][:len(before)] == before, (before, ours[EVE]))
    for name in ("pop3", "pop3s"):
        run("svc", "-d", world.SERVICE / name)
    eventually(lambda: not world.listens(995) and not world.listens(110))
    obey(blocks[2])
    eventually(lambda: answers(110, b"+OK"))
    for who in PASSWORDS:
        theirs = names(who, PASSWORDS[who])
        hold(f"Dovecot's POP3 has the names of qmail-pop3d: {who}", sorted(theirs) == sorted(ours[who]), (ours[who], theirs))
    server.terminate()
    server.wait(120)
    run("sed", "-i", "s/^protocols = imap lmtp pop3$/protocols = imap lmtp/", "/etc/dovecot/local.conf")
    for name in ("pop3", "pop3s"):
        run("svc", "-u", world.SERVICE / name)
    eventually(lambda: world.listens(995))
    hold("and back: qmail-pop3d has them still", {who: names(who, PASSWORDS[who]) for who in PASSWORDS} == ours)


def other_checkers():
    """The other programs of the family in the place of vusercheck."""
    run("chpasswd", stdin="carol:of-the-system\n")
    run("sh", "-c", "cd /home/carol && HOME=/home/carol apoppasswd", user="carol", stdin="of-her-own\n")
    now = "vusercheck"
    for checker, password in (("checkpassword", "of-the-system"), ("cmd5apoppw", "of-her-own")):
        run("sed", "-i", f"s,/{now}$,/{checker},", "/etc/dovecot/local.conf")
        now = checker
        restart()
        try:
            client = imap("carol", password)
            fine = client.select("INBOX")[0] == "OK"
            client.logout()
        except imaplib.IMAP4.error as e:
            fine = e
        hold(f"{checker} in its place: carol logs in", fine is True, f"{fine}\n{log()}")
        code, said = run("doveadm", "user", "carol")
        hold("and Dovecot finds her home without a password", code == 0 and "/home/carol" in said, said + log())
    server.terminate()
    server.wait(120)


def main():
    if not shutil.which("dovecot"):
        skip("IMAP by Dovecot (not installed)")
        return
    for place in ("/run", "/var/lib/dovecot"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place], check=True)
    write("/etc/dovecot/conf.d/99-log.conf", f"log_path = {LOG}\nauth_verbose = yes\n")
    blocks = commands()
    obey(blocks[0])
    logins()
    fetchers()
    before = both_ways()
    by_lmtp(blocks)
    moved(blocks, before)
    other_checkers()
