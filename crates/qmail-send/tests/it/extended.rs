//! qmail-send and spawners that speak the extended protocol.

use kit::Home;
use sys::process::End;

use crate::office::*;

fn extended(limit: u32) -> Setup {
    Setup {
        extended: Some(limit),
        ..Setup::default()
    }
}

#[test]
fn more_than_255_deliveries_run_when_both_sides_can() {
    let home = Home::new("extended-many");
    home.control("concurrencylocal", "400\n");
    home.control("concurrencyremote", "1000\n");
    let mut office = Office::open_with(home.path(), extended(300), |_| Answer::Held(b"Kok".into()));
    office.await_log("status: local 0/300 remote 0/300\n");
    let here: Vec<String> = (0..310).map(|n| format!("u{n}@host.test")).collect();
    let here: Vec<&str> = here.iter().map(String::as_str).collect();
    put(&home, "s@x", &here, "m");
    office.await_log("status: local 300/300 ");
    kit::eventually("the last place is used", || {
        office.orders().iter().any(|o| o.place == 299)
    });
    office.release();
    office.await_log("end msg");
    assert_eq!(office.orders().len(), 310);
    await_empty(&home, &office);
    assert_eq!(office.stop(), End::Exit(0));
}

#[test]
fn an_original_spawner_is_asked_once_and_served_as_ever() {
    let home = Home::new("extended-classic");
    home.control("concurrencylocal", "400\n");
    let setup = Setup {
        greeting: vec![7],
        ..Setup::default()
    };
    let office = Office::open_with(home.path(), setup, |_| report("Kok\n"));
    office.await_log("status: local 0/7 remote 0/7\n");
    let here: Vec<String> = (0..20).map(|n| format!("u{n}@host.test")).collect();
    let here: Vec<&str> = here.iter().map(String::as_str).collect();
    office.serve(&home, "s@x", &here, "m");
    assert_eq!(office.deliveries(), [1; 20]);
    assert!(office.orders().iter().all(|o| o.place < 7));
    await_empty(&home, &office);
}
