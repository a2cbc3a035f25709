//! Reading `WWW-Authenticate` (RFC 9110, section 11.6.1).

use http_auth::parser::ChallengeParser;
use ureq::http::{HeaderMap, HeaderValue};

/// The most challenges that are looked at in one answer.
const CHALLENGES_MAX: usize = 16;

/// A way to authenticate that we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from a token server.
    Bearer(Bearer),
}

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The token server's URL, unchecked.
    pub(crate) realm: String,
    /// What the token server knows the registry by.
    pub(crate) service: Option<String>,
}

impl Challenge {
    /// Chooses among what an answer offers: a token if possible, since it holds less than a
    /// password and is good for one repository.
    pub(crate) fn choose(headers: &HeaderMap) -> Option<Self> {
        let mut basic = false;
        let lines = headers.get_all("www-authenticate").iter();
        for line in lines.filter_map(|value| value.to_str().ok()) {
            for challenge in ChallengeParser::new(line).take(CHALLENGES_MAX) {
                // After a syntax error nothing in the line can be trusted.
                let Ok(challenge) = challenge else { break };
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = true;
                }
                if !challenge.scheme.eq_ignore_ascii_case("bearer") {
                    continue;
                }
                let parameter = |name: &str| {
                    let found = challenge
                        .params
                        .iter()
                        .find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped())
                };
                if let Some(realm) = parameter("realm") {
                    let service = parameter("service");
                    return Some(Self::Bearer(Bearer { realm, service }));
                }
            }
        }
        basic.then_some(Self::Basic)
    }
}

/// Returns whether a header, as any server may send it, has a challenge that is known: for the fuzz
/// target, nothing else needs it.
pub fn is_known_challenge(header: &[u8]) -> bool {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(header) {
        headers.append("www-authenticate", value);
    }
    Challenge::choose(&headers).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_read_without_a_panic() {
        use std::path::Path;

        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/challenge");
        let corpus = lamina_fs::Dir::open(corpus).unwrap();
        let known = corpus.entries().unwrap().into_iter().filter(|entry| {
            let bytes = corpus.read(&entry.name, 1 << 16).unwrap();
            is_known_challenge(&bytes)
        });
        assert!(known.count() >= 3);
    }

    fn choose(lines: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("www-authenticate", HeaderValue::from_str(line).unwrap());
        }
        Challenge::choose(&headers)
    }

    #[test]
    fn prefers_bearer_and_reads_quoted_parameters() {
        let bearer =
            r#"Bearer realm="https://a/t?x=\"y\"",service="s, t",scope="repository:a:pull""#;
        let expected = Challenge::Bearer(Bearer {
            realm: "https://a/t?x=\"y\"".to_owned(),
            service: Some("s, t".to_owned()),
        });
        assert_eq!(choose(&[bearer]), Some(expected.clone()));
        assert_eq!(
            choose(&["Basic realm=\"x\"", bearer]),
            Some(expected.clone())
        );
        assert_eq!(
            choose(&[&format!("Basic realm=\"x\", {bearer}")]),
            Some(expected)
        );
        assert_eq!(choose(&["basic realm=x"]), Some(Challenge::Basic));
    }

    #[test]
    fn ignores_what_it_cannot_read() {
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&["Bearer"]), None);
        assert_eq!(choose(&["Bearer realm="]), None);
        assert_eq!(choose(&[",,,=\"", "Digest realm=\"x\""]), None);
    }
}
