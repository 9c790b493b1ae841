use super::*;

fn client<'a>(ip: &'a str, host: Option<&'a str>, info: Option<&'a str>) -> Client<'a> {
    Client {
        ip: ip.as_bytes(),
        host: host.map(str::as_bytes),
        info: info.map(str::as_bytes),
    }
}

fn order(client: &Client<'_>) -> Vec<String> {
    keys(client)
        .map(|k| String::from_utf8(k).unwrap())
        .collect()
}

#[test]
fn the_eight_steps_in_order() {
    assert_eq!(
        order(&client("1.2.3.4", Some("h.a.test"), Some("u"))),
        [
            "u@1.2.3.4",
            "u@=h.a.test",
            "1.2.3.4",
            "=h.a.test",
            "1.2.3.",
            "1.2.",
            "1.",
            "=.a.test",
            "=.test",
            "=",
            "",
        ]
    );
}

#[test]
fn what_is_not_known_is_not_searched() {
    assert_eq!(
        order(&client("1.2.3.4", None, Some("u"))),
        ["u@1.2.3.4", "1.2.3.4", "1.2.3.", "1.2.", "1.", ""]
    );
    assert_eq!(
        order(&client("1.2.3.4", Some("h"), None)),
        ["1.2.3.4", "=h", "1.2.3.", "1.2.", "1.", "=", ""]
    );
}

#[test]
fn empty_names_are_names() {
    assert_eq!(
        order(&client("1.", Some(""), Some(""))),
        ["@1.", "@=", "1.", "=", "1.", "=", ""]
    );
}

#[test]
fn ipv6_prefixes_end_in_a_colon() {
    assert_eq!(
        order(&client("2001:db8::1", None, None)),
        ["2001:db8::1", "2001:db8::", "2001:db8:", "2001:", ""]
    );
    assert_eq!(
        order(&client("::ffff:1.2.3.4", None, None)),
        [
            "::ffff:1.2.3.4",
            "::ffff:1.2.3.",
            "::ffff:1.2.",
            "::ffff:1.",
            "::ffff:",
            "::",
            ":",
            "",
        ]
    );
}

#[test]
fn each_step_wins_over_the_later_ones() {
    let client = client("1.2.3.4", Some("h.a.test"), Some("u"));
    let all = order(&client);
    for from in 0..all.len() {
        let present = &all[from..];
        let found = find::<()>(&client, |key| {
            let key = std::str::from_utf8(key).unwrap();
            Ok(present.iter().any(|k| k == key).then(|| key.into()))
        });
        assert_eq!(found.unwrap().unwrap().key, all[from].as_bytes());
    }
    assert_eq!(find::<()>(&client, |_| Ok(None)), Ok(None));
}

#[test]
fn an_error_ends_the_search() {
    assert_eq!(find(&client("1.2.3.4", None, None), |_| Err(7)), Err(7));
}

#[test]
fn records_are_fields_that_end_in_nul() {
    let all: Vec<_> = instructions(b"D\0+A=b\0?\0\0+\0+C=").collect();
    assert_eq!(
        all,
        [
            Instruction::Deny,
            Instruction::Set(b"A=b"),
            Instruction::Set(b"")
        ]
    );
    assert_eq!(instructions(b"").count(), 0);
}
