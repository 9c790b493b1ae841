//! Tests that cross crates, and what they share: the promises of every program in one place.

use sys::sandbox::{Access, Network, Promises, Walls};

/// A program that makes promises.
#[derive(Clone, Debug)]
pub struct Confined {
    /// its name
    pub program: &'static str,
    /// as the program makes them. Paths that come from its arguments are words in capitals.
    pub promises: Promises,
    /// which walls it raises
    pub walls: Walls,
}

/// Every program that makes promises, with the ports that qmail-remote would be given for a relay on port 25.
pub fn confined() -> Vec<Confined> {
    let all = |program, promises| Confined {
        program,
        promises,
        walls: Walls::All,
    };
    let (free, walls) = qmail_smtpd::promises(true);
    let asking = Confined {
        walls,
        ..all("qmail-smtpd", free)
    };
    let log = [b"t".to_vec(), b"./LOG".to_vec()];
    vec![
        Confined {
            walls: Walls::Landlock,
            ..all("qmail-queue", qmail_queue::promises())
        },
        all("qmail-queued", qmail_queue::queued_promises()),
        all("qmail-send", qmail_send::send_promises()),
        all("qmail-lspawn's workers", qmail_start::worker_promises()),
        all("qmail-clean", qmail_send::clean_promises()),
        all("qmail-remote", qmail_remote::promises([25, 53])),
        asking,
        all(
            "qmail-smtpd, no checkrecipients",
            qmail_smtpd::promises(false).0,
        ),
        all("qmail-popup", pop3::popup_promises()),
        all("qmail-pop3d", pop3::pop3d_promises(b"MAILDIR")),
        Confined {
            walls: Walls::Landlock,
            ..all("sslserver, keeping the keys", ucspi_tls::keeper_promises())
        },
        all("sslserver, speaking TLS", ucspi_tls::worker_promises()),
        all("multilog", daemontools::multilog_promises(&log)),
        all("tai64n", Promises::new()),
        all("tai64nlocal", Promises::new()),
        all(
            "tcprules",
            ucspi_tcp::tcprules_promises(b"RULES/cdb", b"RULES/tmp"),
        ),
        all("tcprulescheck", ucspi_tcp::tcprulescheck_promises(b"CDB")),
        all("qmail-newu", qmail_admin::newu_promises()),
        all("qmail-newmrh", qmail_admin::newmrh_promises()),
        all("qmail-qread", qmail_admin::qread_promises()),
        all("qmail-tcpto", qmail_admin::tcpto_promises()),
        all("qmail-tcpok", qmail_admin::tcpto_promises()),
    ]
}

/// The line of a program in the table of docs/threats.md.
pub fn row(confined: &Confined) -> String {
    let paths = |access: Access| {
        let files = confined.promises.files().iter();
        let mut named: Vec<String> = files
            .filter(|(_, a)| *a == access)
            .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
            .collect();
        named.dedup();
        if named.is_empty() {
            "-".to_owned()
        } else {
            named.join(" ")
        }
    };
    let network = match confined.promises.sockets() {
        Network::Any => "all",
        Network::None if confined.walls == Walls::All => "-",
        Network::None => "no TCP",
        Network::Clients(_) => "UDP; TCP to the ports of the route and of the resolvers",
        Network::Local if confined.walls == Walls::All => "local sockets",
        Network::Local => "local sockets, no TCP",
    };
    let walls = match confined.walls {
        Walls::All => "Landlock, seccomp",
        Walls::Landlock => "Landlock",
        Walls::Seccomp => "seccomp",
    };
    format!(
        "| {} | {walls} | {} | {} | {} | {} | {network} |",
        confined.program,
        paths(Access::Read),
        paths(Access::Write),
        paths(Access::Make),
        paths(Access::Remove),
    )
}
