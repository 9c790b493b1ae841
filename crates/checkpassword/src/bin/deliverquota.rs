//! Delivers into a maildir with a quota. See deliverquota(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("deliverquota", checkpassword::deliverquota)
}
