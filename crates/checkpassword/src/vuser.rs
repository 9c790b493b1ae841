//! vuser: the virtual users of a directory, for whoever owns it.

mod domain;

use std::io::{self, ErrorKind};

use base::opt::{Opt, Options};
use base::{Bytes, Call, Die};
use recipient::{Judge, dot};
use sys::ids::Ids;

use crate::apoppasswd::{Also, ask, stored};
use crate::files;
use crate::quota::Quota;
use crate::store::make_maildir;
use crate::vtable::{List, Record};

const USAGE: &str = "vuser [ -D domain | -d directory ] add [ -ac ] [ -q quota ] name | passwd [ -ac ] name | \
    quota name quota | del name | list | alias name address ... | unalias name; vuser domain domain account directory";
/// The longest name, bytes: with what stands around it, a file name.
const NAME_LIMIT: usize = 200;

/// The program: see vuser(8).
pub fn vuser(call: &Call) -> Result<(), Die> {
    let usage = || Die::usage(USAGE);
    let mut place = Place::Here;
    let mut options = Options::new(&call.args, "D:d:");
    for option in options.by_ref() {
        place = match option {
            Opt::Value(b'D', domain) => Place::Domain(domain),
            Opt::Value(b'd', dir) => Place::Dir(dir),
            _ => return Err(usage()),
        };
    }
    let rest: Vec<Bytes> = options.rest().to_vec();
    let (command, args) = rest.split_first().ok_or_else(usage)?;
    if command == b"domain" {
        return match args {
            [domain, account, dir] => domain::add(domain, account, dir),
            _ => Err(usage()),
        };
    }

    enter(&place)?;

    match (command.as_slice(), args) {
        (b"add", args) => add(args),
        (b"passwd", args) => passwd(args),
        (b"quota", [name, quota]) => set_quota(name, quota),
        (b"del", [name]) => del(name),
        (b"list", []) => list(),
        (b"alias", [name, addresses @ ..]) if !addresses.is_empty() => alias(name, addresses),
        (b"unalias", [name]) => unalias(name),
        _ => Err(usage()),
    }
}

/// Which directory.
enum Place {
    Here,
    Dir(Bytes),
    Domain(Bytes),
}

/// Enters the directory, and becomes its owner if we are root: what he may write is not for root to follow.
fn enter(place: &Place) -> Result<(), Die> {
    let dir = match place {
        Place::Here => b".".to_vec(),
        Place::Dir(dir) => dir.clone(),
        Place::Domain(domain) => {
            control::home::enter().map_err(|e| Die::unable("enter home", &e))?;
            let judge = Judge::load().map_err(|e| Die::unable("read control files", &e))?;
            let address = [b"vuser@", domain.as_slice()].concat();
            let recipient::Route::Local(address) = judge.rewrite().route(&address) else {
                return Err(Die::fatal(
                    100,
                    [domain, &b" is not a domain of this host"[..]].concat(),
                ));
            };
            let local = address.split(|&b| b == b'@').next().unwrap_or_default();
            let user = judge.user(local);
            let unknown = "unable to find the directory of the domain";
            user.map_err(|_| Die::fatal(111, unknown))?.home
        }
    };
    let unable = |what: &str, e: &io::Error| Die::unable([what.as_bytes(), b" ", &dir].concat(), e);
    std::env::set_current_dir(sys::dir::path(&dir)).map_err(|e| unable("enter", &e))?;
    let owner = sys::dir::stat_path(b".").map_err(|e| unable("look at", &e))?;
    if sys::ids::euid() == 0 {
        if owner.uid == 0 {
            let text = [dir.as_slice(), b" belongs to root, who gets no mail"];
            return Err(Die::fatal(100, text.concat()));
        }
        let ids = Ids::new(owner.uid, owner.gid);
        sys::ids::become_for_good(&ids).map_err(|e| unable("become the owner of", &e))?;
    }
    sys::process::umask(0o077);
    Ok(())
}

/// A name as it stands in the table. `.` is the owner of the directory himself.
fn name(word: &[u8]) -> Result<Bytes, Die> {
    if word == b"." {
        return Ok(Bytes::new());
    }
    let is_fit = |b: &u8| b.is_ascii_graphic() && !b"/:\\\"()<>@,;|&".contains(b);
    // `vuser name@domain` is what people type.
    let word = word.split(|&b| b == b'@').next().unwrap_or_default();
    let fits = (1..=NAME_LIMIT).contains(&word.len())
        && word.iter().all(is_fit)
        && word.iter().any(|&b| b != b'.')
        && !word.starts_with(b"-");
    if fits {
        Ok(word.to_ascii_lowercase())
    } else {
        Err(Die::fatal(
            100,
            "a name has 1 to 200 letters, digits and signs, and no slash or colon",
        ))
    }
}

fn open() -> Result<List, Die> {
    List::open().map_err(|e| match e.kind() {
        ErrorKind::WouldBlock => Die::fatal(111, "somebody else is changing .vusers"),
        ErrorKind::InvalidData => Die::fatal(111, "a line of .vusers has another form"),
        _ => Die::unable("open .vusers", &e),
    })
}

fn write(list: &List) -> Result<(), Die> {
    list.write().map_err(|e| Die::unable("write .vusers", &e))
}

fn unknown(name: &[u8]) -> Die {
    Die::fatal(100, [b"there is no ", name].concat())
}

/// Options of `add` and `passwd`, and the words behind them.
fn options(args: &[Bytes]) -> Result<(Also, Bytes, Vec<Bytes>), Die> {
    let mut also = Also::default();
    let mut quota = Bytes::new();
    let mut options = Options::new(args, "acq:");
    for option in options.by_ref() {
        match option {
            Opt::Flag(b'a') => also.apop = true,
            Opt::Flag(b'c') => also.cram = true,
            Opt::Value(b'q', value) => quota = value,
            _ => return Err(Die::usage(USAGE)),
        }
    }
    Ok((also, quota, options.rest().to_vec()))
}

fn secrets(also: Also) -> Result<Vec<Bytes>, Die> {
    let password = ask("password")?;
    stored(&password, also).map_err(|e| Die::unable("make the stored password", &e))
}

/// The text of a quota that is one.
fn quota_text(text: &[u8]) -> Result<Bytes, Die> {
    let quota = Quota::parse(text);
    let quota =
        quota.ok_or_else(|| Die::fatal(100, "a quota looks like 100MB or 100000000S,5000C"))?;
    Ok(quota.text())
}

fn add(args: &[Bytes]) -> Result<(), Die> {
    let (also, quota, rest) = options(args)?;
    let [word] = rest.as_slice() else {
        return Err(Die::usage(USAGE));
    };
    let name = name(word)?;
    let quota = quota_text(&quota)?;
    let mut list = open()?;
    if list.get(&name).is_some() {
        return Err(Die::fatal(100, [word, &b" is there already"[..]].concat()));
    }
    let dir = if name.is_empty() {
        b".".to_vec()
    } else {
        dot::file_ext(&name)
    };
    if !name.is_empty() && list.dir().stat_link(&dot_file(&name)).is_ok() {
        let text = [&dot_file(&name), &b" is there already"[..]];
        return Err(Die::fatal(100, text.concat()));
    }

    let secrets = secrets(also)?;

    make_maildir(&[dir.as_slice(), b"/Maildir"].concat())
        .map_err(|e| Die::unable("make the maildir", &e))?;
    let record = Record {
        dir,
        quota,
        secrets,
    };
    deliver_to(&list, &name, &record)?;
    list.records.push((name, record));
    write(&list)
}

/// The .qmail file of a name.
fn dot_file(name: &[u8]) -> Bytes {
    [b".qmail-", dot::file_ext(name).as_slice()].concat()
}

/// Writes the .qmail file of a user: mail for him is accepted from now on.
fn deliver_to(list: &List, name: &[u8], record: &Record) -> Result<(), Die> {
    if name.is_empty() {
        return Ok(());
    }
    let maildir = [b"./", record.dir.as_slice(), b"/Maildir/"].concat();
    let line = if record.quota.is_empty() {
        [maildir.as_slice(), b"\n"].concat()
    } else {
        // The words are of letters that a shell leaves alone, but for those that `'` protects.
        [
            b"|deliverquota -w 90 '",
            maildir.as_slice(),
            b"' ",
            &record.quota,
            b"\n",
        ]
        .concat()
    };
    put(list, &dot_file(name), &line)
}

fn put(list: &List, file: &[u8], text: &[u8]) -> Result<(), Die> {
    files::replace(list.dir(), file, text, 0o600)
        .map_err(|e| Die::unable([b"write ", file].concat(), &e))
}

fn passwd(args: &[Bytes]) -> Result<(), Die> {
    let (also, _, rest) = options(args)?;
    let [word] = rest.as_slice() else {
        return Err(Die::usage(USAGE));
    };
    let name = name(word)?;
    let mut list = open()?;
    let record = list.get_mut(&name).ok_or_else(|| unknown(word))?;
    record.secrets = secrets(also)?;
    write(&list)
}

fn set_quota(word: &[u8], quota: &[u8]) -> Result<(), Die> {
    let name = name(word)?;
    let quota = quota_text(quota)?;
    let mut list = open()?;
    let record = list.get_mut(&name).ok_or_else(|| unknown(word))?;
    record.quota = quota;
    let record = record.clone();
    deliver_to(&list, &name, &record)?;
    write(&list)
}

fn del(word: &[u8]) -> Result<(), Die> {
    let name = name(word)?;
    let mut list = open()?;
    if list.get(&name).is_none() {
        return Err(unknown(word));
    }
    // No more mail first, then no more logins. What is in the mailbox stays: who wants it gone removes the directory.
    if !name.is_empty() {
        remove(&list, &dot_file(&name))?;
    }
    list.records.retain(|(n, _)| *n != name);
    write(&list)
}

fn remove(list: &List, file: &[u8]) -> Result<(), Die> {
    match list.dir().unlink(file) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Die::unable([b"remove ", file].concat(), &e))
        }
        _ => list
            .dir()
            .sync()
            .map_err(|e| Die::unable("write the directory", &e)),
    }
}

fn list() -> Result<(), Die> {
    let list = open()?;
    let mut text = Bytes::new();
    for (name, record) in &list.records {
        let name = if name.is_empty() {
            b"."
        } else {
            name.as_slice()
        };
        let quota: &[u8] = if record.quota.is_empty() {
            b"-"
        } else {
            &record.quota
        };
        text.extend_from_slice(&base::bytes::printable(&[name, b" ", quota, b" "].concat()));
        let names: Vec<Bytes> = record.secrets.iter().map(|s| scheme_name(s)).collect();
        text.extend_from_slice(&names.join(&b','));
        text.push(b'\n');
    }
    let out = sys::fd::inherited(1).map_err(|e| Die::unable("write", &e))?;
    sys::fd::write_all(&out, &text).map_err(|e| Die::unable("write", &e))
}

/// What is told of a stored password: its scheme.
fn scheme_name(stored: &[u8]) -> Bytes {
    let name = stored
        .strip_prefix(b"{")
        .and_then(|rest| rest.split(|&b| b == b'}').next());
    name.unwrap_or(b"CRYPT").to_vec()
}

fn alias(word: &[u8], addresses: &[Bytes]) -> Result<(), Die> {
    let name = name(word)?;
    let list = open()?;
    if name.is_empty() || list.get(&name).is_some() {
        return Err(Die::fatal(100, [word, b" has a mailbox"].concat()));
    }
    let mut text = Bytes::new();
    for address in addresses {
        let is_odd = address.iter().any(u8::is_ascii_control) || !address.contains(&b'@');
        if is_odd {
            return Err(Die::fatal(
                100,
                "an address has an @ and no control characters",
            ));
        }
        text.extend_from_slice(&[b"&", address.as_slice(), b"\n"].concat());
    }
    put(&list, &dot_file(&name), &text)
}

fn unalias(word: &[u8]) -> Result<(), Die> {
    let name = name(word)?;
    let list = open()?;
    if name.is_empty() || list.get(&name).is_some() {
        return Err(Die::fatal(100, [word, b" has a mailbox"].concat()));
    }
    if list.dir().stat_link(&dot_file(&name)).is_err() {
        return Err(unknown(word));
    }
    remove(&list, &dot_file(&name))
}
