//! sqlcheck: one query of the administrator finds a name.

use aside::{Name, Row, Settings, ask, entry};
use auth::accept::{Backend, Entry, check};
use base::{Bytes, Call, Die};

use crate::database::{Database, WORDS};
use crate::query::Query;

struct Sql;

/// The columns whose values are stored passwords, in the order in which they are tried.
const SECRETS: [&str; 3] = ["password", "scram", "clear"];

impl Backend for Sql {
    fn find(&self, name: &[u8]) -> Result<Option<Entry>, Die> {
        let settings = Settings::read("sqlcheck", "SQLCHECK", &WORDS)?;
        let database = Database::of(&settings)?;
        let query = settings.text("query")?;
        let query = query.ok_or_else(|| settings.wrong("there is no query"))?;
        let query = Query::parse(&query, database.driver.style());
        let query = query.map_err(|why| settings.wrong(why))?;
        if query.words.is_empty() {
            return Err(settings.wrong("the query asks for nobody: no :login, no :user"));
        }
        let ids = settings.runas()?;
        let Some(asked) = Name::parse(name) else {
            return Ok(None);
        };

        let job = || Ok(database.find(&query, &asked)?.map(|row| secrets(&row)));
        let row = ask(settings.timeout()?, ids.as_ref(), job)?;
        row.map(|row| entry(name, &row, &settings)).transpose()
    }

    fn model(&self) -> Option<Bytes> {
        let settings = Settings::read("sqlcheck", "SQLCHECK", &WORDS).ok()?;
        settings.get("model").map(<[u8]>::to_vec)
    }
}

/// The same row with all stored passwords in `password`; a clear one is marked, whatever it looks like.
fn secrets(found: &Row) -> Row {
    let mut row = Row::default();
    for word in SECRETS {
        let Some(value) = found.get(word).filter(|v| !v.is_empty()) else {
            continue;
        };
        row.add(
            "password",
            match word {
                "clear" => clear(value),
                _ => value.to_vec(),
            },
        );
    }
    for word in ["user", "home", "uid", "gid", "quota", "maildir"] {
        if let Some(value) = found.get(word) {
            row.add(word, value);
        }
    }
    row
}

fn clear(value: &[u8]) -> Bytes {
    let text = auth::encoding::encode(value);
    [b"{PLAIN.B64}", text.as_slice()].concat()
}

/// The program: see sqlcheck(8).
pub fn sqlcheck(call: &Call) -> Result<(), Die> {
    check(call, &Sql)
}
