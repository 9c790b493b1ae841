//! Checks passwords of /etc/poppasswd. See cmd5checkpw(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("cmd5checkpw", checkpassword::cmd5checkpw)
}
