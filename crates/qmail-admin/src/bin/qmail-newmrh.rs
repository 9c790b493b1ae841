//! Compile the list of further hosts to receive mail for. See qmail-newmrh(8).

fn main() -> std::process::ExitCode {
    base::run("qmail-newmrh", qmail_admin::newmrh)
}
