//! Put a time label in front of every line. See tai64n(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("tai64n", daemontools::tai64n)
}
