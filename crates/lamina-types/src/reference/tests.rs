//! The grammar's table, after distribution/reference's own, and the round trip.

use super::*;

#[test]
fn normalises_as_docker_does() {
    for (typed, canonical, familiar) in [
        ("debian", "docker.io/library/debian:latest", "debian:latest"),
        ("me/app:1", "docker.io/me/app:1", "me/app:1"),
        (
            "index.docker.io/debian",
            "docker.io/library/debian:latest",
            "debian:latest",
        ),
        (
            "localhost/app",
            "localhost/app:latest",
            "localhost/app:latest",
        ),
        (
            "localhost:5000/app:x",
            "localhost:5000/app:x",
            "localhost:5000/app:x",
        ),
        (
            "127.0.0.1:5000/a/b",
            "127.0.0.1:5000/a/b:latest",
            "127.0.0.1:5000/a/b:latest",
        ),
        (
            "[::1]:5000/app",
            "[::1]:5000/app:latest",
            "[::1]:5000/app:latest",
        ),
        (
            "a__b/c--d.e:T_1",
            "docker.io/a__b/c--d.e:T_1",
            "a__b/c--d.e:T_1",
        ),
        (
            "UPPER.example/app",
            "UPPER.example/app:latest",
            "UPPER.example/app:latest",
        ),
    ] {
        let reference: Reference = typed.parse().unwrap_or_else(|e| panic!("{typed}: {e}"));
        assert_eq!(reference.to_string(), canonical);
        assert_eq!(reference.familiar(), familiar);
    }
}

#[test]
fn a_digest_needs_no_tag() {
    let digest = format!("sha256:{}", "b".repeat(64));
    let pinned: Reference = format!("debian@{digest}").parse().unwrap();
    assert_eq!(pinned.tag(), None);
    assert_eq!(pinned.digest().unwrap().to_string(), digest);
    let both: Reference = format!("debian:12@{digest}").parse().unwrap();
    assert_eq!(both.tag(), Some("12"));
}

#[test]
fn refuses_what_docker_refuses() {
    for bad in [
        "",
        ":",
        "/",
        "a:",
        ":tag",
        "a//b",
        "a/",
        "/a",
        "a b",
        "a\n",
        "..",
        "../x",
        "a/../b",
        "a..b",
        "a___b",
        "-a",
        "a-",
        "a:b:c",
        "a@b",
        "a@sha256:12",
        "a:../x",
        "a?x",
        "a%2f",
        "host:99999/a",
        "host:/a",
        "[::1/a",
        "x/Repo",
        "x:\u{e9}",
    ] {
        assert!(bad.parse::<Reference>().is_err(), "{bad:?} must be refused");
    }
    assert!(matches!(
        "App".parse::<Reference>(),
        Err(ReferenceError::Uppercase(_))
    ));
    assert!(matches!(
        "a".repeat(64).parse::<Reference>(),
        Err(ReferenceError::LooksLikeId(_))
    ));
    assert!(matches!(
        "a".repeat(300).parse::<Reference>(),
        Err(ReferenceError::TooLong)
    ));
    assert!(
        format!("a:{}", "t".repeat(129))
            .parse::<Reference>()
            .is_err()
    );
}

proptest::proptest! {
    #[test]
    fn what_parses_round_trips(text in "[a-z0-9.:/@_-]{1,40}") {
        if let Ok(reference) = text.parse::<Reference>() {
            let again: Reference = reference.to_string().parse().unwrap();
            proptest::prop_assert_eq!(&again, &reference);
            let familiar: Reference = reference.familiar().parse().unwrap();
            proptest::prop_assert_eq!(familiar, reference);
        }
    }

    #[test]
    fn no_input_panics(text in ".{0,80}") {
        let _ = text.parse::<Reference>();
    }
}
