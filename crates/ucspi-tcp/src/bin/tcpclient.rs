//! Make one connection and run a program with it. See tcpclient(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("tcpclient", ucspi_tcp::tcpclient)
}
