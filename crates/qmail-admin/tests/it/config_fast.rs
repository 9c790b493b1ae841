use std::fs;

use kit::Home;

#[test]
fn one_name_makes_the_first_control_files() {
    let home = Home::new("config-fast");
    fs::remove_file(home.join("control/me")).unwrap();
    let output = home.run("config-fast").arg("h.x.y.test").output();
    assert_eq!(output.code(), 0);
    assert_eq!(
        output.out_text(),
        "Your fully qualified host name is h.x.y.test.\n\
         Putting h.x.y.test into control/me...\n\
         Putting x.y.test into control/defaultdomain...\n\
         Putting y.test into control/plusdomain...\n\
         Putting h.x.y.test into control/locals...\n\
         Putting h.x.y.test into control/rcpthosts...\n\
         Now qmail will refuse to accept SMTP messages except to h.x.y.test.\n\
         Make sure to change rcpthosts if you add hosts to locals or virtualdomains!\n"
    );
    let read = |name: &str| fs::read_to_string(home.join("control").join(name)).unwrap();
    assert_eq!(read("me"), "h.x.y.test\n");
    assert_eq!(read("defaultdomain"), "x.y.test\n");
    assert_eq!(read("plusdomain"), "y.test\n");
    // These two are added to: the kit had written them.
    assert_eq!(read("locals"), "host.test\nh.x.y.test\n");
    assert_eq!(read("rcpthosts"), "host.test\nh.x.y.test\n");
}

#[test]
fn a_name_that_is_none_is_refused() {
    let home = Home::new("config-fast-bad");
    for bad in ["", "a b", "a\nb", "../x", "\x1b[m"] {
        let output = home.run("config-fast").arg(bad).output();
        assert_eq!(output.code(), 100, "{bad:?}");
    }
    let output = home.run("config-fast").output();
    assert_eq!(output.code(), 100);
    assert_eq!(output.err_text(), "config-fast: usage: config-fast host\n");
    assert_eq!(
        fs::read_to_string(home.join("control/me")).unwrap(),
        "host.test\n"
    );
}
