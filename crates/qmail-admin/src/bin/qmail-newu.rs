//! Compile the table of users. See qmail-newu(8).

fn main() -> std::process::ExitCode {
    base::run("qmail-newu", qmail_admin::newu)
}
