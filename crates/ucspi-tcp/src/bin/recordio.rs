//! Show what a program reads and writes. See recordio(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("recordio", ucspi_tcp::recordio)
}
