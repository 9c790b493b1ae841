//! Run a program with an account's numbers in UID and GID. See envuidgid(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("envuidgid", daemontools::envuidgid)
}
