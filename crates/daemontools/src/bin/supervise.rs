//! Keep one service running. See supervise(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("supervise", daemontools::supervise)
}
