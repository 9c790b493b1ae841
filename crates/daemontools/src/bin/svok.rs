//! Ask whether supervise is running. See svok(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("svok", daemontools::svok)
}
