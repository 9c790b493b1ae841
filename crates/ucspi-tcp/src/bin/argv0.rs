//! Run a program with a zeroth argument of your choice. See argv0(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("argv0", ucspi_tcp::argv0)
}
