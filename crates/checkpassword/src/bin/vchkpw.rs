//! Checks passwords of vpopmail. See vchkpw(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("vchkpw", checkpassword::vchkpw)
}
