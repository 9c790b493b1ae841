//! SQLite: a file, read only.

use aside::{Row, Trouble};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::database::{Database, ambiguous};

pub(crate) fn find(
    database: &Database,
    query: &str,
    values: &[&str],
) -> Result<Option<Row>, Trouble> {
    let unable = |e: rusqlite::Error| Trouble::unable("ask the database", e);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(&database.name, flags);
    let connection = opened.map_err(|e| Trouble::unable("open the database", e))?;
    // Somebody may be writing.
    connection.busy_timeout(database.timeout).map_err(unable)?;
    let mut statement = connection.prepare(query).map_err(unable)?;
    let names = statement.column_names();
    let names: Vec<String> = names.into_iter().map(str::to_ascii_lowercase).collect();
    let mut rows = statement.query(params_from_iter(values)).map_err(unable)?;
    let Some(found) = rows.next().map_err(unable)? else {
        return Ok(None);
    };
    let mut row = Row::default();
    for (n, name) in names.iter().enumerate() {
        match found.get_ref(n).map_err(unable)? {
            ValueRef::Null => {}
            ValueRef::Integer(value) => row.add(name, value.to_string()),
            ValueRef::Text(value) | ValueRef::Blob(value) => row.add(name, value),
            ValueRef::Real(_) => {
                let text = format!("the column {name} is neither text nor an integer");
                return Err(Trouble(text.into_bytes()));
            }
        }
    }
    if rows.next().map_err(unable)?.is_some() {
        return Err(ambiguous());
    }
    Ok(Some(row))
}
