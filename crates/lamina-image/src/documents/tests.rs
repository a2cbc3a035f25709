//! Documents that must be refused, and the choice of a platform.

use super::*;

fn hex(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

fn descriptor(media_type: &str) -> String {
    format!(
        r#"{{"mediaType":"{media_type}","digest":"{}","size":7}}"#,
        hex("a")
    )
}

fn manifest(config: &str, layer: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
        descriptor(config),
        descriptor(layer)
    )
}

fn index(platforms: &[Option<&str>]) -> Index {
    let manifests = platforms.iter().map(|platform| {
        let digest = hex("b").parse().unwrap();
        Descriptor {
            platform: platform.map(|p| p.parse().unwrap()),
            ..Descriptor::new(media::OCI_MANIFEST, digest, 1)
        }
    });
    Index {
        schema_version: 2,
        media_type: None,
        manifests: manifests.collect(),
        annotations: Default::default(),
    }
}

#[test]
fn only_one_reading_is_accepted() {
    let good = manifest(media::OCI_CONFIG, media::OCI_LAYER_GZIP);
    assert!(parse(good.as_bytes(), Some(media::OCI_MANIFEST)).is_ok());
    assert!(parse(good.as_bytes(), None).is_ok());
    let both = good.replace("\"config\"", "\"manifests\":[],\"config\"");
    let twice = good.replace("\"layers\"", "\"layers\":[],\"layers\"");
    let other = good.replace(
        "\"config\":",
        "\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"config\":",
    );
    for bad in [
        both.as_str(),
        &twice,
        &other,
        "",
        "null",
        "[]",
        "{}",
        "{\"schemaVersion\":2}",
    ] {
        assert!(
            parse(bad.as_bytes(), Some(media::OCI_MANIFEST)).is_err(),
            "{bad}"
        );
    }
    assert!(parse(good.as_bytes(), Some(media::OCI_INDEX)).is_err());
    let v1 = r#"{"schemaVersion":1,"fsLayers":[]}"#;
    let error = parse(v1.as_bytes(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn hostile_sizes_and_digests_are_refused() {
    let good = manifest(media::OCI_CONFIG, media::OCI_LAYER_GZIP);
    for (from, to) in [
        ("\"size\":7", "\"size\":-1"),
        ("\"size\":7", "\"size\":99999999999999999999"),
        ("\"size\":7", "\"size\":4294967296"),
        (hex("a").as_str(), "sha256:../../x"),
        (hex("a").as_str(), &hex("A")),
    ] {
        let bad = good.replace(from, to);
        assert!(parse(bad.as_bytes(), None).is_err(), "{to}");
    }
    let deep = "[".repeat(100_000);
    assert!(parse(deep.as_bytes(), None).is_err());
    let huge = vec![b' '; 5 << 20];
    assert!(matches!(
        parse(&huge, None),
        Err(DocumentError::TooLarge { .. })
    ));
}

#[test]
fn artifacts_are_not_images() {
    for (config, layer) in [
        ("application/vnd.cncf.helm.config.v1+json", media::OCI_LAYER),
        (media::OCI_CONFIG, "application/vnd.in-toto+json"),
    ] {
        let text = manifest(config, layer);
        let error = parse(text.as_bytes(), None).unwrap_err();
        assert!(matches!(error, DocumentError::NotAnImage(_)), "{error}");
    }
}

#[test]
fn the_best_platform_is_chosen() {
    let wanted: Platform = "linux/arm/v7".parse().unwrap();
    let several = index(&[
        Some("linux/amd64"),
        Some("linux/arm/v6"),
        Some("linux/arm/v7"),
    ]);
    let chosen = choose(&several, &wanted).unwrap();
    assert_eq!(
        chosen.platform.as_ref().unwrap().variant.as_deref(),
        Some("v7")
    );
    assert!(choose(&index(&[None]), &wanted).is_ok());
    assert!(choose(&index(&[None, None]), &wanted).is_err());
    let error = choose(&index(&[Some("linux/amd64")]), &wanted).unwrap_err();
    assert!(error.to_string().contains("linux/amd64"), "{error}");
}

#[test]
fn the_configuration_must_fit_the_manifest() {
    let text = format!(
        r#"{{"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        hex("c")
    );
    assert!(parse_config(text.as_bytes(), 1).is_ok());
    assert!(matches!(
        parse_config(text.as_bytes(), 2),
        Err(DocumentError::LayerCount {
            diff_ids: 1,
            layers: 2
        })
    ));
}
