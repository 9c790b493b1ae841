use super::*;

use std::io::ErrorKind;

fn account(name: &[u8], uid: u32, home: &str) -> Account {
    Account {
        name: name.to_vec(),
        uid,
        gid: 7,
        home: home.as_bytes().to_vec(),
        shell: Bytes::new(),
    }
}

/// joe and joe-list own their homes (as far as this test may: the temporary directory of the tester).
fn among(local: &str) -> Result<(String, String, String), Trouble> {
    let scratch = kit::Scratch::new("passwd");
    let home = scratch.path().to_str().unwrap().to_owned();
    let me = sys::dir::stat_path(home.as_bytes()).unwrap().uid;
    // Ids of root are refused, so a tester who is root gives the home away.
    let owner = if me == 0 { 12_345 } else { me };
    if me == 0 {
        std::os::unix::fs::chown(&home, Some(owner), None).unwrap();
    }
    let accounts = |name: &[u8]| -> io::Result<Option<Account>> {
        match name {
            b"joe" | b"joe-list" => Ok(Some(account(name, owner, &home))),
            b"stranger" => Ok(Some(account(name, owner + 1, &home))),
            b"homeless" => Ok(Some(account(name, owner, "/no/such/home"))),
            b"toor" => Ok(Some(account(name, 0, &home))),
            b"alias" => Ok(Some(account(name, 3, "/alias"))),
            b"odd" => Err(ErrorKind::NotFound.into()),
            b"slow" => Err(ErrorKind::TimedOut.into()),
            _ => Ok(None),
        }
    };
    let text = |bytes: Bytes| String::from_utf8(bytes).unwrap();
    find_among(local.as_bytes(), &accounts).map(|u| (text(u.name), text(u.dash), text(u.ext)))
}

#[test]
fn the_longest_account_that_owns_its_home_wins() {
    for (local, name, dash, ext) in [
        ("joe", "joe", "", ""),
        ("JOE", "joe", "", ""),
        ("joe-", "joe", "-", ""),
        ("Joe-Ext-X", "joe", "-", "Ext-X"),
        ("joe-list", "joe-list", "", ""),
        ("joe-list-owner", "joe-list", "-", "owner"),
        ("joe+x", "alias", "-", "joe+x"),
        ("stranger", "alias", "-", "stranger"),
        ("homeless-x", "alias", "-", "homeless-x"),
        ("toor", "alias", "-", "toor"),
        ("odd", "alias", "-", "odd"),
        ("Nobody-X", "alias", "-", "Nobody-X"),
        ("", "alias", "-", ""),
        ("-", "alias", "-", "-"),
        ("-joe", "alias", "-", "-joe"),
    ] {
        let want = (name.to_owned(), dash.to_owned(), ext.to_owned());
        assert_eq!(among(local), Ok(want), "{local}");
    }
}

#[test]
fn long_names_are_not_looked_up_but_their_beginnings_are() {
    let long = "x".repeat(5000);
    assert_eq!(among(&long).unwrap().0, "alias");
    assert_eq!(among(&format!("joe-{long}")).unwrap().2, long);
}

#[test]
fn trouble_is_not_an_unknown_user() {
    assert_eq!(among("slow"), Err(Trouble::Service));
    assert_eq!(
        find_among(b"x", &|_| Ok(None)).unwrap_err(),
        Trouble::NoAlias
    );
}
