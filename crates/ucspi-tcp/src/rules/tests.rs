use super::*;

fn client<'a>(ip: &'a str, host: Option<&'a str>, info: Option<&'a str>) -> Client<'a> {
    Client {
        ip: ip.as_bytes(),
        host: host.map(str::as_bytes),
        info: info.map(str::as_bytes),
    }
}

fn order(client: &Client<'_>) -> Vec<String> {
    searched(Order::First, client, b"")
}

/// The keys that are looked up when there is no rule, in a table with networks of these sizes.
fn searched(order: Order, client: &Client<'_>, sizes: &[u8]) -> Vec<String> {
    let mut keys = Vec::new();
    find::<()>(order, client, |key| {
        if key == SIZES {
            return Ok(Some(sizes.to_vec()));
        }
        keys.push(String::from_utf8(key.to_vec()).unwrap());
        Ok(None)
    })
    .unwrap();
    keys
}

#[test]
fn networks_stand_among_the_beginnings() {
    let sizes = [b'4', 24, b'4', 20, b'4', 0, b'6', 64, b'6', 32, b'6', 16];
    assert_eq!(
        searched(Order::First, &client("10.1.250.3", Some("h"), None), &sizes),
        [
            "10.1.250.3",
            "=h",
            "10.1.250.0/24",
            "10.1.250.",
            "10.1.240.0/20",
            "10.1.",
            "10.",
            "0.0.0.0/0",
            "=",
            ""
        ]
    );
    assert_eq!(
        searched(Order::First, &client("2001:db8::1", None, None), &sizes),
        [
            "2001:db8::1",
            "2001:db8::/64",
            "2001:db8::/32",
            "2001:db8::",
            "2001:db8:",
            "2001::/16",
            "2001:",
            ""
        ]
    );
    let mapped = searched(Order::First, &client("::ffff:10.1.2.3", None, None), &sizes);
    assert!(mapped.contains(&"10.1.2.0/24".to_owned()));
    let odd = searched(Order::First, &client("odd", None, None), b"4\xff6\xff4");
    assert_eq!(odd, ["odd", ""]);
}

#[test]
fn from_both_sides() {
    let client = client("1.2.3.4", Some("h.a.test"), Some("u"));
    assert_eq!(
        searched(Order::Both, &client, b""),
        [
            "u@1.2.3.4",
            "1.2.3.4",
            "1.2.3.",
            "1.2.",
            "1.",
            "u@=h.a.test",
            "=h.a.test",
            "=.a.test",
            "=.test",
            "=",
            "",
        ]
    );
    let rule = |key: &[u8], data: &[u8]| Rule {
        key: key.to_vec(),
        data: data.to_vec(),
    };
    let lookup = |key: &[u8]| -> Result<_, ()> {
        Ok(match key {
            b"1.2." => Some(b"+A=ip\0".to_vec()),
            b"=" => Some(b"+A=host\0+B=host\0".to_vec()),
            b"" => Some(b"D\0".to_vec()),
            _ => None,
        })
    };
    let found = find(Order::Both, &client, lookup).unwrap();
    let (ip, host) = (rule(b"1.2.", b"+A=ip\0"), rule(b"=", b"+A=host\0+B=host\0"));
    assert_eq!(found, [ip.clone(), host.clone()]);
    let set: [&[u8]; 3] = [b"A=host", b"B=host", b"A=ip"];
    assert_eq!(verdict(&found).unwrap(), set);
    assert_eq!(verdict(&[rule(b"", b"D\0"), host]), None);
    assert_eq!(verdict(&[ip, rule(b"", b"D\0")]), None);
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
        let found = find::<()>(Order::First, &client, |key| {
            let key = std::str::from_utf8(key).unwrap();
            Ok(present.iter().any(|k| k == key).then(|| key.into()))
        });
        assert_eq!(found.unwrap()[0].key, all[from].as_bytes());
    }
    assert_eq!(find::<()>(Order::First, &client, |_| Ok(None)), Ok(vec![]));
}

#[test]
fn an_error_ends_the_search() {
    assert_eq!(
        find(Order::First, &client("1.2.3.4", None, None), |_| Err(7)),
        Err(7)
    );
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
