//! Accept connections and run a program for each. See tcpserver(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("tcpserver", ucspi_tcp::tcpserver)
}
