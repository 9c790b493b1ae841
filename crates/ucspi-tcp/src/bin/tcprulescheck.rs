//! Say what tcpserver would do with a client. See tcprulescheck(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("tcprulescheck", ucspi_tcp::tcprulescheck)
}
