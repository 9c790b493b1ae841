//! Where the database is, and what every driver does with what it says.

use std::path::PathBuf;
use std::time::Duration;

use aside::{Name, Row, Settings, Trouble};
use base::Die;

use crate::query::{Query, Style};

/// The words of the control file, besides those that all checkers know.
pub(crate) const WORDS: [&str; 10] = [
    "driver", "host", "port", "socket", "database", "username", "password", "cafile", "tls",
    "query",
];

/// Which client code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Sqlite,
    Mysql,
    Postgres,
}

impl Driver {
    pub(crate) fn style(self) -> Style {
        match self {
            Driver::Sqlite => Style::Sqlite,
            Driver::Mysql => Style::Mysql,
            Driver::Postgres => Style::Postgres,
        }
    }
}

/// A database.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) driver: Driver,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    /// of MySQL the socket, of PostgreSQL its directory
    pub(crate) socket: Option<PathBuf>,
    /// its name; of SQLite the file
    pub(crate) name: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) cafile: Option<PathBuf>,
    pub(crate) timeout: Duration,
}

impl Database {
    /// # Errors
    /// Temporary: the settings make no sense, or would send passwords over a network in clear without saying so.
    pub(crate) fn of(settings: &Settings) -> Result<Database, Die> {
        let driver = match settings.get("driver") {
            Some(b"sqlite") => Driver::Sqlite,
            Some(b"mysql") => Driver::Mysql,
            Some(b"postgres") => Driver::Postgres,
            _ => return Err(settings.wrong("driver is none of sqlite, mysql, postgres")),
        };
        let port = settings.number("port")?.map(u16::try_from).transpose();
        let port = port.map_err(|_| settings.wrong("port is too large"))?;
        let database = settings.text("database")?;
        let database = database.ok_or_else(|| settings.wrong("there is no database"))?;
        let found = Database {
            driver,
            host: settings.text("host")?,
            port,
            socket: settings.text("socket")?.map(PathBuf::from),
            name: database,
            username: settings.text("username")?,
            password: settings.text("password")?,
            cafile: settings.text("cafile")?.map(PathBuf::from),
            timeout: settings.timeout()?,
        };
        found.safe(settings).map(|()| found)
    }

    fn safe(&self, settings: &Settings) -> Result<(), Die> {
        if self.driver == Driver::Sqlite {
            return Ok(());
        }
        let wrong = |text: &str| Err(settings.wrong(text));
        match (&self.host, &self.socket) {
            (None, None) => return wrong("there is neither host nor socket"),
            (Some(_), Some(_)) => return wrong("there are both host and socket"),
            _ => {}
        }
        if self.driver == Driver::Mysql && self.cafile.is_some() {
            return wrong("there is no TLS for mysql");
        }
        let is_far = self.host.as_deref().is_some_and(|host| !is_here(host));
        if is_far && self.cafile.is_none() && settings.get("tls") != Some(b"no") {
            return wrong("the host is another machine: give a cafile, or say `tls no`");
        }
        Ok(())
    }

    /// The one row that the query finds.
    ///
    /// # Errors
    /// The database cannot be asked, does not like the query, or finds more than one.
    pub(crate) fn find(&self, query: &Query, name: &Name) -> Result<Option<Row>, Trouble> {
        let values = query.values(name);
        match self.driver {
            Driver::Sqlite => crate::sqlite::find(self, &query.text, &values),
            Driver::Mysql => crate::mysql::find(self, &query.text, &values),
            Driver::Postgres => crate::postgres::find(self, &query.text, &values),
        }
    }
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// Two rows: whoever wrote the query thought of one.
pub(crate) fn ambiguous() -> Trouble {
    Trouble(b"the query finds more than one".to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Database, Die> {
        Database::of(&Settings::parse(b"control/sqlcheck", text.as_bytes()))
    }

    #[test]
    fn settings_that_make_no_sense_are_temporary() {
        for text in [
            "",
            "driver oracle\ndatabase x",
            "driver sqlite",
            "driver mysql\ndatabase x",
            "driver mysql\ndatabase x\nhost localhost\nsocket /s",
            "driver mysql\ndatabase x\nhost localhost\nport 65536",
            "driver mysql\ndatabase x\nhost db.test",
            "driver mysql\ndatabase x\nhost db.test\ncafile /x",
            "driver postgres\ndatabase x\nhost 192.0.2.1",
        ] {
            assert_eq!(of(text).err().map(|die| die.code), Some(111), "{text}");
        }
        for text in [
            "driver sqlite\ndatabase /x",
            "driver mysql\ndatabase x\nhost 127.0.0.1\nport 3307",
            "driver mysql\ndatabase x\nhost db.test\ntls no",
            "driver postgres\ndatabase x\nhost 192.0.2.1\ncafile /x",
            "driver postgres\ndatabase x\nsocket /run/postgresql",
        ] {
            assert!(of(text).is_ok(), "{text}");
        }
    }
}
