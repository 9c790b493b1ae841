//! Keep a supervise running for every directory of services. See svscan(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("svscan", daemontools::svscan)
}
