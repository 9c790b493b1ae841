//! TLS when the program asks for it.

use kit::{Scratch, program};

use crate::server::{Server, children, run, scratch};

/// A server of one command and one line, in the shell that can use descriptors by number. `$1` is what it says to
/// begin, `$2` whether it waits for an answer.
const PROGRAM: &str = r#"
printf '220 hi %s\r\n' "${UCSPITLS-none}"
while read -r line; do
  case "$line" in
    EHLO*) printf '250-me\r\n250 STARTTLS\r\n' ;;
    STARTTLS*) printf '220 go\r\n'; break ;;
    QUIT*) printf '221 plain\r\n'; exit ;;
  esac
done
printf "$1" >&$SSLCTLFD
if [ "$2" = told ]; then
  told=
  while IFS= read -r -d '' pair <&$SSLCTLFD && [ -n "$pair" ]; do told="$told $pair"; done
fi
exec <&$SSLREADFD >&$SSLWRITEFD
read -r line
printf 'secret %s\r\n%s\r\n' "$line" "$told"
"#;

fn start(scratch: &Scratch, word: &str, told: &str) -> Server {
    scratch.write("program", PROGRAM);
    Server::start(scratch, &["-n"], &["bash", "program", word, told])
}

const STARTTLS: [&str; 4] = ["-starttls", "smtp", "-name", "x"];

#[test]
fn a_program_asks_for_tls_and_is_told() {
    let scratch = scratch("told");
    let server = start(&scratch, "Y", "told");
    let got = server.talk(&STARTTLS, "line\n");
    assert!(got.contains("secret line"), "{got}");
    assert!(got.contains(" SSL_PROTOCOL=TLSv1.3 "), "{got}");
    assert!(got.contains(" SSL_TLS_SNI=mail.test"), "{got}");
    server.logged("accept TLSv1.3");
}

#[test]
fn a_program_asks_for_tls_and_wants_no_answer() {
    let scratch = scratch("silent");
    let server = start(&scratch, "y", "");
    let got = server.talk(&STARTTLS, "line\n");
    assert!(got.contains("secret line"), "{got}");
}

#[test]
fn a_program_may_do_without() {
    let scratch = scratch("without");
    let server = start(&scratch, "Y", "told");
    let got = server.python("s = plain(); s.sendall(b'QUIT\\r\\n'); print(rest(s))");
    assert_eq!(got, "b'220 hi \\r\\n221 plain\\r\\n'\n");
    server.logged("status: 0/40\n");
    assert!(!server.log().contains("unable"), "{}", server.log());
}

#[test]
fn the_run_script_may_insist() {
    let scratch = scratch("insist");
    scratch.write("program", PROGRAM);
    let run = run().env("UCSPITLS", "!");
    let server = Server::start_as(&scratch, run, &["-n"], &["bash", "program", "Y", "told"]);
    let got = server.python("s = plain(); s.sendall(b'QUIT\\r\\n'); print(rest(s))");
    assert_eq!(got, "b'220 hi !\\r\\n221 plain\\r\\n'\n");
}

#[test]
fn a_failed_handshake_ends_the_program() {
    let scratch = scratch("failed");
    let server = start(&scratch, "Y", "told");
    let got = server.python(
        "
s = plain()
s.recv(100)
s.sendall(b'STARTTLS\\r\\n')
s.recv(100)
s.sendall(b'EHLO in the clear\\r\\n')
print(b'secret' in rest(s))
",
    );
    assert_eq!(got, "False\n");
    server.logged("unable to accept SSL from 127.0.0.1: ");
    server.logged("end ");
    server.logged("status: 0/40\n");
}

#[test]
fn a_word_that_is_none_is_no_tls() {
    let scratch = scratch("word");
    let server = start(&scratch, "x", "");
    let got = server.talk(&STARTTLS, "line\n");
    assert!(!got.contains("secret"), "{got}");
    server.logged("the program asked for something else");
}

#[test]
fn a_fork_server_copies_itself_for_tls_too() {
    if !program("qmail-smtpd").exists() {
        eprintln!("SKIPPED (build the workspace first): a_fork_server_copies_itself_for_tls_too");
        return;
    }
    let scratch = scratch("copies");
    scratch.write("control/me", "mail.test\n");
    scratch.write("control/rcpthosts", "mail.test\n");
    let smtpd = program("qmail-smtpd");
    for options in [&["-n", "--fork-server"][..], &["--fork-server"]] {
        let delayed = options[0] == "-n";
        let run = run().env("QMAILHOME", scratch.path().to_str().unwrap());
        let server = Server::start_as(&scratch, run, options, &[smtpd.to_str().unwrap()]);
        for turn in 0..3 {
            let mut words = vec!["-tls1_3"];
            if delayed {
                words.extend(STARTTLS);
            }
            let got = server.talk(&words, "EHLO x\r\nQUIT\r\n");
            assert!(got.contains("221 "), "{got}");
            let inside = got.contains("250-STARTTLS") || got.contains("250 STARTTLS");
            assert!(!inside, "{got}");
            let plain = server.python(
                "
s = plain()
s.sendall(b'EHLO x\\r\\nQUIT\\r\\n')
s.shutdown(socket.SHUT_WR)
print(b'STARTTLS' in rest(s))
",
            );
            assert_eq!(plain, if delayed { "True\n" } else { "False\n" }, "{turn}");
        }
        assert!(!server.log().contains("no fork server"), "{}", server.log());
        let listener = server.daemon.pid();
        kit::eventually("one waits to copy itself", || {
            children(listener).into_iter().any(|(pid, _)| {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                name.starts_with("qmail-smtpd")
            })
        });
        server.logged("tls=TLSv1.3");
    }
}
