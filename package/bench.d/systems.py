"""The mail systems that are compared: ours, Postfix from its package, and a C qmail if QMAIL_REFERENCE is its home.

Each gets its own configuration below the place; nothing of the machine is changed.
"""
import os, pwd, re, shutil, subprocess, time

from lab import HOST, OURS, PLACE, Group, answers, entries, files, free_port, note

DOMAIN, SINK, DEFER = "bench.test", "sink.test", "defer.test"
USER = "benchuser"


class System:
    """One mail system. `hold`: it accepts and keeps; `most`: sessions at once; `sink`, `defer`: ports of other hosts."""

    def __init__(self, hold=False, most=120, sink=9, defer=9):
        self.hold, self.most, self.sink, self.defer = hold, most, sink, defer
        self.port, self.group, self.processes = free_port(), Group(self.name), []
        self.top = f"{PLACE}/{self.name}"
        person = pwd.getpwnam(USER)
        self.maildir = f"{person.pw_dir}/Maildir"
        shutil.rmtree(self.maildir, ignore_errors=True)
        for part in ("", "/tmp", "/new", "/cur"):
            os.mkdir(self.maildir + part, 0o700)
            os.chown(self.maildir + part, person.pw_uid, person.pw_gid)
        self.prepare()

    def __enter__(self):
        try:
            self.start()
            answers(self.port)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []
        self.group.end()

    def run(self, words, env=None, trace=None, out=None):
        """Starts a part of the system inside its group."""
        words = list(words)
        if trace:
            calls = "trace=fork,vfork,clone,clone3,execve,fsync,fdatasync,syncfs,link,linkat,rename,renameat,renameat2,unlink,unlinkat"
            words = ["strace", "-f", "-qq", "-o", trace, "-e", calls, "-e", "signal=none", *words]
        log = out or open(f"{PLACE}/{self.name}.out", "ab")
        full = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **(env or {})}
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=full, cwd="/",
                                   preexec_fn=self.group.enter, start_new_session=True)
        self.processes.append(process)
        return process

    def arrived(self):
        return entries(f"{self.maildir}/new")

    def control(self, home):
        texts = {"me": DOMAIN, "locals": DOMAIN, "rcpthosts": DOMAIN, "concurrencylocal": "120", "concurrencyremote": "120", "maxrcpt": "6000",
                 "smtproutes": f"{SINK}:{HOST}:{self.sink}\n{DEFER}:{HOST}:{self.defer}"}
        for name, text in texts.items():
            with open(f"{home}/control/{name}", "w") as f:
                f.write(text + "\n")

    def empty(self, home):
        for part in ("mess", "info", "local", "remote", "bounce", "todo", "intd", "pid"):
            for directory, _, names in os.walk(f"{home}/queue/{part}"):
                for name in names:
                    os.unlink(f"{directory}/{name}")

    def multilog(self, program):
        """A logger for all parts: the descriptor to write to."""
        reader, writer = os.pipe()
        directory = f"{PLACE}/{self.name}-log"
        os.makedirs(directory, exist_ok=True)
        os.chmod(directory, 0o777)
        process = subprocess.Popen([program, "t", "s16777215", "n4", directory], stdin=reader, preexec_fn=self.group.enter)
        os.close(reader)
        self.processes.append(process)
        return writer


class Ours(System):
    name, title = "ours", "ours"
    options = ["--fork-server"]

    @staticmethod
    def is_there():
        return True

    def prepare(self):
        self.home = f"{self.top}/var/qmail"
        if not os.path.isdir(self.home):
            done = subprocess.run(["package/install"], env={**os.environ, "DESTDIR": self.top}, capture_output=True, text=True)
            if done.returncode:
                shutil.rmtree(self.top)
                raise RuntimeError(done.stderr)
        self.home = next(d for d, names, _ in os.walk(self.top) if {"bin", "control", "queue"} <= set(names))
        self.control(self.home)
        self.empty(self.home)

    def start(self, trace=None):
        out = self.multilog(f"{OURS}/multilog")
        env = {"PATH": f"{self.home}/bin:/usr/bin:/bin", "QMAILHOME": self.home}
        self.run(["setuidgid", "qmailq", "qmail-queued"], env, trace and f"{trace}.queued", out)
        if not self.hold:
            self.run(["qmail-start", "./Maildir/"], env, trace and f"{trace}.send", out)
        smtpd = ["tcpserver", "-QHRl", DOMAIN, "-b1024", f"-c{self.most}", *self.options, *self.ids(), HOST, str(self.port), "qmail-smtpd"]
        self.run(smtpd, {**env, "RELAYCLIENT": ""}, trace and f"{trace}.smtpd", out)
        os.close(out)

    def ids(self):
        who = pwd.getpwnam("qmaild")
        return ["-u", str(who.pw_uid), "-g", str(who.pw_gid)]

    def left(self):
        return files(f"{self.home}/queue/mess")


class Classic(Ours):
    """Ours without the fork server: what that is worth."""
    name, title = "exec", "ours, a program for each connection"
    options = []


class Reference(System):
    name, title = "cqmail", "C qmail"

    @staticmethod
    def is_there():
        home = os.environ.get("QMAIL_REFERENCE", "")
        return os.path.exists(f"{home}/bin/qmail-send") and bool(shutil.which("tcpserver", path="/usr/bin"))

    def prepare(self):
        # The home is compiled in: a copy on the place covers it, in this mount namespace only.
        self.home = os.environ["QMAIL_REFERENCE"]
        if not os.path.ismount(self.home):
            subprocess.run(["cp", "-a", self.home, self.top], check=True)
            subprocess.run(["mount", "--bind", self.top, self.home], check=True)
        self.control(self.home)
        self.empty(self.home)

    def start(self, trace=None):
        out = self.multilog("/usr/bin/multilog")
        env = {"PATH": f"{self.home}/bin:/usr/bin:/bin"}
        if not self.hold:
            self.run(["qmail-start", "./Maildir/"], env, trace and f"{trace}.send", out)
        user = next((u for u in ("cqmaild", "qmaild") if self.knows(u)), "nobody")
        who = pwd.getpwnam(user)
        words = ["/usr/bin/tcpserver", "-QHRl", DOMAIN, "-b1024", f"-c{self.most}", "-u", str(who.pw_uid), "-g", str(who.pw_gid),
                 HOST, str(self.port), f"{self.home}/bin/qmail-smtpd"]
        self.run(words, {**env, "RELAYCLIENT": ""}, trace and f"{trace}.smtpd", out)
        os.close(out)

    @staticmethod
    def knows(user):
        try:
            return pwd.getpwnam(user)
        except KeyError:
            return None

    def left(self):
        return files(f"{self.home}/queue/mess")


class Postfix(System):
    name, title = "postfix", "Postfix"

    @staticmethod
    def is_there():
        return os.path.exists("/usr/sbin/postfix") and os.path.exists("/usr/share/postfix/master.cf.dist")

    def prepare(self):
        etc = f"{self.top}/etc"
        for directory in (etc, f"{self.top}/queue", f"{self.top}/data"):
            os.makedirs(directory, exist_ok=True)
        shutil.chown(f"{self.top}/data", "postfix")
        for name in ("dynamicmaps.cf", "postfix-files"):
            if os.path.exists(f"/etc/postfix/{name}"):
                shutil.copy(f"/etc/postfix/{name}", etc)
        routes = f"{{ {SINK} = smtp:[{HOST}]:{self.sink} }}, {{ {DEFER} = smtp:[{HOST}]:{self.defer} }}"
        settings = {
            "compatibility_level": "3.6", "queue_directory": f"{self.top}/queue", "data_directory": f"{self.top}/data",
            "inet_interfaces": HOST, "inet_protocols": "ipv4", "myhostname": DOMAIN, "mydestination": DOMAIN,
            "mynetworks": "127.0.0.0/8", "relay_domains": "", "alias_maps": "", "alias_database": "", "local_recipient_maps": "",
            "home_mailbox": "Maildir/", "mailbox_size_limit": "0", "biff": "no", "disable_dns_lookups": "yes",
            "smtp_host_lookup": "native", "smtpd_peername_lookup": "no", "transport_maps": f"inline:{{ {routes} }}",
            "default_process_limit": str(max(100, self.most)), "smtpd_recipient_limit": "10000",
            "smtpd_tls_security_level": "none", "smtp_tls_security_level": "none", "maillog_file": f"{self.top}/mail.log",
            "maillog_file_prefixes": PLACE, **({"in_flow_delay": "0"} if self.hold else {})}
        with open(f"{etc}/main.cf", "w") as f:
            f.writelines(f"{name} = {value}\n" for name, value in settings.items())
        with open(f"{etc}/master.cf", "w") as f:
            f.writelines(self.services())
        subprocess.run(["postfix", "-c", etc, "check"], check=True, capture_output=True)
        subprocess.run(["postsuper", "-c", etc, "-d", "ALL"], capture_output=True)

    def services(self):
        for line in open("/usr/share/postfix/master.cf.dist"):
            words = line.split()
            if not words or line[0] in "# \t":
                continue
            if words[1] == "inet" and words[0] != "smtp" or words[7] == "pipe":
                continue
            if self.hold and words[0] in ("qmgr", "pickup"):
                continue
            if words[1] == "inet":
                words[0] = f"{HOST}:{self.port}"
            words[4] = "n"
            yield " ".join(words) + "\n"

    def start(self, trace=None):
        self.run(["/usr/sbin/postfix", "-c", f"{self.top}/etc", "start-fg"], trace=trace)

    def stop(self):
        subprocess.run(["postfix", "-c", f"{self.top}/etc", "stop"], capture_output=True)
        super().stop()

    def left(self):
        return sum(files(f"{self.top}/queue/{d}") for d in ("incoming", "active", "deferred", "maildrop", "hold"))


ALL = [Ours, Classic, Postfix, Reference]
