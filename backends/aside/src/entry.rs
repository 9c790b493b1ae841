//! From an answer to somebody whom a checker can become.

use auth::accept::{Entry, Identity};
use base::bytes::number;
use base::{Bytes, Die};
use sys::ids::Ids;

use crate::frame::Row;
use crate::settings::Settings;

/// What is known of `name`: the values `password`, and those of `identity`.
///
/// # Errors
/// As `identity`.
pub fn entry(name: &[u8], row: &Row, settings: &Settings) -> Result<Entry, Die> {
    Ok(Entry {
        secrets: row.all("password").map(<[u8]>::to_vec).collect(),
        bare: settings.bare()?,
        identity: identity(name, row, settings)?,
    })
}

/// Who `name` becomes, by the values `user home uid gid quota maildir`, each from the answer or else from the settings.
///
/// # Errors
/// Temporary: no home or no uid, or one that makes no sense.
pub fn identity(name: &[u8], row: &Row, settings: &Settings) -> Result<Identity, Die> {
    let value = |word: &str| row.get(word).or_else(|| settings.get(word));
    let trouble = |what: &str| {
        let text = [what.as_bytes(), b" for ", name].concat();
        Die::fatal(base::die::TEMPORARY, text)
    };
    let home = value("home").ok_or_else(|| trouble("there is no home"))?;
    if !home.starts_with(b"/") || home.contains(&0) {
        return Err(trouble("the home is not an absolute path"));
    }
    let mut environment: Vec<(Bytes, Bytes)> = Vec::new();
    for (word, variable) in [("quota", "MAILDIRQUOTA"), ("maildir", "MAILDIR")] {
        let text = row.get(word).filter(|t| !t.is_empty() && !t.contains(&0));
        if let Some(text) = text {
            environment.push((variable.into(), text.to_vec()));
        }
    }
    let user = row.get("user").filter(|u| !u.is_empty() && !u.contains(&0));
    Ok(Identity {
        user: user.unwrap_or(name).to_vec(),
        home: home.to_vec(),
        shell: b"/bin/false".to_vec(),
        ids: ids(value("uid"), value("gid")).map_err(trouble)?,
        environment,
    })
}

/// The ids: numbers, or names of accounts. Without any, only a program that is nobody else's can go on.
fn ids(uid: Option<&[u8]>, gid: Option<&[u8]>) -> Result<Option<Ids>, &'static str> {
    let unreadable = |_| "unable to read /etc/passwd or /etc/group";
    let id = |n: u64| u32::try_from(n).map_err(|_| "the uid or gid is too large");
    let Some(uid) = uid else {
        return if sys::ids::euid() == 0 || sys::ids::privileged_over_caller() {
            Err("there is no uid")
        } else {
            Ok(None)
        };
    };
    let (uid, own) = match number(uid) {
        Some(n) => (id(n)?, None),
        None => {
            let account = sys::users::local(uid).map_err(unreadable)?;
            let account = account.ok_or("there is no account with that uid")?;
            (account.uid, Some(account.gid))
        }
    };
    let gid = match (gid, own) {
        (None, own) => own.ok_or("there is no gid")?,
        (Some(gid), _) => match number(gid) {
            Some(n) => id(n)?,
            None => {
                let found = sys::users::local_group(gid).map_err(unreadable)?;
                found.ok_or("there is no group with that name")?
            }
        },
    };
    Ok(Some(Ids::new(uid, gid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[(&str, &str)]) -> Row {
        let mut row = Row::default();
        for (word, value) in values {
            row.add(word, value);
        }
        row
    }

    fn settings(text: &str) -> Settings {
        Settings::parse(b"control/x", text.as_bytes())
    }

    #[test]
    fn the_answer_goes_before_the_settings() {
        let none = settings("home /var/mail\nuid 70\ngid 71");
        let told = row(&[("home", "/home/tim"), ("uid", "1000"), ("quota", "10S")]);
        let found = identity(b"tim@a.test", &told, &none).unwrap();
        assert_eq!(found.user, b"tim@a.test");
        assert_eq!(found.home, b"/home/tim");
        assert_eq!(found.ids, Some(Ids::new(1000, 71)));
        assert_eq!(
            found.environment,
            [(b"MAILDIRQUOTA".to_vec(), b"10S".to_vec())]
        );
        let found = identity(b"tim", &row(&[("user", "Tim")]), &none).unwrap();
        assert_eq!(
            (found.user, found.home),
            (b"Tim".to_vec(), b"/var/mail".to_vec())
        );
        assert_eq!(found.ids, Some(Ids::new(70, 71)));
    }

    #[test]
    fn what_is_missing_or_odd_is_temporary() {
        let none = settings("");
        for values in [
            &[("uid", "1"), ("gid", "1")][..],
            &[("home", "relative"), ("uid", "1"), ("gid", "1")],
            &[("home", "/x"), ("uid", "-1"), ("gid", "1")],
            &[("home", "/x"), ("uid", "99999999999"), ("gid", "1")],
            &[("home", "/x"), ("uid", "no such account"), ("gid", "1")],
            &[("home", "/x"), ("uid", "1")],
        ] {
            let die = identity(b"tim", &row(values), &none).unwrap_err();
            assert_eq!(die.code, 111, "{values:?}");
        }
    }

    #[test]
    fn names_of_accounts_are_ids_too() {
        let found = identity(
            b"tim",
            &row(&[("home", "/x"), ("uid", "daemon")]),
            &settings(""),
        );
        let ids = found.unwrap().ids.unwrap();
        assert_ne!(ids.uid, 0);
    }
}
