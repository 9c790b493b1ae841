//! Show the latest input in the list of processes. See readproctitle(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("readproctitle", daemontools::readproctitle)
}
