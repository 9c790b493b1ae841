//! Manages virtual users. See vuser(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("vuser", checkpassword::vuser)
}
