//! Talk on descriptors 6 and 7. See mconnect-io(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("mconnect-io", ucspi_tcp::mconnect_io)
}
