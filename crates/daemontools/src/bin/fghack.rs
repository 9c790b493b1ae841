//! Run a program and wait for all that it leaves behind. See fghack(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("fghack", daemontools::fghack)
}
