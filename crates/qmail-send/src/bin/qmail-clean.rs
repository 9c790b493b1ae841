//! Remove files of the queue for qmail-send. See qmail-clean(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-clean", qmail_send::qmail_clean)
}
