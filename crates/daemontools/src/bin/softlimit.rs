//! Run a program with resource limits. See softlimit(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("softlimit", daemontools::softlimit)
}
