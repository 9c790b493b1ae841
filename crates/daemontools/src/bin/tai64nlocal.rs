//! Turn time labels into local time. See tai64nlocal(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("tai64nlocal", daemontools::tai64nlocal)
}
