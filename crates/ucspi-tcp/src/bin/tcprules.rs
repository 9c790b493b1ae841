//! Compile rules for tcpserver. See tcprules(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("tcprules", ucspi_tcp::tcprules)
}
