//! Pass lines on to syslog. See splogger(8).

fn main() -> std::process::ExitCode {
    base::run("splogger", qmail_admin::splogger)
}
