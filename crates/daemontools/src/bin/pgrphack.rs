//! Run a program in a new session. See pgrphack(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("pgrphack", daemontools::pgrphack)
}
