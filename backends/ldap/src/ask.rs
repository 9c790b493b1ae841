//! The conversation with the directory.

use aside::{Answer, Name, Row, Trouble};
use ldap3::{LdapConn, LdapConnSettings, LdapError, Scope, SearchEntry};

use crate::directory::{Directory, Place, fill, for_filter, for_name};

/// Result codes (RFC 4511 4.1.9).
mod code {
    pub(super) const SUCCESS: u32 = 0;
    pub(super) const NO_SUCH_OBJECT: u32 = 32;
    pub(super) const INVALID_NAME: u32 = 34;
    pub(super) const INAPPROPRIATE: u32 = 48;
    pub(super) const WRONG: u32 = 49;
}

/// The first server that answers.
fn connect(directory: &Directory) -> Result<LdapConn, Trouble> {
    // One that does not answer leaves time for the next.
    let servers = u32::try_from(directory.servers.len()).unwrap_or(u32::MAX);
    let mut settings = LdapConnSettings::new()
        .set_conn_timeout(directory.timeout / servers.max(1))
        .set_starttls(directory.starttls);
    if let Some(file) = &directory.cafile {
        let tls = cafile::client(file).map_err(|e| Trouble::unable("use the cafile", e))?;
        settings = settings.set_config(std::sync::Arc::new(tls));
    }
    let mut trouble = Trouble(b"there is no server".to_vec());
    for server in &directory.servers {
        match LdapConn::with_settings(settings.clone(), server) {
            Ok(connection) => return Ok(connection),
            Err(e) => trouble = Trouble::unable(format!("connect to {server}"), e),
        }
    }
    Err(trouble)
}

fn unable(what: &str) -> impl Fn(LdapError) -> Trouble + '_ {
    move |e| Trouble::unable(what, e)
}

/// What the directory knows of a name. With a password: if that is the right one, by its own word.
pub(crate) fn find(
    directory: &Directory,
    name: &Name,
    password: Option<&str>,
) -> Result<Answer, Trouble> {
    let mut connection = connect(directory)?;
    let (dn, found) = match &directory.place {
        // Who searches nothing need not be anybody before.
        Place::Known(pattern) if directory.bind.0.is_empty() => {
            (fill(pattern, name, for_name), None)
        }
        place => {
            let Some(found) = search(directory, &mut connection, place, name)? else {
                return Ok(None);
            };
            (found.dn.clone(), Some(found))
        }
    };
    if let Some(password) = password
        && (password.is_empty() || !is_right(directory, &mut connection, &dn, password)?)
    {
        return Ok(None);
    }
    let found = match found {
        Some(found) => Some(found),
        None => entry(
            directory,
            &mut connection,
            &dn,
            Scope::Base,
            "(objectClass=*)",
        )?,
    };
    Ok(found.map(|found| row(directory, &found)))
}

/// The entry, as the one who searches sees it.
fn search(
    directory: &Directory,
    connection: &mut LdapConn,
    place: &Place,
    name: &Name,
) -> Result<Option<SearchEntry>, Trouble> {
    let (dn, password) = &directory.bind;
    if !dn.is_empty() {
        let bound = connection
            .with_timeout(directory.timeout)
            .simple_bind(dn, password);
        bound
            .and_then(ldap3::LdapResult::success)
            .map_err(unable("bind as the binddn"))?;
    }
    match place {
        Place::Known(pattern) => {
            let dn = fill(pattern, name, for_name);
            entry(directory, connection, &dn, Scope::Base, "(objectClass=*)")
        }
        Place::Searched {
            base,
            scope,
            filter,
        } => {
            let filter = fill(filter, name, for_filter);
            entry(directory, connection, base, *scope, &filter)
        }
    }
}

fn entry(
    directory: &Directory,
    connection: &mut LdapConn,
    base: &str,
    scope: Scope,
    filter: &str,
) -> Result<Option<SearchEntry>, Trouble> {
    let failed = unable("search the directory");
    let attributes: Vec<&str> = directory
        .attributes
        .iter()
        .map(|(_, a)| a.as_str())
        .collect();
    let result = connection
        .with_timeout(directory.timeout)
        .search(base, scope, filter, attributes);
    let ldap3::SearchResult(entries, result) = result.map_err(&failed)?;
    let is_base = scope == Scope::Base;
    match result.rc {
        code::SUCCESS => {}
        code::NO_SUCH_OBJECT | code::INVALID_NAME if is_base => return Ok(None),
        _ => return Err(failed(LdapError::from(result))),
    }
    // Referrals are no entries.
    let entries = entries
        .into_iter()
        .filter(|e| !e.is_ref() && !e.is_intermediate());
    let entries: Vec<_> = entries.collect();
    match <[_; 1]>::try_from(entries) {
        Ok([one]) => Ok(Some(SearchEntry::construct(one))),
        Err(none) if none.is_empty() => Ok(None),
        Err(_) => Err(Trouble(b"the search finds more than one entry".to_vec())),
    }
}

/// Whether the directory lets in who says that he is `dn`. An empty password would be a bind as nobody, which succeeds
/// (RFC 4513 5.1.2): the caller keeps it away.
fn is_right(
    directory: &Directory,
    connection: &mut LdapConn,
    dn: &str,
    password: &str,
) -> Result<bool, Trouble> {
    let failed = unable("bind as the user");
    let bound = connection
        .with_timeout(directory.timeout)
        .simple_bind(dn, password);
    let result = bound.map_err(&failed)?;
    match result.rc {
        code::SUCCESS => Ok(true),
        code::WRONG | code::NO_SUCH_OBJECT | code::INVALID_NAME | code::INAPPROPRIATE => Ok(false),
        _ => Err(failed(LdapError::from(result))),
    }
}

fn row(directory: &Directory, found: &SearchEntry) -> Row {
    let mut row = Row::default();
    for (word, attribute) in &directory.attributes {
        // The names of attributes have no case.
        let is_it = |name: &String| name.eq_ignore_ascii_case(attribute);
        let texts = found.attrs.iter().filter(|(name, _)| is_it(name));
        for value in texts.flat_map(|(_, values)| values) {
            row.add(word, value);
        }
        let others = found.bin_attrs.iter().filter(|(name, _)| is_it(name));
        for value in others.flat_map(|(_, values)| values) {
            row.add(word, value);
        }
    }
    row
}
