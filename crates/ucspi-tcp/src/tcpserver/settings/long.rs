//! The options of our own, which have names.

use std::net::Ipv6Addr;
use std::time::Duration;

use base::Bytes;
use base::bytes::{number, split_once};

use crate::network::Network;
use crate::rules::Order;
use crate::tcpserver::limits::Rate;

/// The time of a rate that names none.
const MINUTE: u64 = 60;

/// What only this tcpserver has. The default is that of the original.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// `--per-address=N`: programs at once for one client
    pub per_address: Option<u32>,
    /// `--rate=N/SECONDS`: connections of one client
    pub rate: Option<Rate>,
    /// `--refusal=TEXT`: said to clients above a limit
    pub refusal: Option<Bytes>,
    /// `--denial=TEXT`: said to clients that are denied without a process
    pub denial: Option<Bytes>,
    /// `--deny-early`: no process for those, even where the log would show it
    pub deny_early: bool,
    /// `--counters=FILE`
    pub counters: Option<Bytes>,
    /// `--proxy=LIST`: front ends that say whose connection it is
    pub front_ends: Vec<Network>,
    /// `--fork-server`: the program copies itself for each connection
    pub fork_server: bool,
    /// `--both-rules`: judge a client from both sides
    pub order: Order,
}

/// An option that is not known, or whose value is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl Extras {
    /// Whether `ip` is a trusted front end.
    pub fn is_front_end(&self, ip: Ipv6Addr) -> bool {
        self.front_ends.iter().any(|network| network.holds(ip))
    }

    /// Takes the option `--name=value`.
    pub fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unknown> {
        match name {
            b"per-address" => self.per_address = Some(count(value)?),
            b"rate" => self.rate = Some(rate(value)?),
            b"refusal" => self.refusal = Some([value, b"\r\n"].concat()),
            b"denial" => {
                self.denial = Some([value, b"\r\n"].concat());
                self.deny_early = true;
            }
            b"deny-early" if value.is_empty() => self.deny_early = true,
            b"counters" if !value.is_empty() => self.counters = Some(value.into()),
            b"proxy" => self.front_ends.extend(networks(value)?),
            b"fork-server" if value.is_empty() => self.fork_server = true,
            b"both-rules" if value.is_empty() => self.order = Order::Both,
            _ => return Err(Unknown),
        }
        Ok(())
    }
}

fn networks(list: &[u8]) -> Result<Vec<Network>, Unknown> {
    list.split(|&b| b == b',')
        .map(|word| Network::or_address(word).ok_or(Unknown))
        .collect()
}

fn count(value: &[u8]) -> Result<u32, Unknown> {
    number(value)
        .and_then(|n| u32::try_from(n).ok())
        .ok_or(Unknown)
}

/// `N`, for a minute, or `N/SECONDS`.
fn rate(value: &[u8]) -> Result<Rate, Unknown> {
    let (connections, seconds) = match split_once(value, b'/') {
        Some((connections, seconds)) => (connections, u64::from(count(seconds)?)),
        None => (value, MINUTE),
    };
    Ok(Rate {
        count: count(connections)?,
        time: Duration::from_secs(seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let rate_of = |count, seconds| {
            let time = Duration::from_secs(seconds);
            Ok(Rate { count, time })
        };
        assert_eq!(rate(b"10"), rate_of(10, 60));
        assert_eq!(rate(b"10/3600"), rate_of(10, 3600));
        for wrong in ["", "x", "1/", "/1", "1/2/3", "-1", "99999999999"] {
            assert_eq!(rate(wrong.as_bytes()), Err(Unknown), "{wrong}");
        }
    }
}
