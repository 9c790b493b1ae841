//! Make one connection, speak TLS, and run a program with it. See sslclient(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("sslclient", ucspi_tls::sslclient)
}
