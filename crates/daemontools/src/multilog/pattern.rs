//! Patterns that select lines.

/// Whether `pattern` matches all of `line`.
///
/// Every byte matches itself, but for a star: at the end of the pattern it matches anything, elsewhere it matches up
/// to the first place of the byte that follows it, and never tries a later place. A star that follows a star is such
/// a byte, and a star again.
pub(crate) fn matches(pattern: &[u8], line: &[u8]) -> bool {
    let mut rest = line;
    let mut left = pattern;
    while let Some((&byte, after)) = left.split_first() {
        if byte == b'*' {
            let Some(&stop) = after.first() else {
                return true;
            };
            let Some(at) = rest.iter().position(|&b| b == stop) else {
                return false;
            };
            rest = rest.get(at..).unwrap_or_default();
        } else {
            match rest.split_first() {
                Some((&found, behind)) if found == byte => rest = behind,
                _ => return false,
            }
        }
        left = after;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_the_original() {
        for (pattern, line, expected) in [
            ("", "", true),
            ("", "x", false),
            ("*", "", true),
            ("*", "anything", true),
            ("one", "one", true),
            ("one", "onee", false),
            ("onee", "one", false),
            ("*bc", "abc", true),
            ("*bc", "axbc", true),
            ("*bc", "abcbc", false),
            ("*ab", "xaab", false),
            ("*ab", "xab", true),
            ("* one", "@4 one", true),
            ("*one", "x", false),
            ("**", "abc", false),
            ("**", "ab*c", true),
            ("a*z", "az", true),
            ("a*z", "abcz", true),
            ("a*z", "abczz", false),
            ("+*", "x", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), line.as_bytes()),
                expected,
                "{pattern:?} {line:?}"
            );
        }
    }
}
