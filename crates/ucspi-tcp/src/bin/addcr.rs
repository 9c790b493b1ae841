//! Put a CR before every LF. See addcr(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("addcr", ucspi_tcp::addcr)
}
