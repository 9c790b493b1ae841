//! Write selected lines into rotated logs. See multilog(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("multilog", daemontools::multilog)
}
