//! Checks passwords of system accounts. See checkpassword(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("checkpassword", checkpassword::checkpassword)
}
