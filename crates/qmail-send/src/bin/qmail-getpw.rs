//! Find the account of a local name. See qmail-getpw(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-getpw", qmail_send::getpw)
}
