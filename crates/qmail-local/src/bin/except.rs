//! Turn the answer of a program round. See except(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("except", qmail_local::except)
}
