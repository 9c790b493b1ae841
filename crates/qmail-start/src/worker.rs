//! A child that becomes one user for good and makes his deliveries, one batch after the other, until it is let go.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use qmail_local::within::{self, Order};
use queue::spawner::Ticket;
use sys::handover::{self, Patience};
use sys::ids::Ids;
use sys::sandbox::{Access, Promises};

use crate::letter::{self, ORDER_LIMIT};
use crate::qlx;

/// How many deliveries wait for the disk together.
pub(crate) const BATCH: usize = 32;

/// What a worker promises when it has become its user: files, wherever the user keeps his mail, and nothing else. What
/// needs more, a program or a forward, is no order for a worker.
pub fn promises() -> Promises {
    Promises::new().path("/", Access::Make)
}

/// Runs in the child, which holds nothing but `socket`. Returns its exit code.
pub(crate) fn serve(socket: &OwnedFd, ids: Option<&Ids>, default: &[u8]) -> u8 {
    if let Some(ids) = ids
        && sys::ids::become_for_good(ids).is_err()
    {
        return qlx::USAGE;
    }
    if sys::ids::uid() == 0 || sys::ids::euid() == 0 {
        return qlx::ROOT;
    }
    if within::prepare().is_err() {
        return qlx::SYSTEM;
    }
    promises().enforce();
    let mut buffer = vec![0; ORDER_LIMIT];
    loop {
        match gather(socket, default, &mut buffer) {
            Ok((tickets, _)) if tickets.is_empty() => return 0,
            Ok((tickets, orders)) => {
                within::deliver(orders, |place, answer| {
                    if let Some(&ticket) = tickets.get(place) {
                        // When nobody listens any more, the next wait ends at once.
                        let letter = letter::answer(ticket, &answer);
                        let _ = handover::send_waiting(socket, &letter, None);
                    }
                });
            }
            Err(code) => return code,
        }
    }
}

type Orders = (Vec<Ticket>, Vec<Order>);

/// Waits for an order, and takes those that are there already. None: the spawner lets us go.
fn gather(socket: &OwnedFd, default: &[u8], buffer: &mut [u8]) -> Result<Orders, u8> {
    let (mut tickets, mut orders) = (Vec::new(), Vec::new());
    while orders.len() < BATCH {
        let patience = if orders.is_empty() {
            Patience::Wait
        } else {
            Patience::Now
        };
        let (count, message) = match handover::receive(socket, buffer, patience) {
            Ok((0, _)) => break,
            Ok(received) => received,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return Err(qlx::SYSTEM),
        };
        let letter = buffer.get(..count).unwrap_or_default();
        let (ticket, once, words) = letter::read_order(letter, default).ok_or(qlx::SYSTEM)?;
        tickets.push(ticket);
        orders.push(Order {
            words,
            message: File::from(message.ok_or(qlx::SYSTEM)?),
            once,
        });
    }
    Ok((tickets, orders))
}
