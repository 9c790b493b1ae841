use super::*;

#[test]
fn a_level_reads_well() {
    for (landlock, seccomp, text) in [
        (7, true, "Landlock 7 and seccomp"),
        (2, false, "Landlock 2, no seccomp"),
        (0, true, "seccomp, no Landlock"),
        (0, false, "none"),
    ] {
        assert_eq!(Level { landlock, seccomp }.to_string(), text);
    }
}

#[test]
fn the_directory_of_a_path_is_what_must_be_promised() {
    for (path, directory) in [
        ("rules.cdb", "."),
        ("./rules.cdb", "."),
        ("/rules.cdb", "/"),
        ("/etc/tcp/rules.cdb", "/etc/tcp"),
        ("", "."),
    ] {
        assert_eq!(directory_of(path.as_bytes()), directory.as_bytes());
    }
}
