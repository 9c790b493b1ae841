//! Run a program as an account. See setuidgid(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("setuidgid", daemontools::setuidgid)
}
