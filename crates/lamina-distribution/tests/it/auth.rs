//! Logging in: basic, tokens, and what goes wrong with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lamina_distribution::{Client, Credential, Credentials, CredentialsError, FetchError, Secret};
use lamina_testkit::registry::{Recorded, Registry, Reply};
use lamina_types::ErrorKind;

use crate::credentials::{BASIC, guard, password, resolve, with};
use crate::support::{config, with_image};

#[test]
fn basic() {
    let (registry, tagged, ..) = with_image(10);
    registry.script(|request| guard(request, BASIC, "Basic realm=\"r\""));
    resolve(with(password()), &tagged).unwrap();
    let error = resolve(config(), &tagged).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    registry.script(|request| guard(request, "Basic other", "Basic realm=\"r\""));
    let before = registry.requests().len();
    let error = resolve(with(password()), &tagged).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(error.to_string().contains("may require"), "{error}");
    assert!(
        registry.requests().len() - before <= 3,
        "a wrong password is not tried over and over"
    );
}

/// A registry whose tokens come from its own `/token` and hold for `life` uses.
fn token_registry(registry: &Registry, life: usize) -> Arc<AtomicUsize> {
    let issued = Arc::new(AtomicUsize::new(0));
    let uses = AtomicUsize::new(0);
    let counter = Arc::clone(&issued);
    let realm = format!(
        "Bearer realm=\"{}/token\",service=\"it's & me\"",
        registry.url()
    );
    registry.script(move |request| {
        if request.path.starts_with("/token") {
            uses.store(0, Ordering::SeqCst);
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            let body = serde_json::json!({"token": format!("t{number}"), "expires_in": 300});
            return Some(Reply::ok(body.to_string()));
        }
        let good = format!("Bearer t{}", counter.load(Ordering::SeqCst));
        let refused = guard(request, &good, &realm);
        if refused.is_none() && request.path != "/v2/" {
            let used = uses.fetch_add(1, Ordering::SeqCst);
            return (used >= life).then(|| Reply::challenge(&realm));
        }
        refused
    });
    issued
}

#[test]
fn tokens_are_asked_for_once_with_our_own_scope() {
    let (registry, tagged, layer, _) = with_image(100_000);
    let issued = token_registry(&registry, usize::MAX);
    let client = Client::new(with(password())).unwrap();
    client.resolve(&tagged).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| client.blob_bytes(&tagged, &layer, 1 << 20).unwrap());
        }
    });
    assert_eq!(issued.load(Ordering::SeqCst), 1);
    let requests = registry.requests();
    let token = requests
        .iter()
        .find(|request| request.path.starts_with("/token"))
        .unwrap();
    assert_eq!(
        token.path,
        "/token?service=it%27s%20%26%20me&scope=repository%3Ateam%2Fapp%3Apull&account=user"
    );
    assert_eq!(token.header("authorization"), Some(BASIC));
    let others = requests
        .iter()
        .filter(|request| !request.path.starts_with("/token"));
    let basic = others.filter(|request| request.header("authorization") == Some(BASIC));
    assert_eq!(
        basic.count(),
        0,
        "the password goes to the token server alone"
    );
}

#[test]
fn a_token_that_ends_mid_pull_is_renewed() {
    let (registry, tagged, layer, bytes) = with_image(100_000);
    let issued = token_registry(&registry, 1);
    let client = Client::new(with(password())).unwrap();
    client.resolve(&tagged).unwrap();
    for _ in 0..3 {
        assert_eq!(client.blob_bytes(&tagged, &layer, 1 << 20).unwrap(), bytes);
    }
    assert_eq!(issued.load(Ordering::SeqCst), 4);
}

#[test]
fn anonymous_tokens_and_refused_ones() {
    let (registry, tagged, ..) = with_image(10);
    token_registry(&registry, usize::MAX);
    resolve(config(), &tagged).unwrap();
    assert!(
        registry
            .authorizations()
            .iter()
            .all(|header| header.starts_with("Bearer t"))
    );
    let realm = format!("Bearer realm=\"{}/token\"", registry.url());
    for answer in [
        "{}",
        "{\"token\":\"\"}",
        "{\"token\":\"a b\\r\\nx: y\"}",
        "null",
        "secret",
    ] {
        let realm = realm.clone();
        registry.script(move |request| match request.path.starts_with("/token") {
            true => Some(Reply::ok(answer)),
            false => guard(request, "never", &realm),
        });
        let error = resolve(config(), &tagged).unwrap_err();
        assert!(
            matches!(error, FetchError::Protocol { .. }),
            "{answer}: {error}"
        );
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    registry.script(move |request| match request.path.starts_with("/token") {
        true => Some(Reply::error(401, "UNAUTHORIZED", "wrong")),
        false => guard(request, "never", &realm),
    });
    let error = resolve(with(password()), &tagged).unwrap_err();
    assert!(
        error.to_string().contains("incorrect username or password"),
        "{error}"
    );
}

#[test]
fn identity_tokens_are_posted_and_registry_tokens_sent_as_they_are() {
    let (registry, tagged, ..) = with_image(10);
    token_registry(&registry, usize::MAX);
    resolve(
        with(Credential::IdentityToken(Secret::new("re/fresh"))),
        &tagged,
    )
    .unwrap();
    let requests = registry.requests();
    let post = requests
        .iter()
        .find(|request| request.method == "POST")
        .unwrap();
    let form = String::from_utf8(post.body.clone()).unwrap();
    assert!(form.contains("refresh_token=re%2Ffresh") && form.contains("grant_type=refresh_token"));
    assert!(
        registry
            .authorizations()
            .iter()
            .all(|header| !header.contains("fresh"))
    );

    registry.script(|request| guard(request, "Bearer direct", "Bearer realm=\"http://x/\""));
    resolve(
        with(Credential::RegistryToken(Secret::new("direct"))),
        &tagged,
    )
    .unwrap();
}

#[test]
fn credentials_that_cannot_be_read_fail_the_pull() {
    struct Broken;
    impl Credentials for Broken {
        fn lookup(&self, _: &str, _: &str) -> Result<Option<Credential>, CredentialsError> {
            Err(CredentialsError::Malformed {
                path: "config.json".into(),
                detail: "line 1".to_owned(),
            })
        }
    }
    let (registry, tagged, ..) = with_image(10);
    token_registry(&registry, usize::MAX);
    let mut settings = config();
    settings.credentials = Arc::new(Broken);
    let error = resolve(settings, &tagged).unwrap_err();
    assert!(matches!(error, FetchError::Credentials(_)), "{error}");
    assert_eq!(registry.count("/token"), 0);
}

#[test]
fn a_login_is_verified() {
    /// Also of `/v2/`, where a login is tried.
    fn strict(request: &Recorded, good: &str, challenge: &str) -> Option<Reply> {
        let known = request.header("authorization") == Some(good);
        (!known).then(|| Reply::challenge(challenge))
    }
    let registry = Registry::start();
    registry.script(|request| strict(request, BASIC, "Basic realm=\"r\""));
    let verify = |config| {
        Client::new(config)
            .unwrap()
            .verify_login(&registry.domain())
    };
    verify(with(password())).unwrap();
    let error = verify(config()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    registry.script(|request| strict(request, "Basic other", "Basic realm=\"r\""));
    let error = verify(with(password())).unwrap_err();
    assert!(error.to_string().contains("refuses the login"), "{error}");

    // By token: no scope is asked for.
    let realm = format!("Bearer realm=\"{}/token\"", registry.url());
    registry.script(move |request| {
        if request.path.starts_with("/token") {
            let good = request.header("authorization") == Some(BASIC);
            return Some(match good {
                true => Reply::ok("{\"token\":\"t\"}"),
                false => Reply::error(401, "UNAUTHORIZED", "no"),
            });
        }
        strict(request, "Bearer t", &realm)
    });
    verify(with(password())).unwrap();
    assert_eq!(registry.count("scope="), 0);
    assert!(verify(config()).is_err());

    // What is no registry's name, and what is no registry.
    for bad in ["", "a/b", "u@h:1", "http://h"] {
        assert!(
            Client::new(config()).unwrap().verify_login(bad).is_err(),
            "{bad:?}"
        );
    }
    registry.script(|_| Some(Reply::status(404)));
    assert!(verify(with(password())).is_err());
}
