//! Make a key and a certificate that vouches for itself. See tlscert(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("tlscert", ucspi_tls::tlscert)
}
