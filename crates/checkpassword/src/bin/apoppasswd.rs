//! Sets a mail password. See apoppasswd(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("apoppasswd", checkpassword::apoppasswd)
}
