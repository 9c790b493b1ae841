use std::fs;
use std::time::{Duration, SystemTime};

use kit::Home;

use crate::{make_unreadable, run};

/// The part of the report about one file.
fn about(report: &str, name: &str) -> String {
    let start = format!("\n{name}: ");
    let (_, rest) = report
        .split_once(&start)
        .unwrap_or_else(|| panic!("no {name}: {report}"));
    rest.split("\n\n").next().unwrap().trim_end().to_owned()
}

#[test]
fn showctl_knows_the_defaults() {
    let home = Home::new("showctl");
    for file in ["locals", "rcpthosts"] {
        fs::remove_file(home.join("control").join(file)).unwrap();
    }
    let output = run(&home, "qmail-showctl");
    assert_eq!(output.code(), 0);
    let report = output.out_text();
    let first = format!(
        "qmail home directory: {}.\nuser-ext delimiter: -.\npaternalism (in decimal): 2.\n",
        home.path().display()
    );
    assert!(report.starts_with(&first), "{report}");
    assert!(report.contains("silent concurrency limit: 120.\nsubdirectory split: 23.\nuser ids: "));
    for (name, text) in [
        (
            "bouncefrom",
            "(Default.) Bounce user name is MAILER-DAEMON.",
        ),
        ("bouncehost", "(Default.) Bounce host name is host.test."),
        ("databytes", "(Default.) SMTP DATA limit is 0 bytes."),
        (
            "locals",
            "(Default.) Messages for me are delivered locally.",
        ),
        ("me", "My name is host.test."),
        (
            "rcpthosts",
            "(Default.) SMTP clients may send messages to local recipients only.",
        ),
        (
            "morercpthosts",
            "(Default.) No rcpthosts; morercpthosts is irrelevant.",
        ),
        ("morercpthosts.cdb", "(Default.) No effect."),
        ("virtualdomains", "(Default.) No virtual domains."),
    ] {
        assert_eq!(about(&report, name), text);
    }
}

#[test]
fn showctl_says_when_one_user_is_everybody() {
    let home = Home::new("showctl-single");
    let report = run(&home, "qmail-showctl").out_text();
    let line = match sys_uid() {
        0 => "Oops! The queue belongs to uid 0, not to qmailq.".to_owned(),
        uid => format!("single-uid mode: the queue is not qmailq's; everything runs as uid {uid}."),
    };
    assert!(report.contains(&format!("\n{line}\n")), "{report}");
}

#[test]
fn showctl_tells_of_the_sandbox() {
    let home = Home::new("showctl-sandbox");
    let report = run(&home, "qmail-showctl").out_text();
    let line = format!("sandbox beside the uids: {}.", sys::sandbox::level());
    assert!(report.contains(&format!("\n{line}\n")), "{report}");
}

fn sys_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn showctl_shows_what_is_there() {
    let home = Home::new("showctl-there");
    home.control("locals", "a.test\n#no\n\nb.test  \n");
    home.control("databytes", "9x");
    home.control("concurrencylocal", "many");
    home.control("bouncehost", "b.test \t\nmore");
    home.control("virtualdomains", "v.test:al\tx\u{e9}\n");
    home.control("morercpthosts", "m.test\n");
    let report = run(&home, "qmail-showctl").out_text();
    for (name, text) in [
        (
            "locals",
            "\nMessages for a.test are delivered locally.\nMessages for b.test are delivered locally.",
        ),
        ("databytes", "SMTP DATA limit is 9 bytes."),
        ("concurrencylocal", "(Default.) Local concurrency is 10."),
        ("bouncehost", "Bounce host name is b.test."),
        ("virtualdomains", "\nVirtual domain: v.test:al?x??"),
        (
            "morercpthosts",
            "\nSMTP clients may send messages to recipients at m.test.",
        ),
        (
            "morercpthosts.cdb",
            "Oops! morercpthosts exists but morercpthosts.cdb doesn't.",
        ),
    ] {
        assert_eq!(about(&report, name), text);
    }
}

#[test]
fn showctl_compares_the_two_forms_of_morercpthosts() {
    let home = Home::new("showctl-mrh");
    let table = |home: &Home| about(&run(home, "qmail-showctl").out_text(), "morercpthosts.cdb");
    home.control("morercpthosts.cdb", "");
    assert_eq!(
        table(&home),
        "Oops! morercpthosts.cdb exists but morercpthosts doesn't."
    );
    home.control("morercpthosts", "");
    let list = fs::File::options()
        .write(true)
        .open(home.join("control/morercpthosts"))
        .unwrap();
    let now = SystemTime::now();
    list.set_modified(now - Duration::from_secs(100)).unwrap();
    assert_eq!(
        table(&home),
        "Modified recently enough; hopefully up to date."
    );
    list.set_modified(now + Duration::from_secs(100)).unwrap();
    assert_eq!(
        table(&home),
        "Oops! morercpthosts.cdb is older than morercpthosts."
    );
}

#[test]
fn showctl_stands_an_odd_control_directory() {
    let home = Home::new("showctl-odd");
    make_unreadable(&home, "control/databytes");
    make_unreadable(&home, "control/locals");
    fs::create_dir(home.join("control/helohost")).unwrap();
    home.control("odd\nname\x1b", "");
    fs::create_dir(home.join("control/directory")).unwrap();
    home.control("servercert.pem", "");
    home.control("checkrecipients", "0");
    let output = run(&home, "qmail-showctl");
    assert_eq!(output.code(), 0);
    let report = output.out_text();
    for name in ["databytes", "locals", "helohost"] {
        assert_eq!(about(&report, name), "Oops! Trouble reading this file.");
    }
    for name in ["odd?name?", "directory"] {
        assert_eq!(about(&report, name), "I have no idea what this file does.");
    }
    assert_eq!(
        about(&report, "servercert.pem"),
        "This file belongs to another qmail; it has no effect here."
    );
    assert_eq!(
        about(&report, "checkrecipients"),
        "Recipients are checked during SMTP (0: no): 0."
    );
    make_unreadable(&home, "control/me");
    let output = run(&home, "qmail-showctl");
    assert_eq!(output.code(), 111);
    assert!(
        output
            .out_text()
            .ends_with("Oops! Trouble reading control/me.")
    );
    fs::remove_dir_all(home.join("control")).unwrap();
    let output = run(&home, "qmail-showctl");
    assert_eq!(output.code(), 111);
    assert!(
        output
            .out_text()
            .ends_with("\nOops! Unable to chdir to control.\n")
    );
}
