//! Checks passwords by PAM. See pamcheck(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("pamcheck", pamcheck::pamcheck)
}
