//! Show which hosts did not answer. See qmail-tcpto(8).

fn main() -> std::process::ExitCode {
    base::run("qmail-tcpto", qmail_admin::tcpto)
}
