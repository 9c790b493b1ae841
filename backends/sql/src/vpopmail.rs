//! vchkpw-mysql, vdelivermail-mysql: vchkpw and vdelivermail for a vpopmail that keeps its users in MySQL. Domains are in users/cdb as always; users are in
//! the table `vpopmail`, or in one table for each domain where that one is missing.
//!
//! Source  vpopmail 5.6, as docs/compat/vpopmail.md and docs/compat/backends.md tell it

use std::time::Duration;

use ::mysql::Error;
use aside::{Answer, Row, Trouble, ask};
use base::bytes::number;
use base::{Bytes, Call, Die};
use checkpassword::{
    Told, VpopmailAccounts, VpopmailUser, flag, limits, vchkpw_with, vdelivermail_with,
};

use crate::database::{Database, Driver};
use crate::mysql::{connect, row, rows};

/// How long the database may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The largest etc/vpopmail.mysql, bytes.
const LIMIT: u64 = 64 * 1024;
/// Lines of an alias, at most.
const ALIASES: usize = 500;
/// The error of MySQL for a table that is not there.
const NO_TABLE: u16 = 1146;

const COLUMNS: &str = "pw_passwd, pw_gid, pw_dir, pw_shell, pw_clear_passwd";
const COLUMNS_WITHOUT_CLEAR: &str = "pw_passwd, pw_gid, pw_dir, pw_shell";
/// The error of MySQL for a column that is not there.
const NO_COLUMN: u16 = 1054;

/// Words of the table `limits`, and what they forbid.
const LIMITS: [(&str, u64); 5] = [
    ("disable_pop", flag::NO_POP),
    ("disable_imap", flag::NO_IMAP),
    ("disable_webmail", flag::NO_WEBMAIL),
    ("disable_relay", flag::NO_RELAY),
    ("disable_smtp", flag::NO_SMTP),
];

struct Table;

impl VpopmailAccounts for Table {
    fn find(&self, home: &[u8], domain: &recipient::User, user: &[u8]) -> Result<Told, Die> {
        let database = database(home)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
        let (Ok(user), Ok(name)) = (text(user), text(&domain.name)) else {
            return Ok(Told::default());
        };
        // We are the owner of the domain already.
        let found = ask(TIMEOUT, None, || look(&database, &name, &user))?.unwrap_or_default();
        let value = |word: &str| found.get(word).map(<[u8]>::to_vec).unwrap_or_default();
        let entry = found.get("pw_name").map(|_| VpopmailUser {
            password: value("pw_passwd"),
            flags: number(&value("pw_gid")).unwrap_or(0),
            dir: value("pw_dir"),
            quota: value("pw_shell"),
            clear: value("pw_clear_passwd"),
        });
        let forbidden = LIMITS.iter().filter(|(word, _)| {
            let value = found.get(word);
            value.is_some_and(|v| v != b"0")
        });
        let forbidden = forbidden.fold(0, |sum, (_, flag)| sum | flag);
        Ok(Told {
            entry,
            model: found.get("model").map(<[u8]>::to_vec),
            limits: forbidden | limits(&domain.home, home),
        })
    }

    fn aliases(
        &self,
        home: &[u8],
        domain: &recipient::User,
        name: &[u8],
    ) -> Result<Vec<Bytes>, Die> {
        let database = database(home)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
        let (Ok(name), Ok(domain)) = (text(name), text(&domain.name)) else {
            return Ok(Vec::new());
        };
        let found = ask(TIMEOUT, None, || aliases(&database, &domain, &name))?;
        let found = found.unwrap_or_default();
        found.all("valias_line").map(address).collect()
    }
}

/// Where users are.
enum Layout {
    /// all in the table `vpopmail`
    One,
    /// of this domain in a table of its own
    Own(String),
}

/// The user, a model and the limits, as one row.
fn look(database: &Database, domain: &str, user: &str) -> Result<Answer, Trouble> {
    let unable = |e: Error| Trouble::unable("ask the database", e);
    let mut connection = connect(database)?;
    let mut told = Row::default();
    let mut users = |layout: &Layout, user: &str, columns: &str| match layout {
        Layout::One => {
            let query =
                format!("SELECT {columns} FROM vpopmail WHERE pw_name = ? AND pw_domain = ?");
            row(&mut connection, &query, &[user, domain])
        }
        Layout::Own(table) => {
            let query = format!("SELECT {columns} FROM `{table}` WHERE pw_name = ?");
            row(&mut connection, &query, &[user])
        }
    };
    let mut layout = Layout::One;
    let mut columns = COLUMNS;
    let found = loop {
        match users(&layout, user, columns)? {
            Ok(found) => break found,
            Err(e) => match (code(&e), &layout) {
                (Some(NO_TABLE), Layout::One) => {
                    layout = Layout::Own(own_table(domain).ok_or_else(|| unable(e))?);
                }
                (Some(NO_COLUMN), _) if columns == COLUMNS => columns = COLUMNS_WITHOUT_CLEAR,
                _ => return Err(unable(e)),
            },
        }
    };
    if let Some(found) = found {
        told.add("pw_name", user);
        for word in COLUMNS.split(", ") {
            if let Some(value) = found.get(word) {
                told.add(word, value);
            }
        }
    }
    let postmaster = users(&layout, "postmaster", columns)?.map_err(unable)?;
    if let Some(model) = postmaster.as_ref().and_then(|p| p.get("pw_passwd")) {
        told.add("model", model);
    }
    // A vpopmail that keeps limits in files has no such table, or an empty one.
    let query = "SELECT * FROM limits WHERE domain = ?";
    match row(&mut connection, query, &[domain])? {
        Ok(Some(found)) => {
            for (word, _) in LIMITS {
                if let Some(value) = found.get(word) {
                    told.add(word, value);
                }
            }
        }
        Ok(None) => {}
        Err(e) if code(&e) == Some(NO_TABLE) => {}
        Err(e) => return Err(unable(e)),
    }
    Ok(Some(told))
}

/// The lines of the table `valias`, which only some have.
fn aliases(database: &Database, domain: &str, name: &str) -> Result<Answer, Trouble> {
    let mut connection = connect(database)?;
    let query = "SELECT valias_line FROM valias WHERE alias = ? AND domain = ?";
    let found = match rows(&mut connection, query, &[name, domain], ALIASES + 1)? {
        Ok(found) => found,
        Err(e) if code(&e) == Some(NO_TABLE) => return Ok(None),
        Err(e) => return Err(Trouble::unable("ask the database", e)),
    };
    if found.len() > ALIASES {
        return Err(Trouble(b"the alias has too many lines".to_vec()));
    }
    let mut row = Row::default();
    for line in found.iter().filter_map(|r| r.get("valias_line")) {
        row.add("valias_line", line);
    }
    Ok(Some(row))
}

/// The address in a line; other lines, programs and paths, are not for us.
fn address(line: &[u8]) -> Result<Bytes, Die> {
    let address = line.strip_prefix(b"&").unwrap_or(line).trim_ascii();
    let is_odd = |b: &u8| b.is_ascii_control() || *b == b' ';
    let is_plain =
        !address.starts_with(b"|") && !address.starts_with(b"/") && !address.starts_with(b"-");
    if address.contains(&b'@') && is_plain && !address.iter().any(is_odd) {
        return Ok(address.to_vec());
    }
    let text = "the alias has a line that is no address";
    Err(Die::fatal(base::die::TEMPORARY, text))
}

fn code(error: &Error) -> Option<u16> {
    match error {
        Error::MySqlError(e) => Some(e.code),
        _ => None,
    }
}

/// The table of a domain: its name with `_` for dots and dashes. `None`: a name that no table has.
fn own_table(domain: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name = domain.replace(['.', '-'], "_");
    (!domain.is_empty() && domain.chars().all(fits)).then_some(name)
}

/// The first server of etc/vpopmail.mysql: `server|port|user|password|database`. A server that begins with a slash is a
/// socket; so is `localhost` without a port, as the C library has it.
fn database(home: &[u8]) -> Result<Database, Die> {
    let file = [home, b"/etc/vpopmail.mysql"].concat();
    let unable = |e| Die::unable([b"read ", file.as_slice()].concat(), &e);
    let mut text = Bytes::new();
    let open = sys::dir::open_read(&file).map_err(unable)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(open, LIMIT), &mut text).map_err(unable)?;
    parse(&text).ok_or_else(|| {
        let why = b": its first line is not server|port|user|password|database";
        let text = [b"unable to use ", file.as_slice(), why].concat();
        Die::fatal(base::die::TEMPORARY, text)
    })
}

/// The sockets of MySQL where nobody says another.
const SOCKETS: [&str; 3] = [
    "/run/mysqld/mysqld.sock",
    "/var/lib/mysql/mysql.sock",
    "/tmp/mysql.sock",
];

fn parse(text: &[u8]) -> Option<Database> {
    let line = control::file::lines(text).into_iter().next()?;
    let line = String::from_utf8(line).ok()?;
    let [server, port, username, password, database] = line.split('|').collect::<Vec<_>>()[..]
    else {
        return None;
    };
    let port: u16 = if port.is_empty() {
        0
    } else {
        port.parse().ok()?
    };
    let default = || {
        let mut each = SOCKETS.iter();
        each.find(|s| std::path::Path::new(s).exists())
    };
    let socket = match server {
        _ if server.starts_with('/') => Some(server.into()),
        "" | "localhost" if port == 0 => default().map(Into::into),
        _ => None,
    };
    let host = match server {
        "" => "localhost",
        other => other,
    };
    Some(Database {
        driver: Driver::Mysql,
        host: socket.is_none().then(|| host.to_owned()),
        port: (port != 0).then_some(port),
        socket,
        name: database.to_owned(),
        username: Some(username.to_owned()),
        password: Some(password.to_owned()),
        cafile: None,
        timeout: TIMEOUT,
    })
}

/// The program: see vchkpw-mysql(8).
pub fn vchkpw_mysql(call: &Call) -> Result<(), Die> {
    vchkpw_with(call, &Table)
}

/// The program: see vdelivermail-mysql(8).
pub fn vdelivermail_mysql(call: &Call) -> Result<(), Die> {
    vdelivermail_with(call, &Table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_vpopmail_is_understood() {
        let text =
            b"# MYSQL SETTINGS FOR VPOPMAIL\n\n192.0.2.1|0|vpop|p#a ss|vmail\nother|1|a|b|c\n";
        let found = parse(text).unwrap();
        assert_eq!(found.host.as_deref(), Some("192.0.2.1"));
        assert_eq!((found.port, found.socket), (None, None));
        assert_eq!(found.username.as_deref(), Some("vpop"));
        assert_eq!(found.password.as_deref(), Some("p#a ss"));
        assert_eq!(found.name, "vmail");
        let found = parse(b"localhost|3307|u|p|d").unwrap();
        assert_eq!(
            (found.host.as_deref(), found.port),
            (Some("localhost"), Some(3307))
        );
        let found = parse(b"/tmp/my.sock|0|u||d").unwrap();
        assert_eq!(found.socket, Some("/tmp/my.sock".into()));
        for odd in [
            &b""[..],
            b"localhost",
            b"h|x|u|p|d",
            b"h|0|u|p|d|e",
            b"h|70000|u|p|d",
        ] {
            assert!(parse(odd).is_none());
        }
    }

    #[test]
    fn lines_of_aliases_are_addresses() {
        assert_eq!(address(b"&tim@a.test").unwrap(), b"tim@a.test");
        assert_eq!(address(b"tim@a.test").unwrap(), b"tim@a.test");
        for odd in [
            &b""[..],
            b"tim",
            b"|/bin/mail tim@a.test",
            b"/var/mail/tim@a.test/",
            b"&-x@a.test",
            b"a@b c@d",
        ] {
            assert_eq!(address(odd).unwrap_err().code, 111);
        }
    }

    #[test]
    fn only_names_of_domains_become_names_of_tables() {
        assert_eq!(own_table("a-b.test").as_deref(), Some("a_b_test"));
        for odd in ["", "a`b", "a b", "a;b", "a'b", "ä.test"] {
            assert_eq!(own_table(odd), None);
        }
    }
}
