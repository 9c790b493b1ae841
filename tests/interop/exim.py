"""Mail under TLS to and from an Exim, with verification on both sides.

Exim is not to be installed beside Postfix: package/check unpacks Debian's package somewhere and names the program in QMAIL_EXIM.
"""
import os, pathlib, re, shutil, subprocess

import postfix, world
from world import CA, HOME, PASSWORDS, PLACE, Host, certificate, control, eventually, flush, hold, inject, mails, run, service_log, skip, write

BASE = PLACE / "exim"


def program():
    named = os.environ.get("QMAIL_EXIM") or shutil.which("exim4", path="/usr/sbin")
    return named if named and os.access(named, os.X_OK) else None


def configure(host, exim):
    run("groupadd", "-r", "Debian-exim")
    run("useradd", "-r", "-M", "-g", "Debian-exim", "Debian-exim")
    for place in ("spool", "log", "mail"):
        (BASE / place).mkdir(parents=True)
        shutil.chown(BASE / place, "Debian-exim", "Debian-exim")
    own, rogue = certificate("mx.exim.test", rsa=True), certificate("mx.exim.test", ca="rogue", directory=world.TLS / "rogue-exim")
    for place in (own, rogue):
        for file in place.iterdir():
            shutil.chown(file, "Debian-exim", "Debian-exim")
    # Where it looks by itself: with another file it gives up its rights.
    write("/etc/exim4/exim4.conf", f"""exim_path = {exim}
primary_hostname = mx.exim.test
spool_directory = {BASE}/spool
log_file_path = {BASE}/log/%s
domainlist local_domains = exim.test : impostor2.test
# Our own networks take no part: everything comes from a host nearby.
hosts_treat_as_local =
acl_smtp_rcpt = rcpt
host_lookup =
tls_advertise_hosts = *
tls_certificate = {own}/fullchain.pem
tls_privatekey = {own}/privkey.pem
tls_try_verify_hosts = *
tls_verify_certificates = {CA}
local_interfaces = {host.address}
log_selector = +tls_cipher +tls_peerdn +tls_certificate_verified
queue_only = false
received_header_text = Received: ${{if def:sender_rcvhost {{from $sender_rcvhost\\n\\t}}}}by $primary_hostname ${{if def:received_protocol {{with $received_protocol}}}} ${{if def:tls_in_cipher {{($tls_in_cipher)}}}} verified=$tls_in_certificate_verified\\n\\tid $message_exim_id
begin acl
rcpt:
  accept domains = +local_domains
  accept hosts = :
  deny
begin routers
submit:
  driver = manualroute
  domains = by-submission.test
  transport = submission
  route_list = * mail.example.com
  host_find_failed = defer
out:
  driver = dnslookup
  domains = ! +local_domains
  transport = out
  ignore_target_hosts = 0.0.0.0
  no_more
here:
  driver = accept
  transport = file
begin transports
out:
  driver = smtp
  hosts_require_tls = *
  tls_verify_certificates = {CA}
  tls_verify_hosts = *
  tls_verify_cert_hostnames = *
  tls_certificate = {own}/fullchain.pem
  tls_privatekey = {own}/privkey.pem
submission:
  driver = smtp
  port = 465
  protocol = smtps
  hosts_require_auth = *
  tls_verify_certificates = {CA}
  tls_verify_hosts = *
file:
  driver = appendfile
  directory = {BASE}/mail
  maildir_format
  create_directory
  user = Debian-exim
begin retry
* * F,1h,1s
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^carol^{PASSWORDS["carol"]}
""")


def log():
    return "".join(p.read_text(errors="replace") for p in sorted((BASE / "log").iterdir()))


def from_us():
    control("tlspolicy", "exim.test:verify\nimpostor2.test:verify\n")
    shutil.copy(CA, HOME / "control/tlsroots.pem")
    ours = HOME / "control/tls/mail.example.com"
    write(HOME / "control/clientcert.pem", (ours / "fullchain.pem").read_text() + (ours / "privkey.pem").read_text(), 0o640)
    shutil.chown(HOME / "control/clientcert.pem", "root", "qmail")
    inject("in@exim.test", "to Exim, verified")
    hold("to Exim, its certificate verified: arrives", eventually(lambda: any("to Exim, verified" in m for m in mails(BASE / "mail"))),
         service_log("qmail-send")[-800:] + log()[-1500:])
    text = "".join(mails(BASE / "mail"))
    hold("under TLS 1.3, and Exim verified ours", "TLS1.3" in text and "verified=1" in text, text)
    inject("in@impostor2.test", "not for impostor2")
    hold("to Exim, verify, a name that is not in the certificate: deferred, and not sent",
         eventually(lambda: postfix.its_certificate("impostor2.test")) and not any("impostor2" in m for m in mails(BASE / "mail")),
         service_log("qmail-send")[-800:])


def to_us(host, exim, word, to):
    return host.run(exim, "-f", "pat@exim.test", to, stdin=f"Subject: x\n\n{word}\n")


def main():
    exim = program()
    if not exim:
        skip("mail with Exim (QMAIL_EXIM names none, none is installed)")
        return
    host = Host(3)
    configure(host, exim)
    daemon = subprocess.Popen(host.inside(exim, "-bdf", "-q2s"), stdin=subprocess.DEVNULL)
    if not eventually(lambda: host.answers(25)):
        hold("Exim answers", False, log())
        return
    from_us()
    to_us(host, exim, "from Exim, verified", "dave@example.com")
    arrived = eventually(lambda: any("from Exim, verified" in m for m in mails("/home/dave/Maildir")))
    hold("from Exim, which verifies: arrives", arrived and eventually(lambda: re.search(r"=> dave@example.com .* CV=yes", log())),
         log()[-1500:])
    to_us(host, exim, "must not arrive from Exim", "dave@not-named.test")
    held = eventually(lambda: re.search(r"(== dave@not-named.test|mail.example.com|other.example.com).*(certificate|TLS)", log().split("must not")[-1])
                      and "== dave@not-named.test" in log())
    hold("from Exim, our certificate of another name: deferred there", held and
         not any("must not arrive from Exim" in m for m in mails("/home/dave/Maildir")), log()[-1500:])
    to_us(host, exim, "by submission", "far@by-submission.test")
    hold("Exim logs in at our port 465", eventually(lambda: "=> far@by-submission.test" in log() and "A=plain" in log()), log()[-1500:])
    daemon.terminate()
    daemon.wait(120)
