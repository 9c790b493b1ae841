//! Delivers mail of vpopmail. See vdelivermail(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("vdelivermail", checkpassword::vdelivermail)
}
