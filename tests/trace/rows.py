"""The rows of docs/threats.md, and whether a fact stays inside of one."""
import os, pathlib, re

from strace import LINKS

HEAD = "| program | becomes | reads | writes | makes | runs | reaches |"
WORDS = "| word | stands for |"
KINDS = {"read": ("reads", "makes"), "write": ("writes", "makes"), "make": ("makes",), "run": ("runs",), "process": ("runs",),
         "thread": ("runs",), "user": ("becomes",), "group": ("becomes",), "connect": ("reaches",), "bind": ("reaches",),
         "signal": ("reaches",), "socket": ("reaches",), "call": ("reaches",)}


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
        self.words = {name: meaning.split() for name, meaning in table(text, WORDS) if meaning.startswith("/")}
        self.rows = {}
        for cells in table(text, HEAD):
            row = {name: [w for w in cell.split() if w != "-"] for name, cell in zip(columns[1:], cells[1:])}
            for program in cells[0].split():
                self.rows[program] = row

    def name(self, life):
        """The program of a process, if it is one of ours."""
        where, _, name = life.program.rpartition("/")
        return name if where == f"{self.home}/bin" else None

    def outside(self, life, fact, children):
        """Why a fact is outside of its program's row; None: it is inside."""
        program = self.name(life)
        row = self.rows.get(program)
        if row is None:
            return f"{program} has no row"
        cells = [word for column in KINDS[fact.kind] for word in row[column]]
        allowed = [meaning for word in cells for meaning in self.words.get(word, [word])]
        if getattr(self, fact.kind)(life, fact, allowed, children):
            return None
        return f"{program}: {fact.kind} {fact.object}".rstrip()

    # --- paths ------------------------------------------------------------------------------------------------------

    def below(self, path, life, allowed):
        for word in allowed:
            for place in self.places(word, life):
                if path == place or path.startswith(place.rstrip("/") + "/"):
                    return True
        return False

    def places(self, word, life):
        """The paths that a word stands for."""
        if word == "ARGUMENTS":
            files = [w.split("=", 1)[-1] if w.startswith("-") else w for w in life.words[1:]]
            return [p for w in files if w for p in real(os.path.join(life.began, w))]
        if word == "HERE":
            return real(life.began)
        if word == "USER":
            return real(self.users[life.uid][1]) if life.uid in self.users and life.uid else []
        # package/services makes a second home, for submission.
        return [p for home in (self.home, f"{self.home}/auth") for p in real(os.path.join(home, word))]

    def read(self, life, fact, allowed, children):
        start = self.words["START"] + (self.words["LIBRARIES"] if dynamic(life.program) else [])
        if self.below(fact.object, life, allowed + start):
            return True
        # A directory may be opened to come back to it, or as the place from which a path starts.
        return "O_DIRECTORY" in fact.line and (fact.object in (life.cwd, life.began) or self.above(fact.object, life, allowed))

    def above(self, path, life, allowed):
        return any(place.startswith(path + "/") for word in allowed for place in self.places(word, life))

    def write(self, life, fact, allowed, children):
        return fact.object == "/dev/null" or self.below(fact.object, life, allowed)

    def make(self, life, fact, allowed, children):
        return self.below(fact.object, life, allowed)

    # --- programs and users -----------------------------------------------------------------------------------------

    def run(self, life, fact, allowed, children):
        for word in allowed:
            if word == "ARGUMENTS":
                # Looked for along the path.
                if any(w and os.path.basename(w) == os.path.basename(fact.object) for w in life.words[1:]):
                    return True
            elif word == "PATH":
                return True
            elif "/" in word and self.below(fact.object, life, [word]):
                return True
            elif os.path.basename(fact.object) == word:
                return True
        return False

    def process(self, life, fact, allowed, children):
        return "COPIES" in allowed

    def thread(self, life, fact, allowed, children):
        return "THREADS" in allowed or fact.refused

    def user(self, life, fact, allowed, children):
        uid = int(fact.object)
        if uid == life.uid:
            return True
        name = self.users[uid][0] if uid in self.users else None
        return any(uid != 0 if word == "USER" else name == self.accounts.get(word, word) for word in allowed)

    def group(self, life, fact, allowed, children):
        gid = int(fact.object)
        if "USER" in allowed:
            return gid != 0
        names = [self.accounts.get(word, word) for word in allowed]
        return any(gid == primary or name in self.groups.get(gid, ()) for name, _, primary in self.users.values() if name in names)

    # --- others -----------------------------------------------------------------------------------------------------

    def connect(self, life, fact, allowed, children):
        if fact.object.startswith("/"):
            return self.below(fact.object, life, [w for w in allowed if not w.isupper()])
        return fact.object in allowed or fact.object.replace(" ", ":") in allowed or fact.object.split(" ")[0] in allowed

    def bind(self, life, fact, allowed, children):
        return "LISTEN" in allowed or fact.object.startswith("UDP") and ("UDP" in allowed or "UDP:53" in allowed)

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


def dynamic(program, known={}):
    """Whether a program asks for the loader of libraries."""
    if program not in known:
        try:
            known[program] = b"/ld-" in pathlib.Path(program).read_bytes()[:4096]
        except OSError:
            known[program] = False
    return known[program]


def children(lives):
    """{process: those that it made}"""
    found = {}
    for life in lives:
        found.setdefault(life.parent, set()).add(life.process)
    return found
