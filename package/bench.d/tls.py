#!/usr/bin/env python3
"""TLS: handshakes per second, CPU time of each, memory of a session that waits; ours beside Postfix (smtps) and Dovecot (pop3s).

As root, with openssl; Postfix and Dovecot from their packages where they are there. BENCH_OURS holds our programs (default command/),
BENCH_PLACE a directory for everything else (default a new one below /tmp). SECONDS (5), CLIENTS (4), SESSIONS (500), RUNS (3).
Systems take turns, and medians of the runs are printed. Clients and servers share the processors, so the CPU time of the server,
all its processes together, says more than the rate when the machine has other work.
"""
import os, pwd, re, shutil, socket, ssl, subprocess, sys, tempfile, time

here = os.path.dirname(os.path.abspath(__file__))
os.chdir(f"{here}/../..")
os.environ.setdefault("BENCH_OURS", f"{os.getcwd()}/command")
made = None
if not os.environ.get("BENCH_PLACE"):
    os.environ["BENCH_PLACE"] = made = tempfile.mkdtemp(prefix="bench-tls.")
    os.chmod(made, 0o755)
sys.path.insert(0, here)
from lab import HOST, OURS, PLACE, Group, free_port, median, note, until

SECONDS, CLIENTS = int(os.environ.get("SECONDS", 5)), int(os.environ.get("CLIENTS", 4))
SESSIONS, RUNS = int(os.environ.get("SESSIONS", 500)), int(os.environ.get("RUNS", 3))
NAME = "bench.test"
EC, RSA = f"{PLACE}/ec", f"{PLACE}/rsa"


def certificates():
    for path, kind in ((EC, ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]), (RSA, ["rsa:2048"])):
        os.makedirs(path, exist_ok=True)
        subprocess.run(["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", "9", "-subj", f"/CN={NAME}",
                        "-keyout", f"{path}/key.pem", "-out", f"{path}/cert.pem"], check=True, capture_output=True)


class Server:
    def __init__(self, cert):
        self.cert, self.port = cert, free_port()
        self.top = tempfile.mkdtemp(prefix=f"{self.name}.", dir=PLACE)
        os.chmod(self.top, 0o755)
        self.group = Group(f"{self.name}-{self.port}")

    def __enter__(self):
        log = open(f"{self.top}/log", "ab")
        env = {"PATH": f"{OURS}:/usr/sbin:/usr/bin:/sbin:/bin", **self.env()}
        self.process = subprocess.Popen(self.words(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=self.top,
                                        preexec_fn=self.group.enter, start_new_session=True)
        if not until(self.answers, 20):
            raise RuntimeError(f"{self.name}: {open(f'{self.top}/log').read()}")
        return self

    def env(self):
        return {}

    def answers(self):
        try:
            with session(self.port) as s:
                return s.recv(100)
        except OSError:
            return None

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.group.end()

    def memory(self):
        """Proportional set size of all processes, kB."""
        total = 0
        for pid in self.group.pids():
            try:
                total += int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M).group(1))
            except (OSError, AttributeError):
                pass
        return total


class Ours(Server):
    name, title, program, more = "ours", "sslserver, qmail-smtpd", ["qmail-smtpd"], []

    def env(self):
        for part in ("control", "queue"):
            os.makedirs(f"{self.top}/{part}", exist_ok=True)
        for part in ("me", "rcpthosts"):
            with open(f"{self.top}/control/{part}", "w") as f:
                f.write(NAME + "\n")
        return {"QMAILHOME": self.top, "CERTFILE": f"{self.cert}/cert.pem", "KEYFILE": f"{self.cert}/key.pem"}

    def words(self):
        who = pwd.getpwnam("nobody")
        return [f"{OURS}/sslserver", "-eQHRl", NAME, "-b1024", "-c2000", "-u", str(who.pw_uid), "-g", str(who.pw_gid), *self.more,
                HOST, str(self.port), *self.program]


class Copies(Ours):
    name, title, more = "copies", "sslserver --fork-server, qmail-smtpd", ["--fork-server"]


class Pop(Ours):
    name, title = "pop", "sslserver, qmail-popup"
    program = ["qmail-popup", NAME, "true"]


class Postfix(Server):
    name, title = "postfix", "Postfix (smtps)"
    there = staticmethod(lambda: os.path.exists("/usr/share/postfix/master.cf.dist"))

    def words(self):
        etc = f"{self.top}/etc"
        for path in (etc, f"{self.top}/queue", f"{self.top}/data"):
            os.makedirs(path)
        shutil.chown(f"{self.top}/data", "postfix")
        for name in ("dynamicmaps.cf", "postfix-files"):
            if os.path.exists(f"/etc/postfix/{name}"):
                shutil.copy(f"/etc/postfix/{name}", etc)
        settings = {
            "compatibility_level": "3.6", "queue_directory": f"{self.top}/queue", "data_directory": f"{self.top}/data",
            "inet_interfaces": HOST, "inet_protocols": "ipv4", "myhostname": NAME, "mydestination": NAME, "alias_maps": "",
            "disable_dns_lookups": "yes", "smtpd_peername_lookup": "no", "default_process_limit": "2000",
            "smtpd_client_connection_count_limit": "0", "smtpd_tls_cert_file": f"{self.cert}/cert.pem",
            "smtpd_tls_key_file": f"{self.cert}/key.pem", "smtpd_tls_eecdh_grade": "auto", "maillog_file": f"{self.top}/mail.log",
            "maillog_file_prefixes": PLACE}
        with open(f"{etc}/main.cf", "w") as f:
            f.writelines(f"{name} = {value}\n" for name, value in settings.items())
        with open(f"{etc}/master.cf", "w") as f:
            for line in open("/usr/share/postfix/master.cf.dist"):
                words = line.split()
                if not words or line[0] in "# \t" or words[7] == "pipe":
                    continue
                if words[1] == "inet":
                    if words[0] != "smtp":
                        continue
                    words[0] = f"{HOST}:{self.port}"
                    words += ["-o", "smtpd_tls_wrappermode=yes"]
                words[4] = "n"
                f.write(" ".join(words) + "\n")
        subprocess.run(["postfix", "-c", etc, "check"], check=True, capture_output=True)
        return ["/usr/sbin/postfix", "-c", etc, "start-fg"]

    def __exit__(self, *rest):
        subprocess.run(["postfix", "-c", f"{self.top}/etc", "stop"], capture_output=True)
        super().__exit__(*rest)


class Dovecot(Server):
    name, title, more = "dovecot", "Dovecot (pop3s)", ""
    there = staticmethod(lambda: os.path.exists("/usr/sbin/dovecot"))

    def words(self):
        with open(f"{self.top}/dovecot.conf", "w") as f:
            f.write(f"""
base_dir = {self.top}/run
state_dir = {self.top}/state
log_path = {self.top}/dovecot.log
protocols = pop3
listen = {HOST}
ssl = required
ssl_min_protocol = TLSv1.2
ssl_cert = <{self.cert}/cert.pem
ssl_key = <{self.cert}/key.pem
default_process_limit = 2000
default_client_limit = 4000
service pop3-login {{
  {self.more}
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = {self.port}
    ssl = yes
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
""")
        return ["/usr/sbin/dovecot", "-F", "-c", f"{self.top}/dovecot.conf"]


class Busy(Dovecot):
    name, title, more = "busy", "Dovecot, service_count = 0", "service_count = 0\n  process_min_avail = 2"


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE


def session(port):
    return CONTEXT.wrap_socket(socket.create_connection((HOST, port), 30), server_hostname=NAME)


def handshakes(server, more):
    """Handshakes in a second, and microseconds of CPU time of the server for each."""
    words = ["openssl", "s_time", "-connect", f"{HOST}:{server.port}", "-time", str(SECONDS), *more]
    before, begin = server.group.cpu(), time.monotonic()
    clients = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(CLIENTS)]
    texts = [client.communicate(timeout=SECONDS + 60)[0] for client in clients]
    # What programs have left to do belongs to it.
    time.sleep(1)
    spent = time.monotonic() - begin - 1
    count = sum(int(re.search(r"(\d+) connections in \d+ real seconds", text).group(1)) for text in texts)
    cpu = server.group.cpu() - before if before is not None else None
    return count / spent, cpu / count * 1e6 if cpu and count else None


def waiting(server):
    """kB of a session that has been greeted and waits."""
    with session(server.port) as first:
        first.recv(100)
        time.sleep(0.5)
        before, sessions = server.memory(), []
        for _ in range(SESSIONS):
            s = session(server.port)
            s.recv(100)
            sessions.append(s)
        time.sleep(1)
        grown = (server.memory() - before) / SESSIONS
        for s in sessions:
            s.close()
    return grown


CASES = [("full, TLS 1.3, ECDSA", EC, ["-new", "-tls1_3"]), ("full, TLS 1.3, RSA 2048", RSA, ["-new", "-tls1_3"]),
         ("resumed, TLS 1.2, ECDSA", EC, ["-reuse", "-tls1_2"])]


def main():
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    certificates()
    systems = [Ours, Copies, Pop] + [s for s in (Postfix, Dovecot, Busy) if s.there()]
    found = {}
    for run in range(RUNS):
        for case, cert, more in CASES:
            for system in systems:
                with system(cert) as server:
                    found.setdefault((case, system), []).append(handshakes(server, more))
                note(run, case, system.title, found[case, system][-1])
        for system in systems:
            with system(EC) as server:
                found.setdefault(("memory", system), []).append((waiting(server), None))
            note(run, "memory", system.title, found["memory", system][-1])
    print(f"{CLIENTS} clients at once, {SECONDS} seconds each, {RUNS} runs in turns, {os.cpu_count()} processors, "
          f"load {os.getloadavg()[0]:.1f} at the end; medians\n")
    print("| system | " + " | ".join(f"{case}: a second | CPU, microseconds" for case, _, _ in CASES) + " | waiting session, kB |")
    print("|---|" + "---|" * (2 * len(CASES) + 1))
    for system in systems:
        row = []
        for case, _, _ in CASES:
            values = found[case, system]
            row += [f"{median([v[0] for v in values]):.0f}", f"{median([v[1] for v in values]) or 0:.0f}"]
        row.append(f"{median([v[0] for v in found['memory', system]]):.0f}")
        print(f"| {system.title} | " + " | ".join(row) + " |")


try:
    main()
finally:
    if made:
        shutil.rmtree(made, ignore_errors=True)
