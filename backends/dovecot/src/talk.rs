//! The two protocols of Dovecot's auth process: lines of fields with tabs between.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use aside::Trouble;
use base::Bytes;
use base::bytes::{number, split_once};

/// The version of both protocols that we speak; Dovecot bears other minor ones.
const MAJOR: &[u8] = b"1";
/// The largest line, bytes (Dovecot's own limit).
const LIMIT: u64 = 8192;
/// Lines before DONE, at most.
const GREETING_LIMIT: usize = 100;
/// The number of our only request.
const ID: &[u8] = b"1";

/// A conversation.
pub(crate) struct Talk {
    input: BufReader<UnixStream>,
}

/// What Dovecot says of a name; `None`: no.
pub(crate) type Fields = Option<Vec<(Bytes, Bytes)>>;

fn unable(why: impl std::fmt::Display) -> Trouble {
    Trouble::unable("talk with Dovecot", why)
}

impl Talk {
    pub(crate) fn connect(socket: &str, timeout: Duration) -> Result<Talk, Trouble> {
        let failed = |e: std::io::Error| Trouble::unable(format!("connect to {socket}"), e);
        let stream = UnixStream::connect(socket).map_err(failed)?;
        stream.set_read_timeout(Some(timeout)).map_err(failed)?;
        stream.set_write_timeout(Some(timeout)).map_err(failed)?;
        Ok(Talk {
            input: BufReader::new(stream),
        })
    }

    fn line(&mut self) -> Result<Vec<Bytes>, Trouble> {
        let mut line = Bytes::new();
        let mut limited = self.input.by_ref().take(LIMIT);
        limited.read_until(b'\n', &mut line).map_err(unable)?;
        let line = line.strip_suffix(b"\n");
        let line = line.ok_or_else(|| unable("it said half a line, or went away"))?;
        Ok(line.split(|&b| b == b'\t').map(unescape).collect())
    }

    fn say(&mut self, fields: &[&[u8]]) -> Result<(), Trouble> {
        let fields: Vec<Bytes> = fields.iter().map(|f| escape(f)).collect();
        let line = [fields.join(&b'\t').as_slice(), b"\n"].concat();
        let stream = self.input.get_mut();
        stream.write_all(&line).map_err(unable)
    }

    /// Asks whether a password is right: the protocol of auth-client. The fields are those of the reply.
    pub(crate) fn password(
        mut self,
        about: &[Bytes],
        name: &[u8],
        password: &[u8],
    ) -> Result<Fields, Trouble> {
        let pid = std::process::id().to_string();
        self.say(&[b"VERSION", MAJOR, b"1"])?;
        self.say(&[b"CPID", pid.as_bytes()])?;
        let mut is_done = false;
        for _ in 0..GREETING_LIMIT {
            let fields = self.line()?;
            match fields.first().map(Vec::as_slice) {
                Some(b"VERSION") => version(&fields)?,
                Some(b"DONE") => {
                    is_done = true;
                    break;
                }
                _ => {}
            }
        }
        if !is_done {
            return Err(unable("its greeting does not end"));
        }
        let response = auth::encoding::encode(&[b"\0", name, b"\0", password].concat());
        let response = [b"resp=", response.as_slice()].concat();
        let mut fields: Vec<&[u8]> = vec![b"AUTH", ID, b"PLAIN"];
        fields.extend(about.iter().map(Vec::as_slice));
        // It takes everything behind this word for the response.
        fields.push(&response);
        self.say(&fields)?;
        self.reply(b"OK", &[])
    }

    /// Asks who somebody becomes: the protocol of auth-userdb.
    pub(crate) fn user(mut self, about: &[Bytes], name: &[u8]) -> Result<Fields, Trouble> {
        self.say(&[b"VERSION", MAJOR, b"1"])?;
        let mut fields: Vec<&[u8]> = vec![b"USER", ID, name];
        fields.extend(about.iter().map(Vec::as_slice));
        self.say(&fields)?;
        self.reply(b"USER", b"NOTFOUND")
    }

    /// The line that answers our request: `good`, or `none`, or FAIL.
    fn reply(&mut self, good: &[u8], none: &[u8]) -> Result<Fields, Trouble> {
        for _ in 0..GREETING_LIMIT {
            let line = self.line()?;
            let (Some(word), id) = (line.first(), line.get(1)) else {
                continue;
            };
            if word == b"VERSION" {
                version(&line)?;
                continue;
            }
            if id.is_none_or(|id| id != ID) {
                continue;
            }
            let rest = line.get(2..).unwrap_or_default();
            return match word.as_slice() {
                word if word == good => Ok(Some(pairs(rest, good == b"USER"))),
                word if word == none => Ok(None),
                b"FAIL" if good == b"USER" => Err(unable("it cannot look up the user")),
                b"FAIL" => refused(rest),
                b"CONT" => Err(unable("it wants to go on after a whole response")),
                _ => continue,
            };
        }
        Err(unable("it says other things"))
    }
}

fn version(fields: &[Bytes]) -> Result<(), Trouble> {
    match fields {
        [_, major, ..] if major == MAJOR => Ok(()),
        _ => Err(unable("it speaks another version")),
    }
}

/// Refused; or trouble that the fields of a failure tell.
fn refused(fields: &[Bytes]) -> Result<Fields, Trouble> {
    let is = |word: &[u8]| fields.iter().any(|f| f == word);
    if is(b"temp") || is(b"code=temp_fail") {
        Err(unable("it has trouble with its database"))
    } else {
        Ok(None)
    }
}

/// `word=value`, or a word alone. With `named` the first field is the name of the user.
fn pairs(fields: &[Bytes], named: bool) -> Vec<(Bytes, Bytes)> {
    let mut list = Vec::new();
    for (n, field) in fields.iter().enumerate() {
        if named && n == 0 {
            list.push((b"user".to_vec(), field.clone()));
            continue;
        }
        let (word, value) = split_once(field, b'=').unwrap_or((field, b""));
        list.push((word.to_vec(), value.to_vec()));
    }
    list
}

/// Tabs and the like in a field are written as two bytes.
const ESCAPES: [(u8, u8); 5] = [
    (b'\0', b'0'),
    (1, b'1'),
    (b'\t', b't'),
    (b'\r', b'r'),
    (b'\n', b'n'),
];

fn escape(field: &[u8]) -> Bytes {
    let mut out = Bytes::new();
    for &b in field {
        match ESCAPES.iter().find(|(raw, _)| *raw == b) {
            Some((_, letter)) => out.extend([1, *letter]),
            None => out.push(b),
        }
    }
    out
}

fn unescape(field: &[u8]) -> Bytes {
    let mut out = Bytes::new();
    let mut each = field.iter().copied();
    while let Some(b) = each.next() {
        let escaped = (b == 1).then(|| each.next()).flatten();
        match escaped {
            None => out.push(b),
            Some(letter) => {
                let raw = ESCAPES.iter().find(|(_, l)| *l == letter);
                out.push(raw.map_or(letter, |(raw, _)| *raw));
            }
        }
    }
    out
}

/// The word for the service that asks, by its port.
pub(crate) fn service(port: Option<&[u8]>) -> &'static str {
    match port.and_then(number) {
        Some(110 | 995 | 2110 | 2995) => "pop3",
        Some(143 | 993) => "imap",
        _ => "smtp",
    }
}

#[cfg(test)]
mod tests;
