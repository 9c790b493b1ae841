//! Checks passwords of virtual users. See vusercheck(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("vusercheck", checkpassword::vusercheck)
}
