//! The formats that logins leave behind, and files that are broken.

use std::io::Write as _;

use super::*;

fn lookup(text: &str, registry: &str, path: &str) -> Result<Option<Credential>, CredentialsError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.json");
    File::create(&file)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let missing = dir.path().join("missing.json");
    DockerConfigFiles::new(vec![missing, file]).lookup(registry, path)
}

fn user(result: Result<Option<Credential>, CredentialsError>) -> Option<String> {
    match result.unwrap()? {
        Credential::Password { username, .. } => Some(username),
        other => Some(format!("{other:?}")),
    }
}

#[test]
fn finds_the_entry_that_is_meant() {
    let auth = |name: &str| BASE64.encode(format!("{name}:s3cret").as_bytes());
    let text = format!(
        r#"{{"auths":{{
            "https://index.docker.io/v1/":{{"auth":"{}"}},
            "r.test:5000":{{"auth":"{}"}},
            "r.test:5000/team":{{"auth":"{}"}},
            "https://old.test/v1/":{{"auth":"{}"}},
            "tok.test":{{"auth":"","identitytoken":"x"}},
            "empty.test":{{}}}}}}"#,
        auth("hub"),
        auth("host"),
        auth("team"),
        auth("old")
    );
    for (registry, path, expected) in [
        ("docker.io", "library/debian", Some("hub")),
        ("r.test:5000", "a", Some("host")),
        ("r.test:5000", "team/a", Some("team")),
        ("r.test:5000", "teamwork/a", Some("host")),
        ("r.test", "a", None),
        ("old.test", "a", Some("old")),
        ("tok.test", "a", Some("IdentityToken(Secret(…))")),
        ("empty.test", "a", None),
        ("evil-index.docker.io", "a", None),
    ] {
        let found = user(lookup(&text, registry, path));
        assert_eq!(found.as_deref(), expected, "{registry}/{path}");
    }
}

#[test]
fn broken_files_are_errors_that_repeat_nothing() {
    for text in [
        r#"{"auths":{"r.test":{"auth":"s3cret!"}}}"#,
        r#"{"auths":{"r.test":{"auth":"czNjcmV0"}}}"#,
        r#"{"auths":{"r.test":{"auth":["s3cret"]}}}"#,
        r#"{"auths":"s3cret"}"#,
        r#"{"credHelpers":{"r.test":"../s3cret"}}"#,
        "s3cret",
    ] {
        let error = lookup(text, "r.test", "a").unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(text.contains("../") || !shown.contains("s3cret"), "{shown}");
        assert_eq!(error.kind(), lamina_types::ErrorKind::InvalidArgument);
    }
}

#[test]
fn a_missing_helper_is_an_error_and_not_no_credentials() {
    let text = r#"{"auths":{},"credHelpers":{"r.test":"lamina-test-none"},"credsStore":"lamina-test-none"}"#;
    for registry in ["r.test", "docker.io"] {
        let error = lookup(text, registry, "a").unwrap_err();
        assert!(
            matches!(error, CredentialsError::HelperStart { .. }),
            "{error}"
        );
    }
}
