//! Print the states of services. See svstat(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("svstat", daemontools::svstat)
}
