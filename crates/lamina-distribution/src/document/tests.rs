//! Documents that mean one thing, and those that could mean two.

use serde_json::json;

use super::*;

fn descriptor(media_type: &str) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", "a".repeat(64)), "size": 3})
}

fn manifest() -> serde_json::Value {
    json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": descriptor(media::OCI_CONFIG), "layers": [descriptor(media::OCI_LAYER_GZIP)]})
}

fn parse(value: &serde_json::Value, outer: Option<&str>) -> Result<Document, DocumentError> {
    Document::parse(value.to_string().as_bytes(), outer)
}

#[test]
fn accepts_honest_documents() {
    for outer in [
        None,
        Some(media::OCI_MANIFEST),
        Some("application/json; charset=utf-8"),
        Some("Application/VND.oci.image.manifest.v1+json;x=y"),
    ] {
        assert!(
            matches!(parse(&manifest(), outer), Ok(Document::Manifest(_))),
            "{outer:?}"
        );
    }
    let index = json!({"schemaVersion": 2, "manifests": [descriptor(media::OCI_MANIFEST)]});
    assert!(matches!(
        parse(&index, Some(media::OCI_INDEX)),
        Ok(Document::Index(_))
    ));
}

#[test]
fn refuses_whatever_could_mean_two_things() {
    let mut both = manifest();
    both["manifests"] = json!([]);
    assert!(matches!(parse(&both, None), Err(DocumentError::Ambiguous)));
    let labelled = parse(&manifest(), Some(media::OCI_INDEX));
    assert!(matches!(labelled, Err(DocumentError::MediaType { .. })));
    let other_dialect = parse(&manifest(), Some(media::DOCKER_MANIFEST));
    assert!(matches!(
        other_dialect,
        Err(DocumentError::MediaType { .. })
    ));
    let mut odd_case = manifest();
    odd_case["mediaType"] = json!(media::OCI_MANIFEST.to_uppercase());
    assert!(matches!(
        parse(&odd_case, None),
        Err(DocumentError::MediaType { .. })
    ));
    let mut unlabelled = manifest();
    unlabelled.as_object_mut().unwrap().remove("mediaType");
    assert!(parse(&unlabelled, Some(media::OCI_MANIFEST)).is_ok());
    assert!(parse(&unlabelled, Some(media::DOCKER_MANIFEST)).is_err());
}

#[test]
fn refuses_garbage_without_panic() {
    let text = manifest().to_string();
    let twice = text.replacen('{', "{\"layers\":[],", 1);
    let deep = format!("{{\"manifests\":{}", "[".repeat(100_000));
    for bad in [
        "",
        "null",
        "[]",
        "{}",
        "\u{0}",
        "{\"schemaVersion\":2}",
        &twice,
        &deep,
        "{\"schemaVersion\":1,\"fsLayers\":[]}",
        "{\"schemaVersion\":2,\"manifests\":null}",
        &text.replace("\"size\":3", "\"size\":-1"),
        &text.replace("\"size\":3", "\"size\":9223372036854775808"),
        &text.replace("sha256:aaa", "sha256:../"),
    ] {
        let shown: String = bad.chars().take(60).collect();
        assert!(Document::parse(bad.as_bytes(), None).is_err(), "{shown:?}");
    }
    assert!(Document::parse(b"{\"schemaVersion\":2,\"manifests\":\"\xff\"}", None).is_err());
}

#[test]
fn chooses_the_best_platform_or_lists_them() {
    let entry = |platform: &str| {
        let mut d: Descriptor = serde_json::from_value(descriptor(media::OCI_MANIFEST)).unwrap();
        d.platform = Some(platform.parse().unwrap());
        d
    };
    let index = Index {
        schema_version: 2,
        media_type: None,
        manifests: vec![
            entry("linux/arm/v6"),
            entry("linux/arm/v7"),
            entry("linux/amd64"),
        ],
        annotations: std::collections::BTreeMap::new(),
    };
    let arm = select_platform(&index, &"linux/arm/v7".parse().unwrap()).unwrap();
    assert_eq!(arm.platform.as_ref().unwrap().to_string(), "linux/arm/v7");
    let none = select_platform(&index, &"linux/s390x".parse().unwrap()).unwrap_err();
    assert_eq!(none, ["linux/arm/v6", "linux/arm/v7", "linux/amd64"]);
}
