//! Start mail delivery. See qmail-start(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-start", qmail_start::start)
}
