//! Refuse mail from listed addresses. See rblsmtpd(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("rblsmtpd", ucspi_tcp::rblsmtpd)
}
