"""What is played under strace: the scenes of tests/system/run, and those that show the programs which it does not need."""
import os, pathlib, poplib, pwd, re, shutil, socket, subprocess, sys, threading, time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent

sys.path.insert(0, str(HERE.parent))
import post_office

os.environ.setdefault("QMAIL_SYSTEM_TEST_SPACES", "made")
office = post_office.load()
hold, write, mails = office.hold, office.write, office.mails
HOME, SERVICE = office.HOME, office.SERVICE

# Seconds that something may take which takes less than one: strace, and a machine that does other work, make it longer.
PATIENCE = 60
# Who may try passwords, beside root.
SMTPD = "qmaild"
TLS = HOME / "control/tls/mail.example.com"
children = []


def eventually(condition):
    return office.eventually(condition, PATIENCE)


def run(*argv, **more):
    """As office.run; a program that hangs has failed, and the next scene goes on."""
    try:
        return office.run(*argv, **{"timeout": PATIENCE, **more})
    except subprocess.TimeoutExpired as e:
        return 124, f"{argv[0]} is still running after {e.timeout} s\n{e.stdout}\n{e.stderr}"


def start(*argv, port=None, **more):
    """A server in the background; `stop_all` ends it."""
    env = {"PATH": office.PATH, **more.pop("env", {})}
    server = subprocess.Popen([str(a) for a in argv], env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, **more)
    children.append(server)
    if port:
        hold(f"{argv[0]} listens on port {port}", eventually(lambda: open_port(port)))
    return server


def answers():
    """Whether the server for names answers."""
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        try:
            client.sendto(b"\0\1\1\0\0\1\0\0\0\0\0\0\4mail\2mx\4test\0\0\1\0\1", ("127.0.0.1", 53))
            return client.recv(512)[:2] == b"\0\1"
        except OSError:
            return False


def stop_all():
    while children:
        server = children.pop()
        server.terminate()
        server.wait(PATIENCE)


def open_port(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except OSError:
        return False


def works(sentence, *argv, code=0, **more):
    """A program that ends by itself; returns what it said."""
    ended, said = run(*argv, **more)
    hold(sentence, ended == code, f"{argv}: exit code {ended}\n{said}")
    return said


def own(path, text, user="carol", mode=0o644):
    write(path, text, mode)
    shutil.chown(path, user, user)


def arrives(word, mailbox="/home/carol/maildir", count=1):
    hold(f"{word} arrives in {mailbox}", eventually(lambda: sum(word in m for m in mails(mailbox)) >= count), office.log("send")[-1500:])


def empty():
    return eventually(lambda: run("qmail-qstat")[1].startswith("messages in queue: 0\n"))


def left():
    """What the queue holds, and what was said about it."""
    return run("find", HOME / "queue", "-type", "f")[1] + run("qmail-qread")[1] + office.log("send")[-3000:]


class Lmtp(threading.Thread):
    """A server that takes one message by LMTP, on a socket of this machine."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        os.chmod(path, 0o777)
        self.server.listen(5)
        self.start()

    def run(self):
        try:
            self.serve(self.server.accept()[0])
        except OSError:
            # The client does not wait for the answer to QUIT.
            pass

    def serve(self, client):
        with client, client.makefile("rb") as lines:
            client.sendall(b"220 lmtp.test\r\n")
            while line := lines.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    client.sendall(b"354 go on\r\n")
                    while lines.readline() not in (b".\r\n", b""):
                        pass
                client.sendall(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")


def deliveries():
    """Each kind of delivery, by qmail-local and by the workers of qmail-lspawn."""
    pathlib.Path("/mnt/lmtp").mkdir(exist_ok=True)
    Lmtp("/mnt/lmtp/socket")
    home = "/home/carol"
    own(f"{home}/.qmail-mbox", "./Mailbox\n")
    own(f"{home}/.qmail-dir", "./maildir/\n")
    own(f"{home}/.qmail-to", "&dave@example.com\n")
    own(f"{home}/.qmail-list", "&dave@example.com\n")
    own(f"{home}/.qmail-list-owner", "./maildir/\n")
    own(f"{home}/.qmail-all", "|preline cat >/dev/null\n|except false\n|condredirect dave@example.com false\n|bouncesaying no false\n"
        "|forward dave@example.com\n|deliverquota ./maildir 100MB\n|qmail-lmtp /mnt/lmtp/socket\n./Mailbox\n./maildir/\n&dave@example.com\n")
    own(f"{home}/.qmail-away", "|condredirect dave@example.com true\n")
    own(f"{home}/.qmail-no", "|bouncesaying no true\n")
    joe = f"=joe:carol:{office.uid('carol')}:{pwd.getpwnam('carol').pw_gid}:{home}:-:dir:\n"
    before = (HOME / "users/assign").read_text()
    write(HOME / "users/assign", before.removesuffix(".\n") + joe + ".\n")
    works("qmail-newu makes users/cdb", "qmail-newu")
    for extension in ("mbox", "dir", "to", "list", "all", "away", "no"):
        office.send([f"carol-{extension}@example.com"], f"Subject: x\r\n\r\nword-{extension}\r\n", "dave@example.com")
    office.send(["joe@example.com"], "Subject: x\r\n\r\nword-joe\r\n")
    for word in ("dir", "joe"):
        arrives(f"word-{word}")
    arrives("word-all", count=2)
    for word in ("to", "list", "away", "no"):
        arrives(f"word-{word}", "/home/dave/maildir")
    arrives("word-all", "/home/dave/maildir", 2)
    hold("mbox has both", eventually(lambda: (pathlib.Path(home) / "Mailbox").read_text().count("word-") == 2))
    # The sender of this one does not exist either.
    office.send(["nobody-at-all@virtual.example.com", "carol-no@example.com"], "Subject: x\r\n\r\nword-twice\r\n", "not-there@example.com")
    arrives("word-twice")
    hold("the queue is empty again", empty(), left())


def remote():
    """Other hosts: one that takes all, with TLS and without; one that is not there; a domain that is not there."""
    zone = pathlib.Path("/mnt/zone")
    write(zone, "mx.test MX 10 mail.mx.test\nmail.mx.test A 127.0.0.3\n2.0.0.127.rbl.test A 127.0.0.2\n2.0.0.127.rbl.test TXT no\n"
                "1.0.0.127.in-addr.arpa PTR localhost.test\nlocalhost.test A 127.0.0.1\n")
    start(sys.executable, "-B", office.TOP / "tests/conformance/dns.py", "127.0.0.1", zone)
    hold("names are served", eventually(answers))
    # What it takes is gone: the queue is not ours.
    write("/mnt/drop", "#!/bin/sh\ncat >/dev/null\ncat <&1 >/dev/null\n", 0o755)
    sink = {"QMAILQUEUE": "/mnt/drop", "RELAYCLIENT": ""}
    start("tcpserver", "-HR", "-u", office.uid("qmaild"), "-g", pwd.getpwnam("qmaild").pw_gid, "127.0.0.1", 2526, "qmail-smtpd", env=sink, port=2526)
    start("envuidgid", SMTPD, "sslserver", "-nHR", "-U", "127.0.0.1", 2527, "qmail-smtpd", port=2527,
          env={**sink, "CERTDIR": str(TLS.parent), "UCSPITLS": ""})
    write(HOME / "control/smtproutes", "plain.test:127.0.0.1:2526\ntls.test:127.0.0.1:2527\naway.test:127.0.0.4:2599\n"
          "six.test:[::1]:2599\nstrict.test:localhost.test:2527\n")
    write(HOME / "control/tlspolicy", "localhost.test:verify\n")
    write(HOME / "control/concurrencyremote", "5\n")
    works("HUP and restart: svc -h", "svc", "-h", SERVICE / "send")
    for host in ("plain.test", "tls.test", "away.test", "six.test", "strict.test", "mx.test", "nowhere.test"):
        works(f"a message for {host}", "qmail-inject", f"x@{host}", user="dave", stdin=f"Subject: {host}\n\nword-{host}\n")
    arrives("word-nowhere.test", "/home/dave/maildir")
    hold("two are taken", eventually(lambda: office.log("send").count("success") and
         len(re.findall(r"delivery \d+: success: 127.0.0.1_accepted", office.log("send"))) >= 2), office.log("send")[-2000:])
    hold("three wait", eventually(lambda: "away.test" in run("qmail-qread")[1] and "deferral" in office.log("send")), office.log("send")[-1000:])
    works("qmail-qread lists it", "qmail-qread")
    works("so does mailq", "mailq")
    works("so does sendmail -bp", "sendmail", "-bp")
    works("qmail-tcpto", "qmail-tcpto")
    works("qmail-tcpok", "qmail-tcpok")
    works("qmail-send starts again with it", "svc", "-t", SERVICE / "send")
    eventually(lambda: office.log("send").count("status: local 0/10 remote 0/5") > 0)
    write(HOME / "control/smtproutes", "away.test:127.0.0.1:2526\nsix.test:127.0.0.1:2526\nstrict.test:127.0.0.1:2526\n")
    (HOME / "control/tlspolicy").unlink()
    # It may have been asked before it had read its queue.
    asked = lambda: run("svc", "-a", SERVICE / "send")[0] == 0 and run("qmail-qstat")[1].startswith("messages in queue: 0\n")
    hold("ALRM makes it due", eventually(asked), left())
    # The other way: names are looked up, ident is asked, lists are asked.
    start("tcpserver", "-v", "-lmail.example.com", "127.0.0.1", 2528, "rblsmtpd", "-rrbl.test", "qmail-smtpd", port=2528, env=sink)
    works("mconnect", "mconnect", "127.0.0.1", "2528", stdin="QUIT\n")
    works("tcpclient", "tcpclient", "-v", "127.0.0.1", "2526", "sh", "-c", "printf 'QUIT\\r\\n' >&7; cat <&6")
    works("tcpclient looks a name up", "tcpclient", "localhost.test", "2526", "sh", "-c", "printf 'QUIT\\r\\n' >&7; cat <&6")
    nobody = pwd.getpwnam("nobody")
    start("sslserver", "-eHR", "127.0.0.1", 2529, "sh", "-c", "echo hello", port=2529,
          env={"CERTDIR": str(TLS.parent), "SSL_UID": str(nobody.pw_uid), "SSL_GID": str(nobody.pw_gid)})
    works("sslclient", "sslclient", "-a", TLS / "fullchain.pem", "127.0.0.1", "2529", "sh", "-c", "cat <&6")
    works("but knows nobody who vouches for it", "sslclient", "127.0.0.1", "2529", "sh", "-c", "cat <&6", code=111)
    # As it is on a system that has no qmailtls.
    accounts = pathlib.Path("/etc/passwd").read_text()
    write("/etc/passwd", accounts.replace("qmailtls:", "gone:"))
    start("sslserver", "-eHR", "127.0.0.1", 2530, "sh", "-c", "echo hello", port=2530, env={"CERTDIR": str(TLS.parent)})
    works("without qmailtls, too", "sslclient", "-a", TLS / "fullchain.pem", "127.0.0.1", "2530", "sh", "-c", "cat <&6")
    write("/etc/passwd", accounts)
    stop_all()


def passwords():
    """POP3 with each kind of accounts."""
    write("/etc/poppasswd", "carol:of-the-other-kind\n", 0o600)
    works("apoppasswd", "apoppasswd", user="carol", stdin="of-the-third-kind\n", env={"HOME": "/home/carol"})
    run("useradd", "-m", "-U", "vpopmail")
    domain = pathlib.Path("/home/vpopmail/domains/pop.test")
    (domain / "tim").mkdir(parents=True)
    write("/home/vpopmail/etc/open-smtp", "")
    write("/home/vpopmail/etc/tcp.smtp", ":allow\n")
    write(domain / "vpasswd", f"tim:$1$saltsalt$roN2lUfEbZqZad1NpG.Zy1:1:0:Tim:{domain}/tim:NOQUOTA\n")
    write(domain / ".qmail-default", f"|vdelivermail '' bounce-no-mailbox\n")
    run("sh", "-c", "chown -R vpopmail:vpopmail /home/vpopmail")
    who = pwd.getpwnam("vpopmail")
    line = f"+pop.test-:pop.test:{who.pw_uid}:{who.pw_gid}:{domain}:-::\n"
    write(HOME / "users/assign", (HOME / "users/assign").read_text().removesuffix(".\n") + line + ".\n")
    write(HOME / "control/virtualdomains", (HOME / "control/virtualdomains").read_text() + "pop.test:pop.test\n")
    works("qmail-newu with a domain of vpopmail", "qmail-newu")
    works("a moment for qmail-send", "svc", "-h", SERVICE / "send")
    time.sleep(0.5)
    works("a message for it", "qmail-inject", "tim@pop.test", user="dave", stdin="Subject: x\n\nword-tim\n")
    arrives("word-tim", domain / "tim/Maildir")

    def fetch(checker, login, password, how="user", *mailbox):
        server = start("tcpserver", "-HRl", "mail.example.com", "127.0.0.1", 1110, "qmail-popup", "mail.example.com", checker, "qmail-pop3d",
                       *mailbox, env={"POP3PLAIN": "1", "VPOPMAILHOME": "/home/vpopmail"}, port=1110)
        client = poplib.POP3("127.0.0.1", 1110, timeout=PATIENCE)
        try:
            if how == "apop":
                client.apop(login, password)
            else:
                client.user(login)
                client.pass_(password)
            count = client.stat()[0]
            if count:
                client.retr(1)
                client.dele(1)
            client.quit()
            hold(f"{login} reads mail with {checker}", True)
        except poplib.error_proto as e:
            hold(f"{login} reads mail with {checker}", False, e)
        server.terminate()
        server.wait(PATIENCE)
        children.remove(server)
    fetch("checkpassword", "carol", "of-the-system", "user", "maildir")
    fetch("cmd5checkpw", "carol", "of-the-other-kind", "apop", "maildir")
    fetch("cmd5apoppw", "carol", "of-the-third-kind", "user", "maildir")
    fetch("vusercheck", "ann@virtual.example.com", "tanstaaf", "user", "Maildir")
    fetch("vchkpw", "tim@pop.test", "tanstaaf", "user", "Maildir")
    # Where /etc/passwd is not what is asked first, all of them go to the name service.
    sources = pathlib.Path("/etc/nsswitch.conf")
    before = sources.read_text() if sources.exists() else None
    write(sources, "passwd: compat\ngroup: compat\n")
    fetch("cmd5checkpw", "carol", "of-the-other-kind", "apop", "maildir")
    fetch("cmd5apoppw", "carol", "of-the-third-kind", "user", "maildir")
    works("vuser by the name service", "vuser", "domain", "other.test", "vmail", "/home/vmail/other")
    works("setuidgid by the name service", "setuidgid", "dave", "true")
    works("envuidgid by the name service", "envuidgid", "dave", "true")
    if before is None:
        sources.unlink()
    else:
        write(sources, before)
    works("clearopensmtp", "clearopensmtp", user="vpopmail", env={"VPOPMAILHOME": "/home/vpopmail"})


def tools():
    """The small ones."""
    works("qmail-showctl", "qmail-showctl")
    write(HOME / "control/morercpthosts", "more.test\n")
    works("qmail-newmrh", "qmail-newmrh")
    works("lines", "sh", "-c", "echo x | addcr | delcr | tai64n | tai64nlocal")
    works("fixcrio", "fixcrio", "true")
    works("recordio", "recordio", "true")
    works("argv0", "argv0", "true", "else")
    works("tcprulescheck", "tcprulescheck", HOME / "sv/smtpd/smtp.cdb", env={"TCPREMOTEIP": "127.0.0.1"})
    write("/mnt/env/NAME", "value\n")
    works("envdir", "envdir", "/mnt/env", "sh", "-c", '[ "$NAME" = value ]')
    works("setlock", "setlock", "-n", "/mnt/lock", "true")
    works("pgrphack", "pgrphack", "true")
    works("fghack", "fghack", "true")
    works("splogger", "splogger", "x", stdin="a line\n")
    works("multilog with a processor and a status", "multilog", "s4096", "n3", "!tai64nlocal", "=/mnt/status", "/mnt/logs", stdin="a line of this log\n" * 1000)
    works("multilog without", "multilog", "t", "s4096", "n3", "/mnt/logs2", stdin="a line of this log\n" * 1000)
    works("sendmail -bs", "sendmail", "-bs", user="dave", stdin="QUIT\r\n")


def boot():
    """svscanboot, which nobody ends but by svscan."""
    write("/mnt/boot/one/run", "#!/bin/sh\necho starts\nexec sleep 1000\n", 0o755)
    server = start("svscanboot", "/mnt/boot")
    hold("svscanboot starts svscan", eventually(lambda: run("svok", "/mnt/boot/one")[0] == 0))
    stop_all()
    # The next one ends what this one leaves.
    server = start("svscanboot", "/mnt/boot")
    hold("again", eventually(lambda: len([p for p, _ in office.processes() if p == "readproctitle"]) == 1 and
         run("svok", "/mnt/boot/one")[0] == 0))
    stop_all()
    run("svc", "-dx", "/mnt/boot/one")
    hold("and its service ends", eventually(lambda: run("svok", "/mnt/boot/one")[0] != 0))


def logger():
    """qmail-start with a logger instead of supervise's."""
    run("svc", "-d", SERVICE / "send")
    hold("qmail-send stops", eventually(lambda: not any(p == "qmail-send" for p, _ in office.processes())))
    server = start("qmail-start", "./maildir/", "splogger", "qmail")
    hold("splogger runs as qmaill", eventually(lambda: ("splogger", office.uid("qmaill")) in office.processes()), office.processes())
    server.terminate()
    server.wait(PATIENCE)
    children.remove(server)
    hold("all of it ends", eventually(lambda: not any(p in ("splogger", "qmail-lspawn") for p, _ in office.processes())))
    run("svc", "-u", SERVICE / "send")


def with_service():
    """Once more with the queue service, which spares the set-uid program."""
    (SERVICE / "queued").symlink_to(HOME / "sv/queued")
    write(HOME / "control/checkrecipients", "0\n")
    hold("the queue service is back", eventually(lambda: (HOME / "run/queue/socket").is_socket()))
    own("/home/carol/.qmail-both", "|forward dave@example.com\n|condredirect dave@example.com true\n")
    office.send([f"{name}@example.com" for name in ("carol", "carol-to", "carol-both", "as-alias")], "Subject: x\r\n\r\nword-service\r\n")
    arrives("word-service", count=2)
    arrives("word-service", "/home/dave/maildir", 3)
    works("a bounce by the service", "qmail-inject", "not-there@example.com", user="dave", stdin="Subject: x\n\nword-gone\n")
    arrives("word-gone", "/home/dave/maildir")
    run("svc", "-dx", SERVICE / "queued")
    (SERVICE / "queued").unlink()
    (HOME / "control/checkrecipients").unlink()


if __name__ == "__main__":
    office.TOP = pathlib.Path("/mnt/top")
    for scene in (office.configure, office.serve, office.deliver, office.accounts, office.service, office.separate, office.fill,
                  deliveries, remote, passwords, with_service, tools, boot, logger, office.stop):
        begun = time.time()
        try:
            scene()
        except Exception as trouble:
            hold(f"{scene.__name__} goes to its end", False, repr(trouble))
        print(f"{scene.__name__}: {time.time() - begun:.1f} s")
    print(f"{office.passed} passed, {office.failed} failed, {office.skipped} skipped")
    sys.exit(1 if office.failed else 0)
