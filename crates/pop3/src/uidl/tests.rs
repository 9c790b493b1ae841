use super::courier::Courier;
use super::dovecot::Dovecot;
use super::*;

fn name(template: &str, uid: u32, validity: u32, file: &str) -> Option<String> {
    let template = Template::parse(template.as_bytes())?;
    let mut out = Bytes::new();
    template.put(uid, validity, file.as_bytes(), &mut out);
    Some(String::from_utf8(out).unwrap())
}

#[test]
fn templates_have_the_formats_of_dovecot() {
    for (template, want) in [
        ("%08Xu%08Xv", "000000ff6b088b66"),
        ("UID%u-%v", "UID255-1795722086"),
        ("%v.%u", "1795722086.255"),
        ("%f", "17.a+20b"),
        ("%Xu", "ff"),
        ("%05u%%", "00255%"),
        ("%010v%u", "1795722086255"),
    ] {
        let got = name(template, 255, 1_795_722_086, "17.a b");
        assert_eq!(got.as_deref(), Some(want), "{template}");
    }
}

#[test]
fn templates_that_name_nothing_are_refused() {
    for template in [
        "",
        "x",
        "%v",
        "%08Xv",
        "%",
        "%u%",
        "%q",
        "%u %v",
        "%5u",
        "%099u",
        "%u\n",
        "%08X",
        "%99999999999999999999999u",
        "%m",
        "%Z%u",
    ] {
        assert_eq!(Template::parse(template.as_bytes()), None, "{template}");
    }
    assert_eq!(Style::parse(b"uw"), None);
    assert_eq!(Style::parse(b"dovecot:%v"), None);
    assert_eq!(Style::parse(b"name"), Some(Style::Names));
    assert_eq!(Style::parse(b""), Some(Style::Names));
    assert_eq!(Style::parse(b"courier"), Some(Style::Courier));
    assert!(matches!(
        Style::parse(b"dovecot:UID%u-%v"),
        Some(Style::Dovecot(_))
    ));
}

#[test]
fn headers_of_every_version() {
    let header = |validity, next, rest: &str| {
        Some(Header {
            validity,
            next,
            rest: rest.as_bytes().to_vec(),
        })
    };
    assert_eq!(
        Dovecot::header(b"3 V17 N9 Gabc X1"),
        header(17, 9, " Gabc X1")
    );
    assert_eq!(Dovecot::header(b"1 17 9"), header(17, 9, ""));
    for bad in [
        &b""[..],
        b"3",
        b"3 V17",
        b"3 N9",
        b"3 V0 N9",
        b"3 V17 N99999999999",
        b"2 17 9",
        b"1 17",
        b"x",
        b"/3 9 17",
    ] {
        assert_eq!(Dovecot::header(bad), None);
    }
    assert_eq!(Courier::header(b"/3 9 17"), header(17, 9, ""));
    assert_eq!(Courier::header(b"/2 9 17"), header(17, 9, ""));
    assert_eq!(Courier::header(b"/1 9"), header(1, 9, ""));
    for bad in [
        &b""[..],
        b"/3 9",
        b"/4 9 17",
        b"3 V17 N9",
        b"/3 0 17",
        b"1000.x 3",
    ] {
        assert_eq!(Courier::header(bad), None);
    }
}

#[test]
fn records_of_every_version() {
    let record = Dovecot::record(b"16 W35 Pold-name S3 :10.a.h,S=3").unwrap();
    assert_eq!(
        (record.uid, record.text, record.name),
        (16, Some(&b"old-name"[..]), &b"10.a.h,S=3"[..])
    );
    assert_eq!(Dovecot::record(b"16 10.a b").unwrap().name, b"10.a b");
    assert_eq!(Dovecot::record(b"16 :a b").unwrap().name, b"a b");
    for bad in [
        &b""[..],
        b"16",
        b"0 :a",
        b"16 W35",
        b"16 W35 :",
        b"x :a",
        b"16 :../a",
    ] {
        assert_eq!(Dovecot::record(bad), None);
    }
    let record = Courier::record(b"10.a b.h:2,S 31 4:17:1").unwrap();
    assert_eq!(
        (record.uid, record.validity, record.name, record.size),
        (4, Some(17), &b"10.a b.h:2,S"[..], Some(31))
    );
    assert_eq!(Courier::record(b"10.a 31 4").unwrap().validity, Some(0));
    for bad in [
        &b""[..],
        b"10.a",
        b"10.a 3",
        b"10.a 3 0:1",
        b"10.a x 1:1",
        b" 3 1:1",
        b"../a 3 1:1",
    ] {
        assert_eq!(Courier::record(bad), None);
    }
}

#[test]
fn old_lines_become_lines_of_the_version_that_is_written() {
    let old = |line: &[u8]| {
        let mut out = Bytes::new();
        Courier::put_old(line, &Courier::record(line).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(old(b"10.a:2, 3 4:17:1"), "10.a:2, 3 4:17:1\n");
    assert_eq!(old(b"10.a:2, 3 4:17"), "10.a:2, 3 4:17:0\n");
    assert_eq!(old(b"10.a:2, 3 4"), "10.a:2, 3 4:0:0\n");
    let mut out = Bytes::new();
    for line in [&b"4 W3 :10.a"[..], b"5 10.b", b"6 10.c:2,S"] {
        Dovecot::put_old(line, &Dovecot::record(line).unwrap(), &mut out);
    }
    assert_eq!(out, b"4 W3 :10.a\n5 :10.b\n6 :10.c:2,S\n");
}
