use std::cell::Cell;

use super::*;

thread_local! {
    static SPAN_OF_TEST: Cell<u64> = const { Cell::new(50_000) };
}

fn clock() -> u64 {
    SPAN_OF_TEST.get()
}

const MASTER: Master = [7; 32];

fn service(name: &str) -> Tickets {
    Tickets::with(&MASTER, name.as_bytes(), ORIGIN, clock).unwrap()
}

#[test]
fn one_service_has_one_key_and_others_have_others() {
    let ticket = service("465").encrypt(b"session").unwrap();
    assert_eq!(service("465").decrypt(&ticket).unwrap(), b"session");
    assert_eq!(service("25").decrypt(&ticket), None);
    let other = Tickets::with(&[8; 32], b"465", ORIGIN, clock).unwrap();
    assert_eq!(other.decrypt(&ticket), None);
    let alone = Tickets::new(b"465").unwrap();
    let ticket = alone.encrypt(b"session").unwrap();
    assert_eq!(alone.decrypt(&ticket).unwrap(), b"session");
    assert_eq!(Tickets::new(b"465").unwrap().decrypt(&ticket), None);
}

#[test]
fn tickets_last_for_two_spans_at_most() {
    let one = service("465");
    let ticket = one.encrypt(b"session").unwrap();
    SPAN_OF_TEST.set(clock() + 1);
    assert_eq!(one.decrypt(&ticket).unwrap(), b"session");
    let young = service("465");
    assert_eq!(young.decrypt(&ticket).unwrap(), b"session");
    SPAN_OF_TEST.set(clock() + 1);
    assert_eq!(one.decrypt(&ticket), None);
    assert_eq!(service("465").decrypt(&ticket), None);
    SPAN_OF_TEST.set(clock() - 2);
    assert_eq!(one.decrypt(&ticket), None, "the key is gone for good");
}

#[test]
fn a_changed_ticket_is_none() {
    let one = service("465");
    let ticket = one.encrypt(b"session").unwrap();
    for at in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[at] ^= 1;
        assert_eq!(one.decrypt(&changed), None, "{at}");
        assert_eq!(one.decrypt(&ticket[..at]), None, "{at}");
    }
    assert_ne!(ticket, one.encrypt(b"session").unwrap());
}

#[test]
fn a_mad_clock_means_no_tickets() {
    let one = service("465");
    SPAN_OF_TEST.set(10_000_000);
    assert_eq!(one.encrypt(b"session"), None);
    SPAN_OF_TEST.set(50_000);
    assert!(one.encrypt(b"session").is_some());
}
