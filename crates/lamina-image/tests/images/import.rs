//! `import`, and what it refuses.

use lamina_image::{Bounds, ImportError, ImportOptions, Silent, UnpackError};
use lamina_types::ErrorKind;

use crate::support::{Fixture, gzip, reference, tar_of};

#[test]
fn privileged_each_compression_gives_the_same_layer() {
    let tar = tar_of(&[("a/b", b"text"), ("c", b"")]);
    let zstd = zstd::encode_all(tar.as_slice(), 1).unwrap();
    let mut diff_ids = Vec::new();
    for form in [tar.clone(), gzip(&tar), zstd] {
        let fixture = Fixture::new();
        let images = fixture.images();
        let options = ImportOptions {
            name: Some(reference("app")),
            changes: vec!["CMD [\"x\"]".to_owned(), "ENV A=1".to_owned()],
            message: "from a test".to_owned(),
            platform: None,
        };
        images.import(form.as_slice(), &options, &Silent).unwrap();
        let image = images.find("app").unwrap();
        assert_eq!(image.config.config.cmd, ["x"]);
        assert_eq!(image.config.config.env, ["A=1"]);
        assert_eq!(
            image.config.history[0].comment.as_deref(),
            Some("from a test")
        );
        let layer = images.layers(&image).unwrap().remove(0);
        let text = std::fs::read(layer.directory.unwrap().join("a/b")).unwrap();
        assert_eq!(text, b"text");
        assert!(fixture.store.blobs().contains(&layer.digest).unwrap());
        diff_ids.push(layer.diff_id);
    }
    diff_ids.dedup();
    assert_eq!(diff_ids.len(), 1);
}

#[test]
fn privileged_what_is_refused_leaves_nothing() {
    let good = tar_of(&[("file", b"text")]);
    let cut = gzip(&good);
    let hostile = {
        let mut tar = tar_of(&[("xx/canary", b"no")]);
        // The name becomes `../canary`, its checksum is made right again.
        tar[..2].copy_from_slice(b"..");
        let sum: u32 = tar[..148]
            .iter()
            .chain(&tar[156..512])
            .map(|b| u32::from(*b))
            .sum();
        tar[148..156].copy_from_slice(format!("{:06o}\0 ", sum + 8 * 32).as_bytes());
        tar
    };
    for (what, bytes) in [
        ("not a tar", vec![b'x'; 2048]),
        ("a cut gzip", cut[..cut.len() - 6].to_vec()),
        ("a cut tar", good[..600].to_vec()),
        ("a name that leads out", hostile),
        ("xz", b"\xfd7zXZ\0and more".to_vec()),
    ] {
        let fixture = Fixture::new();
        let options = ImportOptions {
            name: Some(reference("app")),
            ..ImportOptions::default()
        };
        let result = fixture.images().import(bytes.as_slice(), &options, &Silent);
        let error = result.expect_err(what);
        assert!(matches!(error, ImportError::Layer(_)), "{what}: {error}");
        assert!(
            fixture.visible().is_empty(),
            "{what}: {:?}",
            fixture.visible()
        );
        assert!(!fixture.path("canary").exists());
        assert!(!fixture.path("store/canary").exists());
    }
}

#[test]
fn privileged_a_bomb_stops_at_the_bound() {
    let bomb = gzip(&tar_of(&[("zeros", &vec![0; 32 << 20])]));
    let fixture = Fixture::new();
    let bounds = Bounds {
        tar_bytes: 1 << 20,
        ..Bounds::default()
    };
    let images = fixture.images().with_bounds(bounds);
    let result = images.import(bomb.as_slice(), &ImportOptions::default(), &Silent);
    let error = result.unwrap_err();
    assert!(
        matches!(error, ImportError::Layer(UnpackError::TooLarge(_))),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(fixture.visible().is_empty());
}
