//! Accept connections, speak TLS, and run a program for each. See sslserver(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("sslserver", ucspi_tls::sslserver)
}
