//! Send a message on to another address if a program says so. See condredirect(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("condredirect", qmail_local::condredirect)
}
