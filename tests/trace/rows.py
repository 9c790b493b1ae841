"""The rows of docs/threats.md, and whether a fact stays inside of one."""
import os, pathlib, re

from strace import LINKS

HEAD = "| program | becomes | reads | writes | makes | runs | reaches |"
PROMISES = "| program | walls | reads | writes | makes | removes | network |"
WORDS = "| word | stands for |"
# The columns that allow a kind of fact.
KINDS = {"read": ("reads", "makes"), "write": ("writes", "makes"), "make": ("makes",), "run": ("runs",), "process": ("runs",),
         "thread": ("runs",), "user": ("becomes",), "group": ("becomes",), "connect": ("reaches",), "bind": ("reaches",),
         "listen": ("reaches",), "signal": ("reaches",), "socket": ("reaches",), "call": ("reaches",)}


def table(text, head):
    """The rows below a head, as lists of cells."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip() == head:
            break
    next(lines, None)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return found


class Rows:
    """What each program may do."""

    def __init__(self, text, home, users, groups, conf_users):
        columns = [c.strip() for c in HEAD.strip("|").split("|")]
        self.home, self.users, self.groups = home, users, groups
        # The names in the docs are roles; conf-users names the accounts.
        self.accounts = dict(zip("alias qmaild qmaill root qmailp qmailq qmailr qmails qmailtls".split(), conf_users))
        # Some words are lists of paths; the others are explained only.
        self.words = {name: meaning.split() for name, meaning in table(text, WORDS) if meaning.startswith(("/", "control/"))}
        # What "control" does not stand for.
        self.secrets = [str(place / name) for place in (home, home / "auth") for name in self.words["SECRETS"]]
        # [(program, its walls)]: what stands before a comma or an apostrophe is the name.
        self.walls = [(re.match(r"[\w-]+", cells[0]).group(0), frozenset(cells[1].split(", "))) for cells in table(text, PROMISES)]
        # (program, column, word) that a fact needed.
        self.used = set()
        self.rows = {}
        for cells in table(text, HEAD):
            row = {name: [w for w in cell.split() if w != "-"] for name, cell in zip(columns[1:], cells[1:])}
            for program in cells[0].split():
                self.rows[program] = row

    def name(self, life):
        """The program of a process, if it is one of ours. Scripts are programs of their shells."""
        where, _, name = life.program.rpartition("/")
        return name if where == f"{self.home}/bin" and not start_of(life.program).startswith(b"#!") else None

    def outside(self, life, fact, children):
        """Why a fact is outside of its program's row; None: it is inside."""
        program = self.name(life)
        row = self.rows.get(program)
        if row is None:
            return f"{program} has no row"
        if fact.kind == "read" and self.below(fact.object, life, self.start(life)) or \
                (fact.kind, fact.object) == ("write", "/dev/null"):
            return None
        allows = getattr(self, fact.kind)
        words = [(column, word) for column in KINDS[fact.kind] for word in row[column]]
        needed = [(program, *w) for w in words if allows(life, fact, self.words.get(w[1], [w[1]]), children)]
        self.used.update(needed)
        if needed or allows(life, fact, [], children):
            return None
        return f"{program}: {fact.kind} {fact.object}".rstrip()

    def unused(self):
        """The words that nothing needed."""
        return [(p, c, w) for p, row in self.rows.items() for c, words in row.items() for w in words if (p, c, w) not in self.used]

    def start(self, life):
        return self.words["START"] + (self.words["LIBRARIES"] if b"/ld-" in start_of(life.program) else [])

    # --- paths ------------------------------------------------------------------------------------------------------

    def below(self, path, life, allowed):
        secret = any(path == s or path.startswith(s + "/") for s in self.secrets)
        for word in allowed:
            if secret and word == "control":
                continue
            for place in self.places(word, life):
                if path == place or path.startswith(place.rstrip("/") + "/"):
                    return True
        return False

    def places(self, word, life):
        """The paths that a word stands for."""
        if word == "ARGUMENTS":
            # multilog has `=FILE`.
            return [p for w in life.words[1:] if w for p in real(os.path.join(life.began, w.lstrip("=")))]
        if word.startswith("ARGUMENTS/"):
            return [p + word.removeprefix("ARGUMENTS") for p in self.places("ARGUMENTS", life)]
        if word.startswith("$"):
            value = life.env.get(word[1:])
            return real(os.path.join(life.began, value)) if value else []
        if word == "USER":
            return real(self.users[life.uid][1]) if life.uid in self.users and life.uid else []
        # package/services makes a second home, for submission.
        return [p for home in (self.home, f"{self.home}/auth") for p in real(os.path.join(home, word))]

    def read(self, life, fact, allowed, children):
        if self.below(fact.object, life, allowed):
            return True
        # A directory may be opened to come back to it, or as the place from which a path starts.
        return "O_DIRECTORY" in fact.line and (fact.object in (life.cwd, life.began) or self.above(fact.object, life, allowed))

    def above(self, path, life, allowed):
        return any(place.startswith(path + "/") for word in allowed for place in self.places(word, life))

    def write(self, life, fact, allowed, children):
        return self.below(fact.object, life, allowed)

    def make(self, life, fact, allowed, children):
        return self.below(fact.object, life, allowed)

    # --- programs and users -----------------------------------------------------------------------------------------

    def run(self, life, fact, allowed, children):
        return any(self.runs(life, fact, word) for word in allowed)

    def runs(self, life, fact, word):
        name = os.path.basename(fact.object)
        if word == "ARGUMENTS":
            # With a slash it is a path, without one it was looked for along the PATH.
            return any(fact.object in real(os.path.join(life.began, w)) if "/" in w else w == name for w in life.words[1:])
        if "/" in word or word.startswith("$"):
            return self.below(fact.object, life, [word])
        # Of ours; along the PATH it may have been looked for where it is not.
        return self.below(fact.object, life, [f"bin/{word}"]) or word == name and "ENOENT" in fact.line

    def process(self, life, fact, allowed, children):
        return "COPIES" in allowed

    def thread(self, life, fact, allowed, children):
        return "THREADS" in allowed or fact.refused

    def user(self, life, fact, allowed, children):
        uid = int(fact.object)
        if uid == life.uid:
            return True
        name = self.users[uid][0] if uid in self.users else None
        return any(uid != 0 if word == "USER" else self.named(word, life, uid) or name == self.accounts.get(word, word)
                   or word == "ARGUMENTS" and name in life.words for word in allowed)

    def group(self, life, fact, allowed, children):
        gid = int(fact.object)
        if "USER" in allowed:
            return gid != 0
        names = [self.accounts.get(word, word) for word in allowed] + (life.words if "ARGUMENTS" in allowed else [])
        return any(self.named(word, life, gid) for word in allowed) or \
            any(gid == primary or name in self.groups.get(gid, ()) for name, _, primary in self.users.values() if name in names)

    def named(self, word, life, number):
        """Whether a number stands in the environment or the arguments."""
        if word == "ARGUMENTS":
            return str(number) in re.findall(r"\d+", " ".join(life.words[1:]))
        return word.startswith("$") and life.env.get(word[1:]) == str(number)

    # --- others -----------------------------------------------------------------------------------------------------

    def connect(self, life, fact, allowed, children):
        if fact.object.startswith("/"):
            return self.below(fact.object, life, [w for w in allowed if "/" in w or w in ("ARGUMENTS", "USER")])
        return fact.object in allowed or fact.object.replace(" ", ":") in allowed or fact.object.split(" ")[0] in allowed

    def bind(self, life, fact, allowed, children):
        # Before asking, or before a connection goes out.
        return "LISTEN" in allowed or fact.object.startswith("UDP") and "UDP:53" in allowed or fact.object == "TCP 0" and "TCP" in allowed

    def listen(self, life, fact, allowed, children):
        return "LISTEN" in allowed

    def socket(self, life, fact, allowed, children):
        return fact.object.split(" ")[0] in allowed

    def signal(self, life, fact, allowed, children):
        target = abs(int(fact.object)) if re.fullmatch(r"-?\d+", fact.object) else None
        if target == life.process or "THREADS" in allowed and target == life.pid:
            return True
        return "CHILDREN" in allowed and target in children.get(life.process, ())

    def call(self, life, fact, allowed, children):
        return fact.object.replace(" ", ":") in allowed


def real(path):
    """A path, and the same without links; both, as a program may use either."""
    path = os.path.normpath(path)
    return [path, os.path.realpath(path), *LINKS.get(path, ())]


def start_of(program, known={}):
    """The first bytes of a program: a script says so there, and who needs the loader of libraries names it."""
    if program not in known:
        try:
            known[program] = pathlib.Path(program).read_bytes()[:4096]
        except OSError:
            known[program] = b""
    return known[program]


def children(lives):
    """{process: those that it made}"""
    found = {}
    for life in lives:
        found.setdefault(life.parent, set()).add(life.process)
    return found
