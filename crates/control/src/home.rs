//! Where home is.

use std::io;
use std::path::PathBuf;

use base::Bytes;

/// First line of conf-home: the home compiled in.
const CONF_HOME: &str = include_str!("../../../conf-home");
/// First line of conf-split: the split of a new queue.
const CONF_SPLIT: &str = include_str!("../../../conf-split");
/// First line of conf-break: between a user name and an extension.
const CONF_BREAK: &str = include_str!("../../../conf-break");

fn first_line(text: &'static str) -> &'static str {
    text.lines().next().unwrap_or_default()
}

/// The home of qmail: QMAILHOME if it is set, absolute and to be trusted, else the one compiled in.
///
/// A process that is privileged over its caller ignores QMAILHOME.
pub fn home() -> PathBuf {
    if !sys::ids::privileged_over_caller()
        && let Some(home) = std::env::var_os("QMAILHOME")
    {
        let home = PathBuf::from(home);
        if home.is_absolute() {
            return home;
        }
    }
    PathBuf::from(first_line(CONF_HOME))
}

/// Makes home the working directory.
///
/// # Errors
/// What chdir says: each program has its own exit code for it.
pub fn enter() -> io::Result<()> {
    std::env::set_current_dir(home())
}

/// The split of a new queue: how many subdirectories mess, info, local and remote get.
pub fn default_split() -> u64 {
    base::bytes::number(first_line(CONF_SPLIT).as_bytes())
        .filter(|&n| n > 0)
        .unwrap_or(23)
}

/// The byte between a user name and an extension.
pub fn user_break() -> u8 {
    first_line(CONF_BREAK).bytes().next().unwrap_or(b'-')
}

/// A path below home, made absolute: for programs that cannot change their working directory.
pub fn below(relative: &str) -> Bytes {
    home().join(relative).into_os_string().into_encoded_bytes()
}
