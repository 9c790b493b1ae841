//! Run a program while a file is locked. See setlock(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("setlock", daemontools::setlock)
}
