//! Control services. See svc(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("svc", daemontools::svc)
}
