//! MySQL and MariaDB: over a socket, or TCP without TLS.

use ::mysql::prelude::Queryable;
use ::mysql::{Conn, Error, OptsBuilder, Params, Value};
use aside::{Row, Trouble};

use crate::database::{Database, ambiguous};

/// The errors of MySQL for texts that no value of a column can be like: its character set lacks the letters.
const NO_SUCH_LETTERS: [u16; 4] = [1267, 1270, 1271, 3988];
/// The port where nothing else is said.
const PORT: u16 = 3306;

pub(crate) fn connect(database: &Database) -> Result<Conn, Trouble> {
    let mut options = OptsBuilder::new()
        .db_name(Some(&database.name))
        .user(database.username.as_ref())
        .pass(database.password.as_ref())
        .prefer_socket(false)
        .tcp_connect_timeout(Some(database.timeout))
        .read_timeout(Some(database.timeout))
        .write_timeout(Some(database.timeout));
    options = match &database.socket {
        Some(socket) => options.socket(socket.to_str()),
        None => options
            .ip_or_hostname(database.host.as_ref())
            .tcp_port(database.port.unwrap_or(PORT)),
    };
    Conn::new(options).map_err(|e| Trouble::unable("connect to the database", e))
}

pub(crate) fn find(
    database: &Database,
    query: &str,
    values: &[&str],
) -> Result<Option<Row>, Trouble> {
    let mut connection = connect(database)?;
    let is_plain = values.iter().all(|v| v.is_ascii());
    match row(&mut connection, query, values)? {
        Ok(found) => Ok(found),
        Err(Error::MySqlError(e)) if !is_plain && NO_SUCH_LETTERS.contains(&e.code) => Ok(None),
        Err(e) => Err(Trouble::unable("ask the database", e)),
    }
}

/// One row. The inner error is the database's, which some callers know what to do with.
pub(crate) fn row(
    connection: &mut Conn,
    query: &str,
    values: &[&str],
) -> Result<Result<Option<Row>, Error>, Trouble> {
    let mut found = match rows(connection, query, values, 2)? {
        Ok(found) => found,
        Err(e) => return Ok(Err(e)),
    };
    let first = found.pop();
    if found.is_empty() {
        Ok(Ok(first))
    } else {
        Err(ambiguous())
    }
}

/// At most `limit` rows.
pub(crate) fn rows(
    connection: &mut Conn,
    query: &str,
    values: &[&str],
    limit: usize,
) -> Result<Result<Vec<Row>, Error>, Trouble> {
    let values = values.iter().map(|v| Value::Bytes(v.as_bytes().to_vec()));
    let values: Vec<Value> = values.collect();
    let params = if values.is_empty() {
        Params::Empty
    } else {
        Params::Positional(values)
    };
    let found = match connection.exec_iter(query, params) {
        Ok(found) => found,
        Err(e) => return Ok(Err(e)),
    };
    let mut list = Vec::new();
    for found in found.take(limit) {
        match found {
            Ok(found) => list.push(read(found)?),
            Err(e) => return Ok(Err(e)),
        }
    }
    Ok(Ok(list))
}

fn read(found: ::mysql::Row) -> Result<Row, Trouble> {
    let columns = found.columns();
    let mut row = Row::default();
    for (column, value) in columns.iter().zip(found.unwrap()) {
        let name = column.name_str().to_ascii_lowercase();
        match value {
            Value::NULL => {}
            Value::Bytes(text) => row.add(name, text),
            Value::Int(n) => row.add(name, n.to_string()),
            Value::UInt(n) => row.add(name, n.to_string()),
            _ => {
                let text = format!("the column {name} is neither text nor an integer");
                return Err(Trouble(text.into_bytes()));
            }
        }
    }
    Ok(row)
}
