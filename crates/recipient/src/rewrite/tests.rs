use super::*;

fn rules() -> Rewrite {
    Rewrite::from_texts(
        b"me.test",
        b"hack.test\nhack2.test\nb@c\n",
        b"me.test\nLocal.Test\n",
        b"virt.test:virt\n.sub.test:sub\nexact.sub.test:exact\nJoe@one.test:joe\none.test:one\n\
          none.sub.test:\n.deep.none.test:deep\ndup.test:first\ndup.test:second\n",
    )
}

fn local(text: &str) -> Route {
    Route::Local(text.as_bytes().to_vec())
}

fn remote(text: &str) -> Route {
    Route::Remote(text.as_bytes().to_vec())
}

#[test]
fn addresses_are_routed_as_the_original_does() {
    let rules = rules();
    for (address, want) in [
        ("joe", local("joe@me.test")),
        ("", local("@me.test")),
        ("joe@", remote("joe@")),
        ("joe@ME.test", local("joe@ME.test")),
        ("joe@local.test", local("joe@local.test")),
        ("joe@far.test", remote("joe@far.test")),
        ("a%far.test@hack.test", remote("a@far.test")),
        ("a%me.test@hack.test", local("a@me.test")),
        ("a%hack2.test@hack.test", remote("a@hack2.test")),
        ("a%me.test%hack2.test@hack.test", local("a@me.test")),
        ("nopercent@hack.test", remote("nopercent@hack.test")),
        ("a%b@c@hack.test", remote("a@b@c")),
        ("joe@virt.test", local("virt-joe@virt.test")),
        ("Joe@VIRT.test", local("virt-Joe@VIRT.test")),
        ("joe@x.virt.test", remote("joe@x.virt.test")),
        ("joe@sub.test", remote("joe@sub.test")),
        ("joe@a.sub.test", local("sub-joe@a.sub.test")),
        ("joe@a.b.sub.test", local("sub-joe@a.b.sub.test")),
        ("joe@exact.sub.test", local("exact-joe@exact.sub.test")),
        ("joe@none.sub.test", remote("joe@none.sub.test")),
        ("joe@one.test", local("joe-joe@one.test")),
        ("jim@one.test", local("one-jim@one.test")),
        ("a@b@virt.test", local("virt-a@b@virt.test")),
        ("x@dup.test", local("second-x@dup.test")),
        ("@virt.test", local("virt-@virt.test")),
        ("a.sub.test@far.test", remote("a.sub.test@far.test")),
    ] {
        assert_eq!(rules.route(address.as_bytes()), want, "{address}");
    }
}

#[test]
fn the_empty_key_catches_the_rest() {
    let rules = Rewrite::from_texts(b"me.test", b"", b"me.test", b":all\nfar.test:\n");
    assert_eq!(rules.route(b"a@x.test"), local("all-a@x.test"));
    assert_eq!(rules.route(b"a@far.test"), remote("a@far.test"));
    assert_eq!(rules.route(b"a@me.test"), local("a@me.test"));
    assert_eq!(rules.strip(b"all-a@x.test"), b"a@x.test");
}

#[test]
fn what_routing_put_in_front_is_taken_off() {
    let rules = rules();
    for address in [
        "joe@virt.test",
        "joe@a.sub.test",
        "jim@one.test",
        "x@dup.test",
    ] {
        let Route::Local(found) = rules.route(address.as_bytes()) else {
            panic!("{address} is not local");
        };
        assert_ne!(found, address.as_bytes());
        assert_eq!(rules.strip(&found), address.as_bytes());
    }
    for same in [
        "joe@me.test",
        "virt-joe@me.test",
        "virtjoe@virt.test",
        "nohost",
        "joe@none.sub.test",
        "",
    ] {
        assert_eq!(rules.strip(same.as_bytes()), same.as_bytes());
    }
}
