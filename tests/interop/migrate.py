"""The commands of docs/migrate-from-postfix-dovecot.md, on a small site: accounts, aliases, virtual addresses."""
import poplib, re, smtplib, ssl

import world
from world import CA, PLACE, eventually, hold, mails, run, write

DOC = "docs/migrate-from-postfix-dovecot.md"
SERVER = "mail.example.com"
HOME = "/home/vmail/moved.test"
# What the users of the old site have, in schemes of Dovecot.
PASSWORDS = {"ann": "tanstaaf-ann", "bob": "tanstaaf-bob", "cleo.smith": "tanstaaf-cleo"}


def hashes():
    crypt = run("openssl", "passwd", "-6", PASSWORDS["ann"])[1].strip()
    apache = run("openssl", "passwd", "-5", PASSWORDS["bob"])[1].strip()
    return {"ann": "{SHA512-CRYPT}" + crypt, "bob": "{CRYPT}" + apache, "cleo.smith": "{PLAIN}" + PASSWORDS["cleo.smith"]}


def logs_in(user, password):
    try:
        client = poplib.POP3_SSL(SERVER, timeout=120, context=ssl.create_default_context(cafile=str(CA)))
        client.user(f"{user}@moved.test")
        client.pass_(password)
        client.quit()
        return True
    except poplib.error_proto as e:
        return str(e)


def main():
    place = PLACE / "migrate"
    write(place / "accounts", "".join(f"{user}@moved.test:{text}:5000:5000::/var/vmail/{user}::\n" for user, text in hashes().items()))
    write(place / "virtual", "# aliases\nsales@moved.test ann@moved.test, bob@moved.test\n\nold.name@moved.test  cleo.smith@moved.test # left\n"
                             "@moved.test carol@example.com\n")
    write(place / "aliases", "# of the system\nWebmaster: carol, dave\nmajordomo: \"|/usr/bin/majordomo\"\nlist: :include:/etc/list\n")
    code, said = run("vuser", "domain", "moved.test", "vmail", HOME)
    hold("a domain for those who move", code == 0, said)
    run("svc", "-h", world.SERVICE / "qmail-send")
    blocks = re.findall(r"^```sh\n(.*?)^```$", (world.office.TOP / DOC).read_text(), re.M | re.S)
    for number, block in enumerate(blocks, 1):
        code, said = run("sh", "-ec", f"cd {place}\n{block}")
        hold(f"{DOC}: block {number} runs", code == 0, said)
        if number == len(blocks):
            hold("and says what is to be done by hand", said.count("by hand") == 2 and "majordomo" in said and "list" in said, said)
    for user, password in PASSWORDS.items():
        result = logs_in(user, password), logs_in(user, password + "x")
        hold(f"{user} logs in with the old password, and with no other", result[0] is True and result[1] is not True, result)
    for to, where in (("ann", ["ann"]), ("sales", ["ann", "bob"]), ("old.name", ["cleo.smith"])):
        word = f"moved-{to}"
        with smtplib.SMTP("127.0.0.1", timeout=120) as client:
            client.sendmail("dave@example.com", [f"{to}@moved.test"], f"Subject: x\r\n\r\n{word}\r\n")
        hold(f"mail for {to} arrives at {where}", eventually(lambda: all(any(word in m for m in mails(f"{HOME}/{user.replace(chr(46), chr(58))}/Maildir")) for user in where)),
             world.service_log("qmail-send")[-1500:])
    for to in ("whoever@moved.test", "webmaster@example.com"):
        word = f"moved-{to}"
        with smtplib.SMTP("127.0.0.1", timeout=120) as client:
            client.sendmail("dave@example.com", [to], f"Subject: x\r\n\r\n{word}\r\n")
        hold(f"mail for {to} arrives at carol", eventually(lambda: any(word in m for m in mails("/home/carol/Maildir"))),
             world.service_log("qmail-send")[-1500:])
