//! Every class of waste, planted in an image, is found with its exact bytes; and nothing else is.

use std::collections::BTreeSet;
use std::io::Cursor;

use lamina_image::{Explanation, Image, Images, LayerForm, LoadSource, Silent, Waste, WasteClass};
use lamina_layer::{Kind, Meta, TarWriter};
use serde_json::{Value, json};

use crate::support::{Fixture, digest_of, noise, tar_of};

/// One entry of a planted layer: a file with its content and owner, one with its content and time,
/// or what a link leads to.
pub(crate) enum Entry<'a> {
    File(&'a str, &'a [u8], u32),
    At(&'a str, &'a [u8], i64),
    Link(&'a str, &'a str),
    Symlink(&'a str, &'a str),
}

pub(crate) fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for entry in entries {
        let mut meta = Meta {
            mode: 0o644,
            ..Meta::default()
        };
        let (path, kind, bytes) = match entry {
            Entry::File(path, bytes, uid) => {
                meta.uid = *uid;
                (*path, Kind::File, *bytes)
            }
            Entry::At(path, bytes, time) => {
                meta.mtime.seconds = *time;
                (*path, Kind::File, *bytes)
            }
            Entry::Link(path, to) => (*path, Kind::Hardlink(to.as_bytes().to_vec()), &[][..]),
            Entry::Symlink(path, to) => (*path, Kind::Symlink(to.as_bytes().to_vec()), &[][..]),
        };
        let length = bytes.len() as u64;
        tar.append(path.as_bytes(), &kind, &meta, length, &mut &bytes[..])
            .unwrap();
    }
    tar.finish().unwrap()
}

/// Loads an image of these layers, each with its instruction, and returns it.
pub(crate) fn load(
    images: &Images<'_>,
    name: &str,
    steps: &[(&str, Option<Vec<u8>>)],
    settings: &Value,
) -> Image {
    let layers: Vec<&Vec<u8>> = steps
        .iter()
        .filter_map(|(_, layer)| layer.as_ref())
        .collect();
    let history = steps.iter().map(
        |(instruction, layer)| json!({ "created_by": instruction, "empty_layer": layer.is_none() }),
    );
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": settings,
        "history": history.collect::<Vec<_>>(),
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| digest_of(layer)).collect::<Vec<_>>(),
        },
    });
    let config = config.to_string().into_bytes();
    let names: Vec<String> = (0..layers.len()).map(|n| format!("{n}.tar")).collect();
    let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": names }]);
    let manifest = manifest.to_string().into_bytes();
    let mut files: Vec<(&str, &[u8])> =
        vec![("manifest.json", &manifest), ("config.json", &config)];
    files.extend(
        names
            .iter()
            .zip(&layers)
            .map(|(name, layer)| (name.as_str(), layer.as_slice())),
    );
    let archive = tar_of(&files);
    let source = LoadSource::Stream(Box::new(Cursor::new(archive)));
    images.load(source, None, &Silent).unwrap();
    images.find(name).unwrap()
}

fn explain(steps: &[(&str, Option<Vec<u8>>)], form: LayerForm) -> Explanation {
    let fixture = Fixture::new();
    let images = fixture.images().with_form(form);
    let image = load(&images, "app:1", steps, &json!({}));
    images.explain(&image, 2).unwrap()
}

/// What package managers and builds leave: its class, where it lies, what it is.
fn left() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let all = [
        ("apt-lists", "var/lib/apt/lists/deb_main_Packages", 7001),
        ("apt-archives", "var/cache/apt/archives/a.deb", 7002),
        ("apk-cache", "var/cache/apk/APKINDEX.tar.gz", 7003),
        ("dnf-cache", "var/cache/dnf/packages.solv", 7004),
        ("pip-cache", "root/.cache/pip/http/aa", 7005),
        ("npm-cache", "root/.npm/_cacache/content", 7006),
        ("pycache", "usr/lib/app/__pycache__/m.cpython-312.pyc", 7007),
        ("temporary", "tmp/build.log", 7008),
        ("logs", "var/log/dpkg.log", 7009),
        ("git", "srv/app/.git/objects/pack/p.pack", 7010),
        ("zypper-cache", "var/cache/zypp/raw/primary.xml", 7011),
        ("pacman-cache", "var/cache/pacman/pkg/a.pkg.tar", 7012),
        ("yarn-cache", "usr/local/share/.cache/yarn/v6/a", 7013),
        ("go-cache", "root/go/pkg/mod/cache/a.zip", 7014),
        ("cargo-cache", "usr/local/cargo/registry/a.crate", 7015),
        ("other-cache", "home/me/.cache/thumbnails/a", 7016),
    ];
    let all = all.into_iter();
    all.map(|(class, path, size)| (class, path, noise(size as u64, size)))
        .collect()
}

type Steps = Vec<(&'static str, Option<Vec<u8>>)>;

/// An image with every class of waste.
fn planted() -> Steps {
    let (big, old, new) = (noise(1, 50_000), noise(2, 20_000), noise(3, 21_000));
    let (owned, copied) = (noise(4, 9000), noise(5, 8000));
    let base = layer(&[
        Entry::File("opt/big", &big, 0),
        Entry::Link("opt/big-too", "opt/big"),
        Entry::File("etc/conf", &old, 0),
        Entry::File("srv/owned", &owned, 0),
        Entry::File("srv/small", b"kept", 0),
    ]);
    let left = left();
    let files = left
        .iter()
        .map(|(_, path, bytes)| Entry::File(path, bytes, 0));
    let twice = [
        Entry::File("srv/a", &copied, 0),
        Entry::File("srv/b", &copied, 0),
    ];
    vec![
        ("/bin/sh -c #(nop) COPY . /", Some(base)),
        ("ENV A=b", None),
        (
            "RUN chown -R 7 /srv",
            Some(layer(&[Entry::File("srv/owned", &owned, 7)])),
        ),
        (
            "RUN sed -i s/a/b/ /etc/conf",
            Some(layer(&[Entry::File("etc/conf", &new, 0)])),
        ),
        (
            "RUN rm -r /opt",
            Some(layer(&[Entry::File("opt/.wh..wh..opq", b"", 0)])),
        ),
        ("RUN cp a b", Some(layer(&twice))),
        ("RUN install", Some(layer(&files.collect::<Vec<_>>()))),
    ]
}

fn find(explained: &Explanation, class: WasteClass) -> &Waste {
    let mut all = explained.findings.iter().filter(|one| one.class == class);
    let one = all
        .next()
        .unwrap_or_else(|| panic!("{class:?}: {explained:?}"));
    assert!(all.next().is_none(), "{class:?} twice");
    one
}

#[test]
fn privileged_every_planted_waste_is_found_with_its_bytes() {
    for form in [LayerForm::Tree, LayerForm::Pool] {
        let explained = explain(&planted(), form);
        let find = |class| find(&explained, class);
        let deleted = find(WasteClass::Deleted);
        assert_eq!(
            (deleted.bytes, deleted.files),
            (50_000, 1),
            "a link is no second file"
        );
        assert_eq!((deleted.made_by, deleted.hidden_by), (1, Some(5)));
        assert_eq!(deleted.largest, [("/opt/big".to_owned(), 50_000)]);
        assert_eq!(deleted.fix, "in step 1: RUN … && rm -rf /opt/big");
        let overwritten = find(WasteClass::Overwritten);
        assert_eq!((overwritten.bytes, overwritten.pooled), (20_000, 20_000));
        let metadata = find(WasteClass::MetadataOnly);
        assert_eq!((metadata.bytes, metadata.pooled), (9000, 0));
        assert!(metadata.fix.contains("COPY --chown"), "{}", metadata.fix);
        let duplicate = find(WasteClass::Duplicate);
        assert_eq!(
            (duplicate.bytes, duplicate.pooled, duplicate.made_by),
            (8000, 0, 6)
        );
        for (class, path, bytes) in left() {
            let found = find(WasteClass::Left(class));
            assert_eq!(found.bytes, bytes.len() as u64, "{class}");
            assert_eq!(found.largest, [(format!("/{path}"), found.bytes)]);
            assert_eq!(found.made_by, 7);
        }
        // One of each class that there is.
        let found: BTreeSet<_> = explained.findings.iter().map(|one| one.class).collect();
        assert_eq!(found, WasteClass::all().collect());
        assert_eq!(explained.findings.len(), found.len(), "{explained:?}");
    }
}

#[test]
fn privileged_every_step_is_told_with_its_bytes() {
    let explained = explain(&planted(), LayerForm::Pool);
    let of_left: u64 = left().iter().map(|(_, _, bytes)| bytes.len() as u64).sum();
    let costs = explained.steps.iter().map(|step| {
        let bytes = [step.added, step.changed, step.same, step.deleted].map(|one| one.bytes);
        (bytes, step.wasted)
    });
    let costs: Vec<_> = costs.collect();
    let expected = [
        ([79_004, 0, 0, 0], 79_000),
        ([0; 4], 0),
        ([0, 0, 9000, 0], 0),
        ([0, 21_000, 0, 0], 0),
        ([0, 0, 0, 50_000], 0),
        ([16_000, 0, 0, 0], 0),
        ([of_left, 0, 0, 0], 0),
    ];
    assert_eq!(costs, expected);
    assert_eq!(explained.total, 79_004 + 9000 + 21_000 + 16_000 + of_left);
    assert_eq!(explained.hidden, 79_000);
}

#[test]
fn privileged_nothing_is_found_in_a_clean_image() {
    let steps = [
        (
            "COPY a /",
            Some(layer(&[Entry::File("usr/bin/a", &noise(1, 9000), 0)])),
        ),
        (
            "COPY b /",
            Some(layer(&[Entry::File("usr/bin/b", &noise(2, 9000), 0)])),
        ),
        (
            "COPY links /",
            Some(layer(&[
                Entry::File("usr/bin/c", &noise(3, 9000), 0),
                Entry::Link("usr/bin/d", "usr/bin/c"),
                Entry::File("tmp/.keep", b"", 0),
            ])),
        ),
    ];
    let explained = explain(&steps, LayerForm::Pool);
    assert_eq!(explained.findings, []);
    assert_eq!((explained.total, explained.hidden), (27_000, 0));
    assert_eq!(explained.efficiency(), 1000);
}

#[test]
fn privileged_whiteouts_replaced_folders_and_links_are_counted_once() {
    let (one, two) = (noise(1, 5000), noise(2, 6000));
    let steps = [
        (
            "one",
            Some(layer(&[
                Entry::File("a/x", &one, 0),
                Entry::Link("a/y", "a/x"),
                Entry::File("dir/f", &two, 0),
            ])),
        ),
        // One of two names goes: the content is still seen.
        ("two", Some(layer(&[Entry::File("a/.wh.x", b"", 0)]))),
        ("three", Some(layer(&[Entry::File("dir", b"a file", 0)]))),
        ("four", Some(layer(&[Entry::File("a/.wh.y", b"", 0)]))),
    ];
    let explained = explain(&steps, LayerForm::Tree);
    let mut found: Vec<_> = explained.findings.iter().collect();
    found.sort_by_key(|one| one.bytes);
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.class, one.bytes, one.hidden_by))
        .collect();
    let expected = [
        (WasteClass::Deleted, 5000, Some(4)),
        (WasteClass::Deleted, 6000, Some(3)),
    ];
    assert_eq!(found, expected);
    assert_eq!((explained.total, explained.hidden), (11_006, 11_000));
}
