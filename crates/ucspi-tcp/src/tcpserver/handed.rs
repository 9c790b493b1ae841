//! A listening socket that the supervisor holds, so that a restart refuses nobody.
//!
//! Source  `sd_listen_fds`; docs/decisions/0004-listen-descriptors.md

use std::os::fd::OwnedFd;

use base::bytes::number;
use base::{Bytes, env};

/// The first descriptor that is handed over.
const FIRST: i32 = 3;
/// The most that are.
const LIMIT: i32 = 16;
/// The variables that tell of them; they are for us alone.
const VARIABLES: [&[u8]; 3] = [b"LISTEN_FDS", b"LISTEN_PID", b"LISTEN_FDNAMES"];

/// The socket for `port` that was handed over, or for any port if that is 0. The others are closed.
pub(super) fn listener(port: u16) -> Option<OwnedFd> {
    let count = count()?;
    let all: Vec<OwnedFd> = (FIRST..FIRST + count)
        .filter_map(|number| sys::fd::take(number).ok())
        .collect();
    all.into_iter().find(|socket| {
        sys::socket::is_listening(socket)
            && sys::socket::local(socket).is_ok_and(|at| port == 0 || at.port() == port)
    })
}

/// What a program gets of our environment: without the variables, if they are for us.
pub(super) fn environment() -> Vec<(Bytes, Bytes)> {
    let mut all = sys::spawn::environment();
    // Meant for us, if for anybody.
    all.retain(|(name, _)| name != net::forkserver::VARIABLE.as_bytes());
    if count().is_some() {
        all.retain(|(name, _)| !VARIABLES.contains(&name.as_slice()));
    }
    all
}

/// How many descriptors are for us.
fn count() -> Option<i32> {
    let count = i32::try_from(number(&env("LISTEN_FDS")?)?).ok()?;
    let for_us =
        env("LISTEN_PID").is_none_or(|pid| number(&pid) == Some(std::process::id().into()));
    (for_us && (1..=LIMIT).contains(&count)).then_some(count)
}
