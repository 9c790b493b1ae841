//! The query of the administrator: its words `:login :user :domain` become parameters. The database gets their values
//! beside the text, never in it.

/// What stands for the parameters in the text that a database gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `?`; a backslash in a string escapes
    Mysql,
    /// `?`
    Sqlite,
    /// `$1`
    Postgres,
}

/// A parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// the whole login name
    Login,
    /// what stands before its last `@`
    User,
    /// what stands behind it
    Domain,
}

/// A query in two parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) text: String,
    pub(crate) words: Vec<Word>,
}

impl Query {
    /// Finds the words outside strings and quoted names. `Err`: a word that is none of ours.
    pub(crate) fn parse(text: &str, style: Style) -> Result<Query, String> {
        let mut query = Query {
            text: String::new(),
            words: Vec::new(),
        };
        let mut quote = None;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match (quote, c) {
                (Some('\'' | '"'), '\\') if style == Style::Mysql => {
                    query.text.push(c);
                    query.text.extend(chars.next());
                    continue;
                }
                (Some(open), c) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"' | '`') => quote = Some(c),
                // A cast of PostgreSQL.
                (None, ':') if chars.peek() == Some(&':') => {
                    query.text.push(c);
                    query.text.extend(chars.next());
                    continue;
                }
                (None, ':') => {
                    let mut name = String::new();
                    while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                        name.push(c);
                    }
                    query.add(&name, style)?;
                    continue;
                }
                (None, _) => {}
            }
            query.text.push(c);
        }
        Ok(query)
    }

    fn add(&mut self, name: &str, style: Style) -> Result<(), String> {
        self.words.push(match name {
            "login" => Word::Login,
            "user" => Word::User,
            "domain" => Word::Domain,
            _ => return Err(format!("the query has an unknown word :{name}")),
        });
        match style {
            Style::Mysql | Style::Sqlite => self.text.push('?'),
            Style::Postgres => {
                self.text.push('$');
                self.text.push_str(&self.words.len().to_string());
            }
        }
        Ok(())
    }

    /// The values of the parameters, in their order.
    pub(crate) fn values<'a>(&self, name: &'a aside::Name) -> Vec<&'a str> {
        let value = |word: &Word| match word {
            Word::Login => name.login.as_str(),
            Word::User => &name.user,
            Word::Domain => &name.domain,
        };
        self.words.iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str, style: Style) -> String {
        Query::parse(text, style).unwrap().text
    }

    #[test]
    fn words_become_parameters() {
        let query = "SELECT a FROM t WHERE u = :user AND d=:domain OR l IN (:login,:user)";
        assert_eq!(
            text(query, Style::Mysql),
            "SELECT a FROM t WHERE u = ? AND d=? OR l IN (?,?)"
        );
        assert_eq!(
            text(query, Style::Postgres),
            "SELECT a FROM t WHERE u = $1 AND d=$2 OR l IN ($3,$4)"
        );
        let words = Query::parse(query, Style::Sqlite).unwrap().words;
        assert_eq!(words, [Word::User, Word::Domain, Word::Login, Word::User]);
        let name = aside::Name::parse(b"O'Neil@A.test").unwrap();
        let values = Query::parse(query, Style::Sqlite).unwrap();
        assert_eq!(
            values.values(&name),
            ["O'Neil", "a.test", "O'Neil@A.test", "O'Neil"]
        );
    }

    #[test]
    fn strings_names_and_casts_stay() {
        for same in [
            "SELECT ':user', \":user\", `:user` FROM t",
            "SELECT 'it''s :user' FROM t",
            "SELECT uid::text FROM t",
        ] {
            assert_eq!(text(same, Style::Postgres), same);
        }
        assert_eq!(
            text(r"SELECT 'a\':user', :user", Style::Mysql),
            r"SELECT 'a\':user', ?"
        );
        assert_eq!(
            text(r"SELECT 'a\', :user, '''", Style::Sqlite),
            r"SELECT 'a\', ?, '''"
        );
        assert_eq!(text(":user::varchar", Style::Postgres), "$1::varchar");
    }

    #[test]
    fn unknown_words_are_said() {
        for odd in ["SELECT :name", "SELECT :", "SELECT :users", "SELECT a : b"] {
            assert!(Query::parse(odd, Style::Sqlite).is_err(), "{odd}");
        }
    }
}
