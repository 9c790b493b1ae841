//! Forgets old addresses of POP-before-SMTP. See clearopensmtp(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("clearopensmtp", checkpassword::clearopensmtp)
}
