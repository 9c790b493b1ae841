"""The place where the parts meet: a post office of ours, names, certificates, other hosts in networks of their own."""
import os, pathlib, shutil, socket, struct, subprocess, sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent

sys.path.insert(0, str(HERE.parent))
import post_office

office = post_office.load()
hold, skip, eventually, write, mails = office.hold, office.skip, office.eventually, office.write, office.mails
HOME, SERVICE = office.HOME, office.SERVICE

# Everything of this suite lies here, on a file system that goes with the space.
PLACE = pathlib.Path("/mnt/interop")
TLS = PLACE / "tls"
CA = TLS / "ca.pem"
# Our host, for whoever is in another network.
US = "10.9.0.1"
PASSWORDS = {"carol": "tanstaaf-carol", "dave": "tanstaaf-dave", "eve@virtual.test": "tanstaaf-eve"}
SERVICES = ("qmail-send", "qmail-queued", "smtp", "submission", "smtps", "pop3", "pop3s")
PORTS = {25: "starttls-smtp", 587: "starttls-smtp", 465: "", 110: "starttls-pop3", 995: ""}


def run(*argv, **more):
    """As office.run; a program that hangs has failed, and the next test goes on."""
    try:
        return office.run(*argv, **more)
    except subprocess.TimeoutExpired as e:
        return 124, f"{argv[0]} is still running after {e.timeout} s\n{e.stdout}\n{e.stderr}"


def openssl(*words, stdin=""):
    code, said = run("openssl", *words, stdin=stdin)
    if code:
        raise RuntimeError(f"openssl {words}: {said}")


def authority(name):
    """An authority of its own: NAME.pem and NAME.key."""
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", f"/CN=authority {name}", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", TLS / f"{name}.key", "-out", TLS / f"{name}.pem")


def certificate(host, ca="ca", directory=None, rsa=False):
    """fullchain.pem and privkey.pem for a host, as certbot lays them out; returns the directory."""
    to = pathlib.Path(directory or TLS / host)
    to.mkdir(parents=True, exist_ok=True)
    key = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    openssl("req", "-new", "-newkey", *key, "-nodes", "-subj", f"/CN={host}", "-keyout", to / "privkey.pem", "-out", to / "request")
    write(to / "extensions", f"subjectAltName=DNS:{host}\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
                             "extendedKeyUsage=serverAuth,clientAuth\n")
    openssl("x509", "-req", "-in", to / "request", "-CA", TLS / f"{ca}.pem", "-CAkey", TLS / f"{ca}.key", "-days", "20",
            "-extfile", to / "extensions", "-out", to / "cert.pem")
    (to / "fullchain.pem").write_text((to / "cert.pem").read_text() + (TLS / f"{ca}.pem").read_text())
    return to


def names(*lines):
    """A DNS server with these records, as tests/conformance/dns.py understands them."""
    zone = PLACE / "zone"
    write(zone, "\n".join(lines) + "\n")
    write("/etc/resolv.conf", f"nameserver {US}\n")
    subprocess.Popen([sys.executable, "-B", str(office.TOP / "tests/conformance/dns.py"), US, str(zone)],
                     stdin=subprocess.DEVNULL)


class Host:
    """A network space of its own, where port 25 is free, with a wire to us."""

    def __init__(self, number):
        self.ours, self.address = f"10.9.{number}.1", f"10.9.{number}.2"
        self.other = f"10.9.{number}.3"
        self.keeper = subprocess.Popen(["unshare", "--net", "sleep", "100000"], stdin=subprocess.DEVNULL)
        space = pathlib.Path(f"/proc/{self.keeper.pid}/ns/net")
        eventually(lambda: os.readlink(space) != os.readlink("/proc/self/ns/net"))
        self.space = str(space)
        for words in (["ip", "link", "add", f"to{number}", "type", "veth", "peer", "name", "wire", "netns", str(self.keeper.pid)],
                      ["ip", "addr", "add", f"{self.ours}/24", "dev", f"to{number}"], ["ip", "link", "set", f"to{number}", "up"],
                      self.inside("ip", "addr", "add", f"{self.address}/24", "dev", "wire"),
                      self.inside("ip", "addr", "add", f"{self.other}/24", "dev", "wire"),
                      self.inside("ip", "link", "set", "lo", "up"), self.inside("ip", "link", "set", "wire", "up"),
                      self.inside("ip", "route", "add", "default", "via", self.ours)):
            subprocess.run(words, check=True)

    def inside(self, *words):
        return ["nsenter", f"--net={self.space}", *map(str, words)]

    def run(self, *words, **more):
        return run(*self.inside(*words), **more)

    def answers(self, port, greeting=b"220", address=None):
        return answers(port, greeting, address or self.address)


def answers(port, greeting, address="127.0.0.1"):
    try:
        with socket.create_connection((address, port), timeout=5) as s:
            return s.recv(len(greeting)) == greeting
    except OSError:
        return False


def service_log(name):
    path = HOME / f"service/{name}/log/main/current"
    return path.read_text(errors="replace") if path.exists() else ""


def control(name, text, mode=0o644):
    write(HOME / "control" / name, text, mode)


def inject(to, text="x", sender="carol@example.com"):
    """A message into our queue by carol."""
    return run("qmail-inject", f"-f{sender}", to, user="carol", stdin=f"Subject: interop\n\n{text}\n")


def flush():
    """Everything in our queue is due now."""
    for pid in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (pid / "comm").read_text() == "qmail-send\n":
                os.kill(int(pid.name), 14)
        except OSError:
            pass


def make():
    global svscan
    # Modules of the test itself, and what /home covers, are loaded by now.
    office.private_world()
    PLACE.mkdir()
    code, said = run(office.TOP / "package/install")
    hold("package/install", code == 0, said)
    for user in ("carol", "dave"):
        run("useradd", "-m", "-U", "-s", "/bin/sh", user)
        run("maildirmake", f"/home/{user}/Maildir", user=user)
    run("useradd", "-m", "-U", "-s", "/usr/sbin/nologin", "vmail")
    run("config-fast", "mail.example.com")
    control("locals", "mail.example.com\nexample.com\n")
    control("rcpthosts", "mail.example.com\nexample.com\nnot-named.test\n")
    write(HOME / "alias/.qmail-postmaster", "&carol@example.com\n")
    for user in ("carol", "dave"):
        code, said = run("vuser", "-d", f"/home/{user}", "add", "-a", ".", stdin=PASSWORDS[user] + "\n")
        hold(f"vuser keeps a password of {user}", code == 0, said)
    code, said = run("vuser", "domain", "virtual.test", "vmail", "/home/vmail/virtual.test")
    code2, said2 = run("vuser", "-D", "virtual.test", "add", "-a", "eve", stdin=PASSWORDS["eve@virtual.test"] + "\n")
    hold("and that of a virtual user", (code, code2) == (0, 0), said + said2)

    TLS.mkdir()
    authority("ca")
    authority("rogue")
    certificate("mail.example.com", directory=HOME / "control/tls/mail.example.com")
    shutil.copy(CA, HOME / "control/tlsroots.pem")
    for name in (US,):
        subprocess.run(["ip", "addr", "add", f"{name}/32", "dev", "lo"], check=True)
    names(f"mail.example.com A {US}", f"other.example.com A {US}", "example.com MX 10 mail.example.com",
          "not-named.test MX 10 other.example.com", "virtual.test MX 10 mail.example.com",
          "postfix.test MX 10 mx.postfix.test", "mx.postfix.test A 10.9.2.2", "impostor.test MX 10 mx.postfix.test",
          "rogue.test MX 10 mx.rogue.test", "mx.rogue.test A 10.9.2.3",
          "exim.test MX 10 mx.exim.test", "mx.exim.test A 10.9.3.2", "impostor2.test MX 10 mx.exim.test")
    write("/etc/hosts", f"127.0.0.1 localhost {socket.gethostname()}\n{US} mail.example.com other.example.com\n")
    # The scripts as they are, but for what knows passwords in clear: CRAM-MD5 is asked for.
    for name, old, new in (("submission", "SMTPAUTH=!", "SMTPAUTH=!+cram"), ("smtps", "SMTPAUTH=!", "SMTPAUTH=!+cram"),
                           ("pop3", "POP3LOG=1", "POP3LOG=1 POP3AUTH=+cram"), ("pop3s", "POP3LOG=1", "POP3LOG=1 POP3AUTH=+cram")):
        script = HOME / "service" / name / "run"
        script.write_text(script.read_text().replace(old, new))
    for name in SERVICES:
        (SERVICE / name).symlink_to(HOME / "service" / name)
    svscan = subprocess.Popen([str(HOME / "bin/svscan"), str(SERVICE)], env={"PATH": office.PATH}, cwd="/")
    up = eventually(lambda: answers(25, b"220") and answers(587, b"220") and answers(110, b"+OK") and listens(465) and listens(995))
    hold("all services of package/service answer", up, "".join(service_log(n) for n in SERVICES))


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except OSError:
        return False


def close():
    leaked = [name for name in SERVICES if any(p in service_log(name) for p in PASSWORDS.values())]
    hold("no password is in any log", not leaked, leaked)
    trouble = [line for name in SERVICES for line in service_log(name).splitlines()
               if "panicked" in line or "a process for TLS has died" in line]
    hold("and no program of ours crashed", not trouble, trouble[:5])
    svscan.terminate()
