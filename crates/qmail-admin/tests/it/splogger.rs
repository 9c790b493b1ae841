use kit::{Run, program};

#[test]
fn the_end_of_the_input_is_a_success_whatever_syslogd_does() {
    for args in [&[][..], &["tag"], &["tag", "2"], &["tag", "abc", "more"]] {
        let output = Run::new(program("splogger"))
            .args(args)
            .stdin("x\ny")
            .output();
        assert_eq!((output.code(), output.err_text()), (0, String::new()));
    }
    assert_eq!(Run::new(program("splogger")).closed(0).output().code(), 0);
}
