//! Checks mail passwords of users. See cmd5apoppw(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("cmd5apoppw", checkpassword::cmd5apoppw)
}
