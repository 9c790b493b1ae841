//! Take the CR before every LF away. See delcr(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("delcr", ucspi_tcp::delcr)
}
