//! One address after the other, until one of them talks to us.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use queue::tcpto::{self, Standing};

use crate::Settings;
use crate::hosts::Candidate;
use crate::peer::Peer;
use crate::policy::Wanted;
use crate::report::{self, Verdict};
use crate::route::{Route, SMTPS};
use crate::talk::{Link, Opening, Refused};

/// The most addresses that are tried for one message. Those that the kernel knows no way to do not count.
const TRY_LIMIT: usize = 10;
/// No further address is tried after this time.
const TRY_TIME: Duration = Duration::from_mins(15);

/// Tries `candidates` in their order. One whose TLS does not work is asked again in clear, if that will do.
///
/// # Errors
/// The verdict when no host would talk to us.
pub(crate) fn reach(
    candidates: &[Candidate],
    route: &Route,
    settings: &Settings,
) -> Result<Link, Verdict> {
    let wanted = settings.policies.find(route).ok_or_else(report::control)?;
    let end = Instant::now() + TRY_TIME;
    let mut verdict = report::no_connection();
    let mut tries = 0;
    for candidate in candidates {
        if tries == TRY_LIMIT || Instant::now() > end {
            break;
        }
        match attempt(candidate, route, settings, &wanted) {
            Ok(link) => return Ok(link),
            Err(Refusal::NoWay) => continue,
            Err(Refusal::NoConnection) => {}
            Err(Refusal::Verdict(trouble)) => verdict = trouble,
            Err(Refusal::Tls(trouble)) if wanted.is_strict() || route.port == SMTPS => {
                verdict = trouble;
            }
            Err(Refusal::Tls(_)) => match attempt(candidate, route, settings, &Wanted::PLAIN) {
                Ok(link) => return Ok(link),
                Err(Refusal::Verdict(trouble)) => verdict = trouble,
                Err(_) => {}
            },
        }
        tries += 1;
    }
    Err(verdict)
}

/// Why one address is of no use.
enum Refusal {
    /// it was not tried, or the kernel knew at once that it cannot be
    NoWay,
    NoConnection,
    /// it answered, and would not begin
    Verdict(Verdict),
    /// its TLS does not work, or is not what is wanted
    Tls(Verdict),
}

fn attempt(
    candidate: &Candidate,
    route: &Route,
    settings: &Settings,
    wanted: &Wanted,
) -> Result<Link, Refusal> {
    let address = candidate.address;
    let socket = connect(address, route.port, settings.timeout_connect)?;
    let timeout = Duration::from_secs(settings.timeout_remote);
    let peer = Peer::new(socket, address, timeout).map_err(|_| Refusal::NoConnection)?;
    let opening = Opening {
        helohost: &settings.helohost,
        wanted,
        is_implicit: route.port == SMTPS,
        name: &candidate.name,
        login: route.login.as_ref(),
    };
    opening.greet(peer).map_err(|refused| match refused {
        Refused::Verdict(verdict) => Refusal::Verdict(verdict),
        Refused::Tls(verdict) => Refusal::Tls(verdict),
    })
}

/// Connects, and keeps the table of hosts that do not answer.
fn connect(address: IpAddr, port: u16, seconds: u64) -> Result<OwnedFd, Refusal> {
    let standing = tcpto::standing(address);
    if standing == Standing::Blocked {
        return Err(Refusal::NoWay);
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
            Refusal::NoWay
        } else {
            Refusal::NoConnection
        }
    })
}
