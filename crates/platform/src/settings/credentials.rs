//! Hides credentials in URLs before they are shown.

/// A query parameter is hidden if its name contains one of these.
const SECRET_WORDS: [&str; 7] = ["pass", "pwd", "secret", "token", "key", "sig", "cred"];

/// Returns a text without the passwords of the URLs in it, before the host and in the query, with or
/// without a scheme. If in doubt, it hides too much.
pub fn without_credentials(text: &str) -> String {
    let text = without_secret_parameters(text);
    let mut parts = text.split("://");
    let mut shown = parts.next().map(without_user_info).unwrap_or_default();
    for part in parts {
        shown.push_str("://");
        shown.push_str(&without_user_info(part));
    }
    shown
}

/// Hides everything up to the last `@`, because a password that was not encoded may contain `@`.
fn without_user_info(part: &str) -> String {
    let Some((user_info, rest)) = part.rsplit_once('@') else {
        return part.to_owned();
    };
    match user_info.split_once(':') {
        Some((user, _)) => format!("{user}:…@{rest}"),
        // A token without a user name.
        None => format!("…@{rest}"),
    }
}

fn without_secret_parameters(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['?', '&']) {
        let (before, parameter) = rest.split_at(start + 1);
        shown.push_str(before);
        rest = parameter;
        let end = parameter.find('&').unwrap_or(parameter.len());
        if let Some((name, _)) = parameter[..end].split_once('=') {
            let lower = name.to_ascii_lowercase();
            if SECRET_WORDS.iter().any(|word| lower.contains(word)) {
                shown.push_str(name);
                shown.push_str("=…");
                rest = &parameter[end..];
            }
        }
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown_anywhere_in_a_url() {
        for (text, shown) in [
            (
                "postgres://ada:quokka@db:5432/x",
                "postgres://ada:…@db:5432/x",
            ),
            ("postgres://ada:quo/k?k@a@db/x", "postgres://ada:…@db/x"),
            (
                "postgres://db/x?user=ada&password=quokka",
                "postgres://db/x?user=ada&password=…",
            ),
            (
                "postgres://db/x?sslpassword=quokka&a=b",
                "postgres://db/x?sslpassword=…&a=b",
            ),
            ("redis://:quokka@cache:6379/", "redis://:…@cache:6379/"),
            ("ada:quokka@proxy:3128", "ada:…@proxy:3128"),
            ("https://quokka@github.com", "https://…@github.com"),
            (
                "https://github.com,https://ada:quokka@ghe",
                "https://github.com,https://ada:…@ghe",
            ),
            (
                "https://a.example,ada:quokka@proxy",
                "https://a.example,ada:…@proxy",
            ),
            (
                "sqlite://data/membreak.db?mode=rwc",
                "sqlite://data/membreak.db?mode=rwc",
            ),
            (
                "http://127.0.0.1:3000,http://localhost",
                "http://127.0.0.1:3000,http://localhost",
            ),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
