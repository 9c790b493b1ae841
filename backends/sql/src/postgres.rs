//! PostgreSQL: over a socket, or TCP, with TLS where there is a file with authorities.

use ::postgres::config::{Config, SslMode};
use ::postgres::types::{ToSql, Type};
use ::postgres::{Client, NoTls};
use aside::{Row, Trouble};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::database::{Database, ambiguous};

fn connect(database: &Database) -> Result<Client, Trouble> {
    let mut config = Config::new();
    config
        .dbname(&database.name)
        .connect_timeout(database.timeout)
        .application_name("sqlcheck");
    if let Some(socket) = &database.socket {
        config.host_path(socket);
    }
    if let Some(host) = &database.host {
        config.host(host);
    }
    if let Some(port) = database.port {
        config.port(port);
    }
    if let Some(username) = &database.username {
        config.user(username);
    }
    if let Some(password) = &database.password {
        config.password(password);
    }
    let client = if let Some(file) = &database.cafile {
        let tls = cafile::client(file).map_err(|e| Trouble::unable("use the cafile", e))?;
        config.ssl_mode(SslMode::Require);
        config.connect(MakeRustlsConnect::new(tls))
    } else {
        config.ssl_mode(SslMode::Disable);
        config.connect(NoTls)
    };
    client.map_err(|e| Trouble::unable("connect to the database", text(&e)))
}

/// An error with its cause: the outer one says little.
fn text(error: &::postgres::Error) -> String {
    use std::error::Error;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

pub(crate) fn find(
    database: &Database,
    query: &str,
    values: &[&str],
) -> Result<Option<Row>, Trouble> {
    let unable = |e: ::postgres::Error| Trouble::unable("ask the database", text(&e));
    let mut client = connect(database)?;
    let values: Vec<&(dyn ToSql + Sync)> =
        values.iter().map(|v| v as &(dyn ToSql + Sync)).collect();
    // For this query only: on the other side of a pool the connection is somebody else's afterwards.
    let limit = database.timeout.as_millis();
    let mut transaction = client.transaction().map_err(unable)?;
    transaction
        .batch_execute(&format!("SET LOCAL statement_timeout = {limit}"))
        .map_err(unable)?;
    let rows = transaction.query(query, &values).map_err(unable)?;
    transaction.commit().map_err(unable)?;
    let found = match rows.as_slice() {
        [] => return Ok(None),
        [found] => found,
        _ => return Err(ambiguous()),
    };
    let mut row = Row::default();
    for (n, column) in found.columns().iter().enumerate() {
        let value = match *column.type_() {
            Type::INT2 => found
                .try_get::<_, Option<i16>>(n)
                .map(|v| v.map(|v| v.to_string().into_bytes())),
            Type::INT4 => found
                .try_get::<_, Option<i32>>(n)
                .map(|v| v.map(|v| v.to_string().into_bytes())),
            Type::INT8 => found
                .try_get::<_, Option<i64>>(n)
                .map(|v| v.map(|v| v.to_string().into_bytes())),
            Type::BYTEA => found.try_get::<_, Option<Vec<u8>>>(n),
            _ => found
                .try_get::<_, Option<String>>(n)
                .map(|v| v.map(String::into_bytes)),
        };
        if let Some(value) = value.map_err(unable)? {
            row.add(column.name().to_ascii_lowercase(), value);
        }
    }
    Ok(Some(row))
}
