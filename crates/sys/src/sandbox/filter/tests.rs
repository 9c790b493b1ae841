use super::*;
use crate::sandbox::{Access, Network};

#[allow(clippy::cast_possible_truncation)]
const OPENAT: u32 = libc::SYS_openat as u32;

/// What the program answers to a call, by the rules of the kernel's machine.
fn run(program: &Program, number: u32, arguments: [u32; 6]) -> u32 {
    let (mut at, mut a, mut x) = (0usize, 0u32, 0u32);
    loop {
        let step = &program.0[at];
        at += 1;
        let jump = match step.code {
            LOAD => {
                a = match step.k {
                    NUMBER => number,
                    MACHINE => ARCHITECTURE,
                    place => arguments[((place - ARGUMENTS) / 8) as usize],
                };
                continue;
            }
            LOAD_NUMBER => {
                a = step.k;
                continue;
            }
            AND => {
                a &= step.k;
                continue;
            }
            SHIFT_BY_X => {
                a <<= x;
                continue;
            }
            TO_X => {
                x = a;
                continue;
            }
            RETURN => return step.k,
            IF_EQUAL => a == step.k,
            IF_NOT_BELOW => a >= step.k,
            IF_ANY_BIT => a & step.k != 0,
            IF_ANY_BIT_OF_X => a & x != 0,
            other => panic!("instruction {other}"),
        };
        at += usize::from(if jump { step.jt } else { step.jf });
    }
}

/// The answer, by the label that stands for it.
fn answer(program: &Program, number: u32, arguments: [u32; 6]) -> usize {
    let said = run(program, number, arguments);
    ANSWERS.iter().position(|a| *a == said).unwrap()
}

fn all_kinds() -> Vec<Promises> {
    let files = [Access::Read, Access::Remove, Access::Write, Access::Make];
    let networks = [
        Network::None,
        Network::Clients(vec![25]),
        Network::Local,
        Network::Any,
    ];
    let mut all = Vec::new();
    for network in networks {
        all.push(Promises::new().network(network.clone()));
        all.push(Promises::new().network(network.clone()).with_threads());
        for access in files {
            all.push(Promises::new().path("x", access).network(network.clone()));
        }
    }
    all
}

#[test]
fn the_tree_says_what_the_table_says() {
    for promises in all_kinds() {
        let program = Program::new(&promises).unwrap();
        assert!(program.0.len() < 128, "{} steps", program.0.len());
        let table = calls::table(&promises);
        for number in 0..600u32 {
            let found = table.iter().find(|(n, _)| *n == number);
            let said = |arguments| Label(answer(&program, number, arguments));
            let Some((_, verdict)) = found else {
                assert_eq!(said([7; 6]), NO_SUCH_CALL, "{number}");
                continue;
            };
            match *verdict {
                Verdict::Allow => assert_eq!(said([7; 6]), ALLOW, "{number}"),
                Verdict::Kill => assert_eq!(said([7; 6]), KILL, "{number}"),
                Verdict::Without(place, bits) => {
                    let mut arguments = [0; 6];
                    assert_eq!(said(arguments), ALLOW);
                    arguments[place as usize] = bits;
                    assert_eq!(said(arguments), NO_ACCESS);
                    arguments[place as usize] = !bits;
                    assert_eq!(said(arguments), ALLOW);
                }
                Verdict::With(place, bits) => {
                    let mut arguments = [0; 6];
                    assert_eq!(said(arguments), NO_ACCESS);
                    arguments[place as usize] = bits & (bits - 1);
                    assert_eq!(said(arguments), NO_ACCESS);
                    arguments[place as usize] = u32::MAX;
                    assert_eq!(said(arguments), ALLOW);
                }
                Verdict::OneOf(place, list) => {
                    let mut arguments = [u32::MAX; 6];
                    assert_eq!(said(arguments), NO_ACCESS);
                    for value in list {
                        arguments[place as usize] = *value;
                        assert_eq!(said(arguments), ALLOW);
                    }
                }
                Verdict::Socket(families) => {
                    let socket = |family, kind: i32, protocol: i32| {
                        said([family, kind as u32, protocol as u32, 0, 0, 0])
                    };
                    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
                    for &family in families {
                        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
                            assert_eq!(socket(family, kind | flags, 0), ALLOW);
                            assert_eq!(socket(family, kind, libc::IPPROTO_MPTCP), NO_ACCESS);
                        }
                        assert_eq!(socket(family, libc::SOCK_SEQPACKET, 0), NO_ACCESS);
                        assert_eq!(socket(family, libc::SOCK_RDM, 0), NO_ACCESS);
                    }
                    assert_eq!(socket(libc::AF_NETLINK as u32, 1, 0), NO_ACCESS);
                }
                Verdict::OwnProcess(place) => {
                    let mut arguments = [1; 6];
                    assert_eq!(said(arguments), NO_ACCESS);
                    arguments[place as usize] = std::process::id();
                    assert_eq!(said(arguments), ALLOW);
                }
            }
        }
        // The other set of numbers of some processors, and nonsense.
        for number in [0x4000_0000, 0x4000_0001, u32::MAX] {
            assert_eq!(Label(answer(&program, number, [0; 6])), NO_SUCH_CALL);
        }
    }
}

#[test]
fn no_number_is_in_the_table_twice() {
    for promises in all_kinds() {
        let table = calls::table(&promises);
        for (at, (number, _)) in table.iter().enumerate() {
            let again = table[at + 1..].iter().any(|(n, _)| n == number);
            assert!(!again, "call {number} stands twice");
        }
    }
}

#[test]
fn opening_follows_the_promises() {
    let said = |access, flags: i32| {
        let program = Program::new(&Promises::new().path("x", access)).unwrap();
        Label(answer(&program, OPENAT, [0, 0, flags as u32, 0, 0, 0])) == ALLOW
    };
    let (reading, writing, making) = (
        libc::O_CLOEXEC | libc::O_DIRECTORY,
        libc::O_WRONLY | libc::O_TRUNC,
        libc::O_RDWR | libc::O_CREAT,
    );
    for (access, expected) in [
        (Access::Read, [true, false, false, false]),
        (Access::Remove, [true, false, false, false]),
        (Access::Write, [true, true, false, false]),
        (Access::Make, [true, true, true, true]),
    ] {
        let found = [reading, writing, making, libc::O_TMPFILE | libc::O_RDWR];
        assert_eq!(
            found.map(|flags| said(access, flags)),
            expected,
            "{access:?}"
        );
    }
    let nothing = Program::new(&Promises::new()).unwrap();
    let said = answer(&nothing, OPENAT, [0; 6]);
    assert_eq!(Label(said), NO_SUCH_CALL);
}
