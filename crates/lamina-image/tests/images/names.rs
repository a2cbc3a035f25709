//! Finding, tagging, listing and removing.

use lamina_image::{FindError, Images, ImportOptions, RemoveError, Removed, Silent, UsedBy};
use lamina_testkit::registry::Registry;
use lamina_types::ImageId;

use crate::support::{Fixture, client, gzip_image, noise, reference, serve, tar_of};

fn import(images: &Images<'_>, name: Option<&str>, content: &[u8]) -> ImageId {
    let options = ImportOptions {
        name: name.map(reference),
        ..ImportOptions::default()
    };
    let tar = tar_of(&[("file", content)]);
    images.import(tar.as_slice(), &options, &Silent).unwrap()
}

fn unused(_: &ImageId) -> Vec<UsedBy> {
    Vec::new()
}

#[test]
fn privileged_images_are_found_by_name_digest_and_id() {
    let fixture = Fixture::new();
    let images = fixture.images();
    let one = import(&images, Some("me/app:1"), b"one");
    let image = images.find("me/app:1").unwrap();
    assert_eq!(image.id, one);
    let digest = &image.manifest.digest;
    for name in [
        format!("me/app@{digest}"),
        format!("me/app:other@{digest}"),
        one.to_string(),
        one.0.hex().to_owned(),
        one.0.short().to_owned(),
        one.0.hex()[..2].to_owned(),
    ] {
        assert_eq!(images.find(&name).unwrap().id, one, "{name}");
    }
    for name in ["me/app", "me/app:2", "zz", "../../etc", "", "sha256:"] {
        let error = images.find(name).unwrap_err();
        assert!(matches!(error, FindError::NotFound(_)), "{name}: {error}");
    }
    let mut ids = vec![one.0.hex().to_owned()];
    while !ids[1..].iter().any(|id| id[..1] == ids[0][..1]) {
        let content = format!("{}", ids.len());
        let id = import(&images, None, content.as_bytes());
        ids.push(id.0.hex().to_owned());
    }
    let error = images.find(&ids[0][..1]).unwrap_err();
    assert!(matches!(error, FindError::Ambiguous { .. }), "{error}");
}

#[test]
fn privileged_a_tag_that_moves_leaves_the_old_image() {
    let fixture = Fixture::new();
    let images = fixture.images();
    let old = import(&images, Some("app"), b"old");
    let new = import(&images, Some("app"), b"new");
    assert_eq!(images.find("app").unwrap().id, new);
    assert_eq!(images.find(old.0.hex()).unwrap().id, old);
    let untagged: Vec<_> = images
        .list()
        .unwrap()
        .into_iter()
        .filter(|s| s.tag.is_none())
        .collect();
    assert_eq!(untagged.len(), 1);
    assert_eq!(untagged[0].repository.as_deref(), Some("app"));
    images.tag(old.0.hex(), &reference("app:old")).unwrap();
    let list = images.list().unwrap();
    assert!(list.iter().all(|s| s.tag.is_some()), "{list:?}");
    assert!(list.iter().all(|s| s.size == 3));
}

#[test]
fn privileged_an_image_goes_with_its_last_name() {
    let fixture = Fixture::new();
    let images = fixture.images();
    let id = import(&images, Some("app:1"), b"x");
    images.tag("app:1", &reference("app:2")).unwrap();
    let error = images.remove(id.0.hex(), false, &unused).unwrap_err();
    assert!(matches!(error, RemoveError::SeveralNames { .. }), "{error}");
    let removed = images.remove("app:1", false, &unused).unwrap();
    assert_eq!(removed, [Removed::Untagged(reference("app:1"))]);
    assert_eq!(fixture.path("store/layers").read_dir().unwrap().count(), 1);
    let removed = images.remove("app:2", false, &unused).unwrap();
    assert_eq!(removed.last(), Some(&Removed::Deleted(id)));
    assert!(fixture.visible().is_empty(), "{:?}", fixture.visible());
    let blobs = fixture.path("store/oci/blobs/sha256");
    assert_eq!(blobs.read_dir().unwrap().count(), 0);
    assert!(images.remove("app:2", true, &unused).is_err());
}

#[test]
fn privileged_a_used_image_needs_force() {
    let fixture = Fixture::new();
    let images = fixture.images();
    let id = import(&images, Some("app"), b"x");
    let used = |running| {
        move |_: &ImageId| {
            let container = "web".to_owned();
            vec![UsedBy { container, running }]
        }
    };
    for running in [false, true] {
        let error = images.remove("app", false, &used(running)).unwrap_err();
        assert!(matches!(error, RemoveError::Used { .. }), "{error}");
    }
    let error = images.remove(id.0.hex(), true, &used(true)).unwrap_err();
    assert!(matches!(error, RemoveError::Used { running: true, .. }));
    images.remove(id.0.hex(), true, &used(false)).unwrap();
    assert!(images.list().unwrap().is_empty());
}

#[test]
fn privileged_inspect_has_dockers_shape() {
    let fixture = Fixture::new();
    let images = fixture.images();
    let id = import(&images, Some("app"), b"x");
    let image = images.find("app").unwrap();
    let shown = images.inspect(&image).unwrap();
    assert_eq!(shown["Id"], id.to_string());
    assert_eq!(shown["RepoTags"][0], "app:latest");
    assert_eq!(
        shown["RootFS"]["Layers"][0],
        image.diff_ids()[0].to_string()
    );
    let tree = shown["Layers"][0]["Directory"].as_str().unwrap();
    assert_eq!(std::fs::read(format!("{tree}/file")).unwrap(), b"x");
    assert_eq!(shown["GraphDriver"]["Data"]["UpperDir"], tree);
}

#[test]
fn privileged_history_and_tree_tell_what_images_share() {
    let fixture = Fixture::new();
    let images = fixture.images();
    let registry = Registry::start();
    let layer = |name: &str| tar_of(&[(name, &noise(9, 1000))]);
    let mut stacks = vec![
        ("base", vec![layer("a")]),
        ("one", vec![layer("a"), layer("b"), layer("c")]),
        ("two", vec![layer("a"), layer("b"), layer("d")]),
        ("far", vec![layer("e"), layer("b")]),
    ];
    for (name, tars) in stacks.drain(..) {
        let mut image = gzip_image(&tars);
        if name == "two" {
            let mut config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
            config["history"] = serde_json::json!([
                {"created_by": "ADD a"}, {"created_by": "ENV x", "empty_layer": true},
                {"created_by": "ADD b", "comment": "made"},
            ]);
            image.config = config.to_string().into_bytes();
        }
        let served = serve(&registry, name, &image);
        images.pull(&client(), &served, None, &Silent).unwrap();
        images.tag(&served.to_string(), &reference(name)).unwrap();
        images.untag(&served.to_string(), &[served]).unwrap();
    }
    let two = images.find("two").unwrap();
    let steps = images.history(&two).unwrap();
    let told: Vec<(&str, u64)> = steps.iter().map(|s| (&*s.created_by, s.size)).collect();
    assert_eq!(
        told,
        [("", 1000), ("ADD b", 1000), ("ENV x", 0), ("ADD a", 1000)]
    );
    assert_eq!(steps[0].image.as_ref(), Some(&two.id));
    assert_eq!(steps[1].comment, "made");
    assert_eq!(
        images.history(&images.find("one").unwrap()).unwrap().len(),
        3
    );

    let tree = images.layer_tree(None).unwrap();
    assert_eq!(tree.len(), 2);
    let base = &tree[0];
    assert_eq!(
        (base.images, base.names.as_slice()),
        (3, &["base:latest".to_owned()][..])
    );
    let middle = &base.children[0];
    assert_eq!(
        (base.children.len(), middle.images, middle.children.len()),
        (1, 3, 2)
    );
    assert_eq!(middle.size, Some(1000));
    // Its upper layer is in the other tree as well.
    let far = images.find("far").unwrap();
    assert_eq!(images.layer_tree(Some(&far)).unwrap().len(), 2);
    let base = images.find("base").unwrap();
    assert_eq!(images.layer_tree(Some(&base)).unwrap().len(), 1);
}
