//! Put missing CRs into what a program reads and writes. See fixcrio(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("fixcrio", ucspi_tcp::fixcrio)
}
