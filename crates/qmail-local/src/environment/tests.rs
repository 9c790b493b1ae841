use super::*;

use crate::args::Mode;

fn args(local: &str, ext: &str, host: &str, sender: &str) -> Args {
    let bytes = |text: &str| text.as_bytes().to_vec();
    Args {
        mode: Mode::Deliver,
        user: bytes("me"),
        home: bytes("/home/me"),
        local: bytes(local),
        dash: bytes("-"),
        ext: bytes(ext),
        host: bytes(host),
        sender: bytes(sender),
        default_delivery: bytes("./Mailbox"),
    }
}

fn made(args: &Args, inherited: &[(&str, &str)]) -> Vec<String> {
    let inherited = inherited
        .iter()
        .map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()))
        .collect();
    variables(args, &Lines::new(args, 0), &args.sender, None, inherited)
        .into_iter()
        .map(|(n, v)| {
            format!(
                "{}={}",
                String::from_utf8(n).unwrap(),
                String::from_utf8(v).unwrap()
            )
        })
        .collect()
}

#[test]
fn labels_and_parts_are_cut_off_one_by_one() {
    let all = made(&args("me-a-b.C-d", "a-b.C-d", "x.y.z", "s@t"), &[]);
    for want in [
        "EXT=a-b.C-d",
        "EXT2=b.C-d",
        "EXT3=d",
        "EXT4=",
        "HOST=x.y.z",
        "HOST2=x.y",
        "HOST3=x",
        "HOST4=x",
        "RECIPIENT=me-a-b.C-d@x.y.z",
        "DTLINE=Delivered-To: me-a-b.C-d@x.y.z\n",
        "RPLINE=Return-Path: <s@t>\n",
        "UFLINE=From s@t Thu Jan 01 00:00:00 1970\n",
        "NEWSENDER=s@t",
    ] {
        assert!(all.contains(&want.to_owned()), "{want} in {all:?}");
    }
}

#[test]
fn inherited_variables_give_way_and_none_comes_twice() {
    let all = made(
        &args("me", "", "h", ""),
        &[
            ("PATH", "/bin"),
            ("SENDER", "old"),
            ("SENDER", "older"),
            ("DEFAULT", "d"),
        ],
    );
    assert!(all.contains(&"PATH=/bin".to_owned()));
    assert!(all.contains(&"DEFAULT=d".to_owned()));
    assert!(all.contains(&"SENDER=".to_owned()));
    assert_eq!(all.iter().filter(|v| v.starts_with("SENDER=")).count(), 1);
    assert!(all.contains(&"UFLINE=From MAILER-DAEMON Thu Jan 01 00:00:00 1970\n".to_owned()));
}

#[test]
fn no_value_is_a_function_or_a_second_line() {
    let evil = "() { :;}; touch canary";
    let all = made(
        &args(
            evil,
            &format!("{evil}-{evil}\n{evil}"),
            evil,
            &format!("{evil}\n@x y"),
        ),
        &[],
    );
    for variable in all {
        let (name, value) = variable.split_once('=').unwrap();
        assert!(!value.starts_with("()"), "{variable}");
        let value = value.strip_suffix('\n').unwrap_or(value);
        assert!(!value.contains('\n'), "{name} has two lines");
    }
}
