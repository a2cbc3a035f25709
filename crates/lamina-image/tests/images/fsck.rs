//! Damage of every kind is found, named, and repaired or dropped; and never stops the rest.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests damage the store behind its back"
)]

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use lamina_distribution::{Client, FetchError};
use lamina_image::{Images, KeepBlobs, LayerForm, Mended, Mending, Silent};
use lamina_layer::ObjectId;
use lamina_store::{CheckOptions, CollectOptions, Fault, Finding, ObjectKey, Subject};
use lamina_testkit::registry::{MemoryImage, Registry};
use lamina_types::{DiffId, Digest, Reference};

use crate::support::{Fixture, client, digest_of, gzip_image, noise, serve, tar_of};

/// A small image in a store, and the registry that it came from.
struct Damaged {
    fixture: Fixture,
    registry: Registry,
    name: Reference,
    image: MemoryImage,
    tars: Vec<Vec<u8>>,
    form: LayerForm,
}

fn large() -> Vec<u8> {
    noise(1, 40_000)
}

/// Files of all kinds: with holes, links, small and large, and one that two layers have.
fn tars() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path();
    fs::create_dir_all(tree.join("etc/deep")).unwrap();
    fs::write(tree.join("etc/small"), "small").unwrap();
    fs::write(tree.join("etc/deep/large"), large()).unwrap();
    fs::hard_link(tree.join("etc/deep/large"), tree.join("etc/other")).unwrap();
    symlink("etc/small", tree.join("link")).unwrap();
    let sparse = fs::File::create(tree.join("sparse")).unwrap();
    sparse.write_all_at(&noise(2, 5000), 1 << 20).unwrap();
    sparse.set_len(3 << 20).unwrap();
    let out = folder.path().with_extension("tar");
    let mut command = Command::new("tar");
    command
        .args(["--sparse", "--owner=0", "--group=0", "-cf"])
        .arg(&out);
    assert!(
        command
            .arg("-C")
            .arg(tree)
            .arg(".")
            .status()
            .unwrap()
            .success()
    );
    let first = fs::read(&out).unwrap();
    fs::remove_file(out).unwrap();
    let second = tar_of(&[
        ("copy", &large()),
        ("tmp/new", &noise(3, 2000)),
        (".wh.link", b""),
    ]);
    vec![first, second]
}

impl Damaged {
    fn new(form: LayerForm, keep: KeepBlobs) -> Self {
        let registry = Registry::start();
        let tars = tars();
        let image = gzip_image(&tars);
        let name = serve(&registry, "app", &image);
        let this = Self {
            fixture: Fixture::new(),
            registry,
            name,
            image,
            tars,
            form,
        };
        let images = this.images().with_keep_blobs(keep);
        images.pull(&client(), &this.name, None, &Silent).unwrap();
        assert_eq!(this.check(), [], "a store that is not damaged");
        this
    }

    fn images(&self) -> Images<'_> {
        let images = self.fixture.images().with_form(self.form);
        images.with_keep_blobs(KeepBlobs::Auto)
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.fixture.path("store").join(below)
    }

    fn layer(&self, n: usize) -> DiffId {
        DiffId(digest_of(&self.tars[n]).parse().unwrap())
    }

    fn layer_path(&self, n: usize, name: &str) -> PathBuf {
        self.path("layers").join(self.layer(n).0.hex()).join(name)
    }

    fn content_path(&self, bytes: &[u8]) -> PathBuf {
        let key = ObjectKey::from(&ObjectId::of(bytes));
        self.path("pool").join(key.path())
    }

    fn blob(&self, n: usize) -> Digest {
        digest_of(&self.image.layers[n].1).parse().unwrap()
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("oci/blobs/sha256").join(digest.hex())
    }

    fn check(&self) -> Vec<Finding> {
        self.images()
            .check(CheckOptions::default(), &|_| ())
            .unwrap()
    }

    /// What a check finds, by what it is about and how that is wrong.
    fn found(&self) -> Vec<(String, Fault)> {
        let all = self.check().into_iter();
        all.map(|one| (one.subject.to_string(), one.fault))
            .collect()
    }

    fn mend(&self, client: &dyn Fn() -> Result<Client, FetchError>) -> Vec<Mended> {
        let mending = Mending {
            client,
            busy: &|_| false,
            progress: &Silent,
        };
        self.images().mend(&self.check(), &mending).unwrap()
    }

    /// Everything that must go on whatever is damaged.
    fn goes_on(&self) {
        let images = self.images();
        images.list().unwrap();
        self.fixture
            .store
            .collect(&CollectOptions::default())
            .unwrap();
        self.fixture.store.space().unwrap();
    }

    /// It is found, and repaired with the registry's help.
    fn is_repaired(&self, subject: &Subject, fault: Fault) {
        let found = self.found();
        assert!(
            found.contains(&(subject.to_string(), fault)),
            "{fault:?} of {subject}: {found:?}"
        );
        let mended = self.mend(&|| Ok(client()));
        assert!(
            mended.iter().all(|one| *one == Mended::Repaired),
            "{fault:?} of {subject}: {mended:?} of {found:?}"
        );
        assert_eq!(self.found(), [], "{fault:?} of {subject}");
        let mut again = Vec::new();
        for (n, tar) in self.tars.iter().enumerate() {
            again.clear();
            self.fixture
                .store
                .layers()
                .rebuild(&self.layer(n), &mut again)
                .unwrap();
            assert!(again == *tar);
        }
    }
}

fn flip(path: &Path, at: u64) {
    let mode = fs::metadata(path).unwrap().permissions();
    let time = fs::metadata(path).unwrap().modified().unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 0x10;
    file.write_all_at(&byte, at).unwrap();
    file.set_modified(time).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

fn truncate(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length / 2).unwrap();
}

fn garbage(path: &Path) {
    let mode = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path, "{\"version\":1,garbage").unwrap();
    fs::set_permissions(path, mode).unwrap();
}

fn both_forms(test: impl Fn(&Damaged)) {
    for form in [LayerForm::Tree, LayerForm::Pool] {
        test(&Damaged::new(form, KeepBlobs::Auto));
    }
}

#[test]
fn privileged_damage_to_the_parts_of_a_layer_is_found_and_repaired() {
    type Damage = fn(&Path);
    let parts: [(&str, Fault, Damage); 10] = [
        ("split.zst", Fault::Split, |path| flip(path, 60)),
        ("split.zst", Fault::Split, truncate),
        ("split.zst", Fault::Split, |path| {
            fs::remove_file(path).unwrap();
        }),
        ("idx", Fault::Index, |path| flip(path, 40)),
        ("idx", Fault::Index, truncate),
        ("idx", Fault::Index, |path| fs::remove_file(path).unwrap()),
        ("layer.json", Fault::Info, garbage),
        ("layer.json", Fault::Info, truncate),
        ("layer.json", Fault::Info, |path| flip(path, 2)),
        ("layer.json", Fault::Info, |path| {
            fs::remove_file(path).unwrap();
        }),
    ];
    both_forms(|damaged| {
        for (name, fault, damage) in parts {
            damage(&damaged.layer_path(0, name));
            damaged.goes_on();
            damaged.is_repaired(&Subject::Layer(damaged.layer(0)), fault);
        }
    });
}

#[test]
fn privileged_damage_to_a_tree_is_found_and_repaired() {
    let damaged = Damaged::new(LayerForm::Tree, KeepBlobs::Auto);
    let tree = || damaged.layer_path(0, "plain");
    let damages: [&dyn Fn(); 12] = [
        &|| flip(&tree().join("etc/small"), 2),
        &|| flip(&tree().join("etc/deep/large"), 30_000),
        &|| flip(&tree().join("sparse"), (1 << 20) + 100),
        // Where the file has a hole.
        &|| flip(&tree().join("sparse"), 2 << 20),
        &|| truncate(&tree().join("etc/deep/large")),
        &|| fs::remove_file(tree().join("etc/other")).unwrap(),
        &|| fs::remove_dir_all(tree().join("etc/deep")).unwrap(),
        &|| fs::write(tree().join("etc/intruder"), "x").unwrap(),
        &|| {
            let mode = fs::Permissions::from_mode(0o4755);
            fs::set_permissions(tree().join("etc/small"), mode).unwrap();
        },
        &|| chown(tree().join("etc/small"), Some(7), None).unwrap(),
        &|| {
            fs::remove_file(tree().join("link")).unwrap();
            symlink("etc/shadow", tree().join("link")).unwrap();
        },
        &|| fs::remove_dir_all(tree()).unwrap(),
    ];
    for damage in damages {
        damage();
        damaged.goes_on();
        damaged.is_repaired(&Subject::Layer(damaged.layer(0)), Fault::Tree);
    }
    let whiteout = damaged.layer_path(1, "plain/link");
    assert_eq!(fs::symlink_metadata(&whiteout).unwrap().rdev(), 0);
    fs::remove_file(whiteout).unwrap();
    damaged.is_repaired(&Subject::Layer(damaged.layer(1)), Fault::Tree);
}

#[test]
fn privileged_a_tree_is_unpacked_again_from_the_pool_without_a_registry() {
    let damaged = Damaged::new(LayerForm::Pool, KeepBlobs::Auto);
    let op = damaged.fixture.store.ops().begin("test", &[]).unwrap();
    damaged
        .fixture
        .store
        .layers()
        .unpack(&op, &damaged.layer(0))
        .unwrap();
    op.finish().unwrap();
    assert_eq!(damaged.found(), []);
    flip(&damaged.layer_path(0, "plain/etc/deep/large"), 9);
    let layer = Subject::Layer(damaged.layer(0));
    assert_eq!(damaged.found(), [(layer.to_string(), Fault::Tree)]);
    assert_eq!(
        damaged.mend(&|| panic!("no registry is needed")),
        [Mended::Repaired]
    );
    assert_eq!(damaged.found(), []);
    // And the other way round.
    let key = ObjectKey::from(&ObjectId::of(&large()));
    flip(&damaged.content_path(&large()), 77);
    assert_eq!(
        damaged.found(),
        [(Subject::Content(key).to_string(), Fault::Damaged)]
    );
    assert_eq!(
        damaged.mend(&|| panic!("no registry is needed")),
        [Mended::Repaired]
    );
    assert_eq!(damaged.found(), []);
}

#[test]
fn privileged_damage_to_a_content_of_the_pool_is_found_and_repaired() {
    let damaged = Damaged::new(LayerForm::Pool, KeepBlobs::Auto);
    let content = large();
    let path = damaged.content_path(&content);
    let subject = Subject::Content(ObjectKey::from(&ObjectId::of(&content)));
    let both = damaged.check();
    assert!(both.is_empty());
    flip(&path, 12_345);
    let found = damaged.check();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].affects.len(), 1, "{found:?}");
    damaged.is_repaired(&subject, Fault::Damaged);
    truncate(&path);
    damaged.is_repaired(&subject, Fault::Damaged);
    fs::remove_file(&path).unwrap();
    damaged.goes_on();
    damaged.is_repaired(&subject, Fault::Missing);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    damaged.is_repaired(&subject, Fault::Mode);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o400);
    rustix::fs::removexattr(&path, "user.lamina.object").unwrap();
    damaged.is_repaired(&subject, Fault::Damaged);
    // A file with holes has no hash of its own: the layer that has it knows.
    let sparse = fs::read_dir(damaged.path("pool")).unwrap().flatten();
    let sparse = sparse.flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten());
    let sparse = sparse
        .map(|entry| entry.path())
        .find(|path| path.metadata().unwrap().len() == 3 << 20);
    let sparse = sparse.unwrap();
    for at in [(1 << 20) + 77, 2 << 20] {
        flip(&sparse, at);
        let found = damaged.check();
        assert!(matches!(found[0].subject, Subject::Content(_)), "{found:?}");
        let subject = found[0].subject.clone();
        damaged.is_repaired(&subject, Fault::Damaged);
    }
}

#[test]
fn privileged_damaged_blobs_and_documents_are_fetched_again() {
    let damaged = Damaged::new(LayerForm::Tree, KeepBlobs::Always);
    let image = damaged.images().find_reference(&damaged.name).unwrap();
    let blobs = [
        damaged.blob(0),
        image.manifest.digest.clone(),
        image.id.0.clone(),
    ];
    for digest in &blobs {
        let path = damaged.blob_path(digest);
        let subject = Subject::Blob(digest.clone());
        flip(&path, 20);
        damaged.is_repaired(&subject, Fault::Damaged);
        truncate(&path);
        damaged.is_repaired(&subject, Fault::Damaged);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        damaged.is_repaired(&subject, Fault::Mode);
    }
    for digest in &blobs[1..] {
        fs::remove_file(damaged.blob_path(digest)).unwrap();
        damaged.images().list().unwrap();
        damaged.is_repaired(&Subject::Blob(digest.clone()), Fault::Missing);
        garbage(&damaged.blob_path(digest));
        damaged.images().list().unwrap();
        damaged.is_repaired(&Subject::Blob(digest.clone()), Fault::Damaged);
    }
}

#[test]
fn privileged_names_are_restored_or_dropped() {
    let damaged = Damaged::new(LayerForm::Tree, KeepBlobs::Always);
    let file = fs::read_dir(damaged.path("refs"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let subject = Subject::Own(format!(
        "refs/{}",
        file.file_name().unwrap().to_str().unwrap()
    ));
    let good = fs::read(&file).unwrap();
    let index = damaged.path("oci/index.json");
    garbage(&file);
    damaged.images().list().unwrap();
    // The index of the OCI layout lists the image, because its blobs are here.
    damaged.is_repaired(&subject, Fault::Document);
    for (from, to) in [
        ("\"manifest\":", "\"manifesu\":"),
        ("\"size\":", "\"size\":1"),
    ] {
        let text = String::from_utf8(good.clone()).unwrap();
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        damaged.is_repaired(&subject, Fault::Document);
    }
    for name in ["oci/index.json", "oci/oci-layout"] {
        garbage(&damaged.path(name));
        damaged.is_repaired(&Subject::Own(name.to_owned()), Fault::Document);
    }
    // Nobody knows any more which name it was.
    garbage(&file);
    fs::write(&index, "{}").unwrap();
    let mended = damaged.mend(&|| Ok(client()));
    assert!(
        mended.iter().any(|one| matches!(one, Mended::Dropped(_))),
        "{mended:?}"
    );
    assert!(damaged.images().list().unwrap().is_empty());
    damaged.goes_on();
    damaged
        .images()
        .pull(&client(), &damaged.name, None, &Silent)
        .unwrap();
    assert_eq!(damaged.found(), []);
}

#[test]
fn privileged_without_a_registry_what_is_damaged_goes_and_the_next_pull_repairs_it() {
    let offline = || Err(FetchError::Cancelled);
    both_forms(|damaged| {
        let what = match damaged.form {
            LayerForm::Tree => damaged.layer_path(0, "plain/etc/deep/large"),
            LayerForm::Pool => damaged.content_path(&large()),
        };
        flip(&what, 5);
        let mended = damaged.mend(&offline);
        assert!(matches!(&mended[..], [Mended::Dropped(_)]), "{mended:?}");
        assert!(!what.exists());
        let found = damaged.found();
        assert!(found.iter().all(|(_, fault)| *fault == Fault::Missing) && !found.is_empty());
        damaged.goes_on();
        let pulled = damaged
            .images()
            .pull(&client(), &damaged.name, None, &Silent);
        assert!(pulled.unwrap().newer);
        assert_eq!(damaged.found(), []);
        let mended = damaged
            .images()
            .remove(&damaged.name.familiar(), false, &|_| Vec::new());
        mended.unwrap();
    });
    // A layer whose stream is lost keeps its tree: it still runs.
    let damaged = Damaged::new(LayerForm::Tree, KeepBlobs::Auto);
    flip(&damaged.layer_path(0, "split.zst"), 50);
    assert!(matches!(&damaged.mend(&offline)[..], [Mended::Dropped(_)]));
    assert!(damaged.layer_path(0, "plain/etc/small").exists());
    let layer = Subject::Layer(damaged.layer(0)).to_string();
    assert_eq!(damaged.found(), [(layer, Fault::Unverified)]);
    drop(damaged.registry);
}

#[test]
fn privileged_blobs_that_are_here_repair_layers_without_a_registry() {
    for form in [LayerForm::Tree, LayerForm::Pool] {
        let damaged = Damaged::new(form, KeepBlobs::Always);
        flip(&damaged.layer_path(0, "split.zst"), 50);
        fs::remove_dir_all(damaged.layer_path(1, "")).unwrap();
        let mended = damaged.mend(&|| panic!("no registry is needed"));
        assert_eq!(
            mended,
            [Mended::Repaired],
            "a layer with its blob is not missing"
        );
        assert_eq!(damaged.found(), []);
        let blob = damaged.blob_path(&damaged.blob(0));
        assert!(blob.exists(), "a blob that was kept is kept");
    }
}

/// Every file whose bytes say something, with how many there are.
fn files(damaged: &Damaged) -> Vec<(PathBuf, u64)> {
    let mut todo: Vec<PathBuf> = ["layers", "pool", "oci/blobs"]
        .map(|name| damaged.path(name))
        .into();
    let mut files = Vec::new();
    while let Some(path) = todo.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        if stat.is_dir() {
            todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if stat.is_file() && stat.len() > 0 {
            files.push((path, stat.len()));
        }
    }
    files.sort();
    files
}

#[test]
fn privileged_any_flipped_bit_is_found() {
    for form in [LayerForm::Tree, LayerForm::Pool] {
        let damaged = Damaged::new(form, KeepBlobs::Always);
        let files = files(&damaged);
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for round in 0..120_usize {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let (path, length) = &files[round % files.len()];
            let at = random % length;
            let before = fs::metadata(path).unwrap();
            flip(path, at);
            let found = damaged.found();
            let is_stream = path.ends_with("split.zst");
            // A compressed stream has bits that mean nothing: then the tar that is made of it is
            // what it was, which the check has made sure of.
            assert!(!found.is_empty() || is_stream, "{} at {at}", path.display());
            flip(path, at);
            assert_eq!(fs::metadata(path).unwrap().len(), before.len());
        }
        assert_eq!(damaged.found(), []);
    }
}
