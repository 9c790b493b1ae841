//! The compiled rules: opened anew for every client, so a change counts from the next connection on.

use std::io::{self, ErrorKind};

use base::die::system_text;
use control::Table;

use crate::rules::{Client, Order, Rule, find};

/// What the rules file says of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// these rules; none: let through
    Rules(Vec<Rule>),
    /// there is no rules file
    NoFile,
}

/// Looks `client` up in the table at `path`.
///
/// # Errors
/// The file cannot be read or is damaged: why, in the system's words.
pub(crate) fn look(path: &[u8], order: Order, client: &Client<'_>) -> Result<Found, String> {
    let Some(table) = Table::open(sys::dir::path(path)).map_err(|e| words(&e, path))? else {
        return Ok(Found::NoFile);
    };
    find(order, client, |key| table.get(key))
        .map(Found::Rules)
        .map_err(|e| words(&e, path))
}

/// A damaged table is a "protocol error"; for an empty file the original says "invalid argument" (it cannot map it).
fn words(error: &io::Error, path: &[u8]) -> String {
    if error.raw_os_error().is_some() {
        return system_text(error);
    }
    match sys::dir::stat_path(path) {
        Ok(stat) if stat.size == 0 => "invalid argument".to_owned(),
        _ => system_text(&ErrorKind::InvalidData.into()),
    }
}
