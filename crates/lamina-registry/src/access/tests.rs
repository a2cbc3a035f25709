//! Every kind of asker and every kind of request.

use hyper::header::HeaderValue;

use super::*;

fn users() -> Users {
    let hash = bcrypt::hash("secret", 4).unwrap();
    Users::parse(&format!("# people\n\nme:{hash}\n")).unwrap()
}

fn headers(pair: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !pair.is_empty() {
        let value = format!("Basic {}", BASE64.encode(pair.as_bytes()));
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&value).unwrap());
    }
    headers
}

#[test]
fn who_may_do_what() {
    let (yes, who, no) = (Ok(()), Err(Refused::Unauthorized), Err(Refused::Denied));
    let plain = Access::default();
    let open = Access {
        writable: true,
        ..Access::default()
    };
    let with_users = |private, read_only| Access {
        users: Some(users()),
        private,
        read_only,
        writable: false,
    };
    let (known, private, frozen) = (
        with_users(false, false),
        with_users(true, false),
        with_users(false, true),
    );
    for (access, asker, ping, read, write) in [
        (&plain, "", yes, yes, no),
        (&plain, "me:secret", yes, yes, no),
        (&open, "", yes, yes, yes),
        (&known, "", who, yes, who),
        (&known, "me:secret", yes, yes, yes),
        (&known, "me:wrong", who, who, who),
        (&known, "you:secret", who, who, who),
        (&private, "", who, who, who),
        (&private, "me:secret", yes, yes, yes),
        (&frozen, "", who, yes, no),
        (&frozen, "me:secret", yes, yes, no),
    ] {
        let headers = headers(asker);
        for (deed, expected) in [(Deed::Ping, ping), (Deed::Read, read), (Deed::Write, write)] {
            assert_eq!(
                access.decide(&headers, deed),
                expected,
                "{access:?} {asker} {deed:?}"
            );
        }
    }
    let mut odd = HeaderMap::new();
    for value in ["Bearer x", "Basic", "Basic !!", "Basic bm9jb2xvbg=="] {
        odd.insert(AUTHORIZATION, HeaderValue::from_static(value));
        assert_eq!(known.decide(&odd, Deed::Read), who, "{value}");
        assert_eq!(plain.decide(&odd, Deed::Read), yes, "{value}");
    }
}

#[test]
fn only_bcrypt_counts() {
    for bad in [
        "",
        "# nobody",
        "me",
        "me:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "me:$apr1$x$y",
        "me:secret",
        "me:$2y$31$abcdefghijklmnopqrstuuHDbyYfwpbsfSTyrFZi9lPZ4Uv3e9zOW",
        ":$2y$10$abcdefghijklmnopqrstuuHDbyYfwpbsfSTyrFZi9lPZ4Uv3e9zOW",
    ] {
        assert!(Users::parse(bad).is_err(), "{bad:?}");
    }
    assert!(
        bcrypt::verify("x", NOBODY).is_ok(),
        "it takes as long as a real one"
    );
    assert!(!format!("{:?}", users()).contains('$'));
}
