//! The control files, with their defaults and what they mean.

/// One control file. The sentence about a value is `before`, the value, `after`.
pub(super) struct File {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) before: &'static str,
    pub(super) after: &'static str,
}

/// What a file holds, and what counts without it.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// a number
    Number { default: &'static str },
    /// a line; with `me`, the name of this host stands for it if there is one
    Line { default: &'static str, me: bool },
    /// lines; `default` is a whole sentence
    List { default: &'static str },
    /// the same, of lines with passwords, which are not shown
    Secrets { default: &'static str },
}

const fn number(
    name: &'static str,
    default: &'static str,
    before: &'static str,
    after: &'static str,
) -> File {
    File {
        name,
        kind: Kind::Number { default },
        before,
        after,
    }
}

const fn line(name: &'static str, default: &'static str, before: &'static str) -> File {
    File {
        name,
        kind: Kind::Line { default, me: false },
        before,
        after: "",
    }
}

/// A line for which `me` stands, or else the name of the file.
const fn host(name: &'static str, before: &'static str) -> File {
    File {
        name,
        kind: Kind::Line {
            default: name,
            me: true,
        },
        before,
        after: "",
    }
}

const fn list(
    name: &'static str,
    default: &'static str,
    before: &'static str,
    after: &'static str,
) -> File {
    File {
        name,
        kind: Kind::List { default },
        before,
        after,
    }
}

const fn secrets(name: &'static str, default: &'static str, before: &'static str) -> File {
    File {
        name,
        kind: Kind::Secrets { default },
        before,
        after: "",
    }
}

/// The files of qmail 1.03, in the order and with the words of its report. Only the default of rcpthosts is another:
/// our servers do not relay for strangers.
pub(super) const CLASSIC: &[File] = &[
    list(
        "badmailfrom",
        "Any MAIL FROM is allowed.",
        "",
        " not accepted in MAIL FROM.",
    ),
    line("bouncefrom", "MAILER-DAEMON", "Bounce user name is "),
    host("bouncehost", "Bounce host name is "),
    number("concurrencylocal", "10", "Local concurrency is ", ""),
    number("concurrencyremote", "20", "Remote concurrency is ", ""),
    number("databytes", "0", "SMTP DATA limit is ", " bytes"),
    host("defaultdomain", "Default domain name is "),
    host("defaulthost", "Default host name is "),
    host("doublebouncehost", "2B recipient host: "),
    line("doublebounceto", "postmaster", "2B recipient user: "),
    host("envnoathost", "Presumed domain name is "),
    host("helohost", "SMTP client HELO host name is "),
    host("idhost", "Message-ID host name is "),
    host("localiphost", "Local IP address becomes "),
    list(
        "locals",
        "Messages for me are delivered locally.",
        "Messages for ",
        " are delivered locally.",
    ),
    line("me", "undefined! Uh-oh", "My name is "),
    list(
        "percenthack",
        "The percent hack is not allowed.",
        "The percent hack is allowed for user%host@",
        ".",
    ),
    host("plusdomain", "Plus domain name is "),
    list("qmqpservers", "No QMQP servers.", "QMQP server: ", "."),
    number(
        "queuelifetime",
        "604800",
        "Message lifetime in the queue is ",
        " seconds",
    ),
    list(
        "rcpthosts",
        "SMTP clients may send messages to local recipients only.",
        "SMTP clients may send messages to recipients at ",
        ".",
    ),
    host("smtpgreeting", "SMTP greeting: 220 "),
    secrets("smtproutes", "No artificial SMTP routes.", "SMTP route: "),
    number(
        "timeoutconnect",
        "60",
        "SMTP client connection timeout is ",
        " seconds",
    ),
    number(
        "timeoutremote",
        "1200",
        "SMTP client data timeout is ",
        " seconds",
    ),
    number(
        "timeoutsmtpd",
        "1200",
        "SMTP server data timeout is ",
        " seconds",
    ),
    list(
        "virtualdomains",
        "No virtual domains.",
        "Virtual domain: ",
        "",
    ),
];

/// morercpthosts beside rcpthosts.
pub(super) const MORE: File = list(
    "morercpthosts",
    "No effect.",
    "SMTP clients may send messages to recipients at ",
    ".",
);

/// morercpthosts without rcpthosts.
pub(super) const IRRELEVANT_MORE: File = list(
    "morercpthosts",
    "No rcpthosts; morercpthosts is irrelevant.",
    "No rcpthosts; doesn't matter that morercpthosts has ",
    ".",
);

/// Files that only this qmail reads, qmail-smtpd(8), qmail-remote(8); the report has them where they exist.
pub(super) const OURS: &[File] = &[
    secrets(
        "authsenders",
        "No sender has a relay of his own.",
        "Sender and his relay: ",
    ),
    list(
        "checkerknows",
        "The checker knows the classic mechanisms only.",
        "The checker knows ",
        ".",
    ),
    number(
        "checkrecipients",
        "1",
        "Recipients are checked during SMTP (0: no): ",
        "",
    ),
    line(
        "deapop",
        "/usr/local/sbin/deapop",
        "Old APOP passwords are decoded by ",
    ),
    number("maxerrors", "20", "SMTP clients may make ", " errors"),
    number(
        "maxheaderbytes",
        "1048576",
        "SMTP header limit is ",
        " bytes",
    ),
    number("maxheaderlines", "10000", "SMTP header limit is ", " lines"),
    number(
        "maxlogins",
        "3",
        "SMTP clients may fail to log in ",
        " times in a session",
    ),
    number(
        "maxrcpt",
        "1000",
        "SMTP recipient limit is ",
        " recipients of a message",
    ),
    number(
        "ownsender",
        "0",
        "Senders must belong to the account that logged in (0: no): ",
        "",
    ),
    list(
        "senderlogins",
        "No account has senders of others.",
        "Sender and its account: ",
        ".",
    ),
    number(
        "strictaddress",
        "0",
        "Blanks in front of SMTP addresses are refused (0: no): ",
        "",
    ),
    number(
        "timeoutsmtpdprogress",
        "300",
        "SMTP server progress timeout is ",
        " seconds",
    ),
    number(
        "timeoutsmtpdtotal",
        "3600",
        "SMTP server session limit is ",
        " seconds",
    ),
    list(
        "tlspolicy",
        "The SMTP client uses TLS where it works.",
        "SMTP client TLS for ",
        "",
    ),
    line("vchkpwlog", "e", "vchkpw logs (n, e or y): "),
    line("vpopmailhome", "/home/vpopmail", "vpopmail is in "),
];

/// Files of sagredo's qmail, s/qmail and others that somebody who comes from there may have.
pub(super) const OTHER_QMAILS: &[&str] = &[
    "authservid",
    "badhelo",
    "badhelonorelay",
    "badloadertypes",
    "badmailfromnorelay",
    "badmailto",
    "badmimetypes",
    "badrcptpatterns",
    "badrcptto",
    "badrcpttonorelay",
    "bouncemaxbytes",
    "brtlimit",
    "clientca.pem",
    "clientcrl.pem",
    "defaultdelivery",
    "dh1024.pem",
    "dh2048.pem",
    "dkimdomains",
    "dnsblfailclosed",
    "dnsbllist",
    "domaincerts",
    "domainips",
    "filterargs",
    "goodmailaddr",
    "mailfromrules",
    "moreipme",
    "notipme",
    "notlshosts",
    "notlshosts_auto",
    "outgoingip",
    "policy",
    "qfilters",
    "qmtproutes",
    "recipients",
    "rejectnullsenders",
    "rejectrelaytest",
    "rsa512.pem",
    "servercert.pem",
    "servercerts",
    "simcontrol",
    "simcontrol.cdb",
    "smtpplugins",
    "spfbehavior",
    "spfexp",
    "spfguess",
    "spfrules",
    "srs_domain",
    "srs_secrets",
    "srsdomains",
    "suppls",
    "tap",
    "taps",
    "tlsclientciphers",
    "tlsclients",
    "tlsdestinations",
    "tlshosts",
    "tlsserverciphers",
    "validrcptto",
    "validrcptto.cdb",
];
