"""Mail under TLS to and from a Postfix, with verification on both sides; and its logins, by Dovecot's SCRAM."""
import pathlib, re, shutil, socket, time

import world
from world import CA, HOME, PASSWORDS, PLACE, Host, certificate, control, eventually, flush, hold, inject, mails, run, service_log, skip, write

BASE = PLACE / "postfix"


def configure(host):
    etc = BASE / "etc"
    for place in (etc, BASE / "queue", BASE / "data", BASE / "mail/in"):
        place.mkdir(parents=True)
    shutil.chown(BASE / "data", "postfix")
    run("maildirmake", BASE / "mail/in/Maildir")
    run("chown", "-R", "carol:carol", BASE / "mail")
    for name in ("dynamicmaps.cf", "postfix-files"):
        if (pathlib.Path("/etc/postfix") / name).exists():
            shutil.copy(pathlib.Path("/etc/postfix") / name, etc)
    own, rogue = certificate("mx.postfix.test"), certificate("mx.rogue.test", ca="rogue")
    for place in (own, rogue):
        (place / "both.pem").write_text((place / "privkey.pem").read_text() + (place / "fullchain.pem").read_text())
    carol = int(run("id", "-u", "carol")[1])
    write(etc / "main.cf", f"""compatibility_level = 3.6
queue_directory = {BASE}/queue
data_directory = {BASE}/data
inet_interfaces = {host.address}, {host.other}
inet_protocols = ipv4
myhostname = mx.postfix.test
mydestination =
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = postfix.test, impostor.test, rogue.test
virtual_mailbox_base = {BASE}/mail
virtual_mailbox_maps = inline:{{ {{ in@postfix.test = in/Maildir/ }}, {{ in@impostor.test = in/Maildir/ }}, {{ in@rogue.test = in/Maildir/ }} }}
virtual_uid_maps = static:{carol}
virtual_gid_maps = static:{carol}
virtual_minimum_uid = 100
smtpd_peername_lookup = no
smtpd_tls_security_level = may
smtpd_tls_chain_files = {own}/both.pem
smtpd_tls_received_header = yes
smtpd_tls_ask_ccert = yes
smtpd_tls_CAfile = {CA}
smtp_tls_security_level = may
smtp_tls_CAfile = {CA}
smtp_tls_chain_files = {own}/both.pem
smtp_tls_loglevel = 1
smtp_tls_policy_maps = inline:{{ {{ example.com = secure }}, {{ not-named.test = verify }}, {{ [mail.example.com]:587 = verify }} }}
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 2s
smtp_sasl_password_maps = inline:{{ {{ [mail.example.com]:587 = carol:{PASSWORDS["carol"]} }} }}
smtp_sasl_mechanism_filter = !gssapi, !gs2-krb5, !ntlm, static:all
transport_maps = inline:{{ {{ by-submission.test = submit:[mail.example.com]:587 }} }}
maillog_file = {BASE}/log
maillog_file_prefixes = {PLACE}
""")
    lines = []
    for line in pathlib.Path("/usr/share/postfix/master.cf.dist").read_text().splitlines():
        fields = line.split()
        if not fields or line[0] in "# \t" or fields[7] == "pipe" or fields[1] == "inet":
            continue
        fields[4] = "n"
        lines.append(" ".join(fields))
    lines += [f"{host.address}:25 inet n - n - - smtpd",
              f"{host.other}:25 inet n - n - - smtpd -o smtpd_tls_chain_files={rogue}/both.pem",
              # As if somebody between took STARTTLS away.
              f"{host.address}:2525 inet n - n - - smtpd -o smtpd_tls_security_level=none",
              # Logins by Dovecot.
              f"{host.address}:587 inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes"
              f" -o smtpd_sasl_type=dovecot -o smtpd_sasl_path={BASE}/sasl -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject"
              " -o smtpd_relay_restrictions=permit_sasl_authenticated,reject"
              # It asks Dovecot once what it can; here that changes.
              " -o max_use=1",
              "submit unix - - n - - smtp -o smtp_sasl_auth_enable=yes -o smtp_sasl_security_options= -o smtp_sasl_tls_security_options="]
    write(etc / "master.cf", "\n".join(lines) + "\n")
    return etc


def log():
    path = BASE / "log"
    return path.read_text(errors="replace") if path.exists() else ""


def got(word):
    return next((m for m in mails(BASE / "mail/in/Maildir") if word in m), None)


def arrives(sentence, word, dave=False):
    where = "/home/dave/Maildir" if dave else BASE / "mail/in/Maildir"
    hold(sentence, eventually(lambda: any(word in m for m in mails(where))), service_log("qmail-send")[-1200:] + log()[-2500:])
    return next((m for m in mails(where) if word in m), "")


def from_us(host):
    control("tlspolicy", "postfix.test:verify\nimpostor.test:verify\nrogue.test:verify\nmx.postfix.test:verify\n")
    shutil.copy(CA, HOME / "control/tlsroots.pem")
    ours = HOME / "control/tls/mail.example.com"
    write(HOME / "control/clientcert.pem", (ours / "fullchain.pem").read_text() + (ours / "privkey.pem").read_text(), 0o640)
    shutil.chown(HOME / "control/clientcert.pem", "root", "qmail")
    inject("in@postfix.test", "verified both ways")
    text = arrives("to Postfix, its certificate verified: arrives", "verified both ways")
    hold("under TLS 1.3", "using TLSv1.3" in text, text)
    hold("and Postfix verified ours", "Client CN \"mail.example.com\"" in text and "(verified OK)" in text, text)
    for domain, why in (("impostor.test", "a name that is not in the certificate"), ("rogue.test", "an authority that nobody knows")):
        inject(f"in@{domain}", f"not for {domain}")
        held = eventually(lambda: f"to remote in@{domain}" in service_log("qmail-send") and its_certificate(domain))
        hold(f"to Postfix, verify, {why}: deferred, and not sent", held and not got(f"not for {domain}"), service_log("qmail-send")[-800:])
    # The policy is what held them.
    control("tlspolicy", "")
    # qmail-rspawn looks for changes once in a while.
    time.sleep(1.5)
    flush()
    for domain in ("impostor.test", "rogue.test"):
        arrives(f"without that policy the message for {domain} goes", f"not for {domain}")


def its_certificate(domain):
    """Whether a delivery to a domain was deferred for its certificate."""
    text = service_log("qmail-send")
    number = re.findall(rf"starting delivery (\d+): msg \d+ to remote in@{re.escape(domain)}", text)
    return any(re.search(rf"delivery {n}: deferral: .*certificate.*#4\.7\.5", text) for n in number)


def to_us(host, etc):
    def post(to, word):
        return host.run("sendmail", "-C", etc, "-f", "pat@postfix.test", to, stdin=f"Subject: x\n\n{word}\n",
                        env={"MAIL_CONFIG": str(etc), "PATH": "/usr/sbin:/usr/bin:/bin"})

    post("dave@example.com", "from Postfix, secure")
    text = arrives("from Postfix at level secure: arrives", "from Postfix, secure", dave=True)
    hold("under TLS, as Received says", re.search(r"with ESMTPS.*TLSv1\.3", text, re.S), text)
    hold("and as Postfix says, verified", "Verified TLS connection established to mail.example.com" in log(), log()[-1500:])
    post("dave@not-named.test", "must not arrive")
    held = eventually(lambda: re.search(r"to=<dave@not-named.test>.*status=deferred.*not verified", log()))
    hold("from Postfix at level verify, our certificate of another name: deferred there", held and
         not any("must not arrive" in m for m in mails("/home/dave/Maildir")), log()[-1500:])
    post("far@by-submission.test", "by submission")
    sent = eventually(lambda: re.search(r"to=<far@by-submission.test>.*status=sent", log()))
    hold("Postfix logs in at our submission, after STARTTLS", sent, log()[-1500:])
    line = [l for l in service_log("submission").splitlines() if "login=carol" in l and "code=235" in l][-1:]
    hold("by the best it knows, a SCRAM", any("method=scram-sha-" in l for l in line), line)


def stripped():
    """A server that offers no TLS gets nothing where TLS is wanted."""
    control("smtproutes", "stripped.test:mx.postfix.test:2525\n")
    for level in ("verify", "encrypt", "may"):
        control("tlspolicy", f"mx.postfix.test:{level}\n")
        word = f"stripped-{level}"
        code, said = run("sh", "-c", f"printf 'Subject: x\\n\\n{word}\\n' | qmail-remote stripped.test carol@example.com in@postfix.test",
                         user="qmailr")
        if level == "may":
            hold("no TLS offered, level may: sent in clear, and the report does not say TLS", "K" in said and "Sent under" not in said and
                 eventually(lambda: got(word)), said)
        else:
            hold(f"no TLS offered, level {level}: deferred, and not sent", "#4.7.4" in said and "K" not in said and not got(word), said)


def is_listening():
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(BASE / "sasl"))
            return True
    except OSError:
        return False


def by_dovecot(host):
    """qmail-remote as a client of Dovecot's SASL, with every mechanism."""
    etc = BASE / "dovecot"
    write(etc / "users", "us:{PLAIN}our-secret\n")
    for mechanism in ("scram-sha-256", "scram-sha-1", "cram-md5", "plain", "login"):
        write(etc / "dovecot.conf", f"""base_dir = {BASE}/dovecot/run
state_dir = {BASE}/dovecot/run
protocols =
ssl = no
log_path = {BASE}/dovecot/log
auth_mechanisms = {mechanism}
auth_verbose = yes
auth_debug = yes
passdb {{
  driver = passwd-file
  args = {etc}/users
}}
userdb {{
  driver = static
  args = uid=carol gid=carol home=/home/carol
}}
service auth {{
  unix_listener {BASE}/sasl {{
    mode = 0666
  }}
}}
""")
        server = world.subprocess.Popen(host.inside("dovecot", "-F", "-c", etc / "dovecot.conf"), stdin=world.subprocess.DEVNULL)
        hold(f"Dovecot offers {mechanism}", eventually(is_listening), mechanism)
        control("smtproutes", "dovecot.test:mx.postfix.test:587\n")
        control("remotesecrets", "mx.postfix.test:us:our-secret\n", 0o640)
        shutil.chown(HOME / "control/remotesecrets", "root", "qmail")
        control("tlspolicy", "mx.postfix.test:verify\n")
        code, said = run("sh", "-c", "printf 'Subject: x\\n\\nby %s\\n' " + mechanism + " | qmail-remote dovecot.test carol@example.com in@postfix.test",
                         user="qmailr")
        hold(f"qmail-remote logs in by {mechanism} at Dovecot's SASL", "K" in said and "Sent under TLS" in said, said + log()[-1200:])
        hold("as itself", f"sasl_method={mechanism.upper()}, sasl_username=us" in log(), log()[-800:])
        server.terminate()
        server.wait(120)


def main():
    if not pathlib.Path("/usr/sbin/postfix").exists():
        skip("mail with Postfix (not installed)")
        return
    host = Host(2)
    etc = configure(host)
    host.run("postfix", "-c", etc, "start")
    hold("Postfix answers", eventually(lambda: host.answers(25) and host.answers(25, address=host.other)), log())
    from_us(host)
    to_us(host, etc)
    stripped()
    if shutil.which("dovecot"):
        by_dovecot(host)
    else:
        skip("logins at Dovecot's SASL (not installed)")
    host.run("postfix", "-c", etc, "stop")
