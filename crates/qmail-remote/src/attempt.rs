//! One address after the other, until one of them talks to us.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use queue::tcpto::{self, Standing};

use crate::Settings;
use crate::hosts::Candidate;
use crate::peer::Peer;
use crate::report::{self, Verdict};
use crate::talk::{self, Link};

/// The most addresses that are tried for one message. Those that the kernel knows no way to do not count.
const TRY_LIMIT: usize = 10;
/// No further address is tried after this time.
const TRY_TIME: Duration = Duration::from_mins(15);

/// Tries `candidates` in their order.
///
/// # Errors
/// The verdict when no host would talk to us.
pub(crate) fn reach(
    candidates: &[Candidate],
    port: u16,
    settings: &Settings,
) -> Result<Link, Verdict> {
    let end = Instant::now() + TRY_TIME;
    let timeout = Duration::from_secs(settings.timeout_remote);
    let mut verdict = report::no_connection();
    let mut tries = 0;
    for candidate in candidates {
        if tries == TRY_LIMIT || Instant::now() > end {
            break;
        }
        let address = candidate.address;
        let socket = match connect(address, port, settings.timeout_connect) {
            Ok(socket) => socket,
            Err(Failure::NoWay) => continue,
            Err(Failure::Tried) => {
                tries += 1;
                continue;
            }
        };
        tries += 1;
        let Ok(peer) = Peer::new(socket, address, timeout) else {
            continue;
        };
        match talk::greet(peer, &settings.helohost) {
            Ok(link) => return Ok(link),
            Err(trouble) => verdict = trouble,
        }
    }
    Err(verdict)
}

/// Why there is no connection.
enum Failure {
    /// it was not tried, or the kernel knew at once that it cannot be
    NoWay,
    /// it cost a try
    Tried,
}

/// Connects, and keeps the table of hosts that do not answer.
fn connect(address: IpAddr, port: u16, seconds: u64) -> Result<OwnedFd, Failure> {
    let standing = tcpto::standing(address);
    if standing == Standing::Blocked {
        return Err(Failure::NoWay);
    }
    let timeout = Duration::from_secs(seconds);
    let connected = sys::socket::connect(&SocketAddr::new(address, port), None, timeout);
    match &connected {
        Err(e) if e.kind() == ErrorKind::TimedOut => tcpto::timed_out(address),
        _ if standing == Standing::Known => tcpto::answered(address),
        _ => {}
    }
    connected.map_err(|e| {
        if sys::socket::is_no_way(&e) {
            Failure::NoWay
        } else {
            Failure::Tried
        }
    })
}
