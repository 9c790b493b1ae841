//! Deliver one message to one recipient of this machine. See qmail-local(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-local", qmail_local::local)
}
