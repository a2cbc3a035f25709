//! Every way in leaves a layer's split stream, and the tar comes back from it.

use lamina_image::{ImportOptions, LayerForm, LoadSource, Silent};
use lamina_layer::ObjectId;
use lamina_store::CollectOptions;
use lamina_testkit::registry::{MemoryImage, Registry};
use lamina_types::DiffId;

use crate::support::{Fixture, client, gzip, gzip_image, noise, serve, tar_of};

fn tars() -> Vec<Vec<u8>> {
    let shared = noise(9, 50_000);
    vec![
        tar_of(&[
            ("small", b"small"),
            ("large", &noise(1, 3 << 20)),
            ("shared", &shared),
            ("twice", &noise(2, 5000)),
            ("twice", &noise(3, 5000)),
        ]),
        tar_of(&[("copy", &shared), ("zero", &vec![0; 10 << 20])]),
    ]
}

fn diff_id(tar: &[u8]) -> DiffId {
    DiffId(crate::support::digest_of(tar).parse().unwrap())
}

fn is_rebuilt(fixture: &Fixture, tar: &[u8]) {
    let mut again = Vec::new();
    let layers = fixture.store.layers();
    layers.rebuild(&diff_id(tar), &mut again).unwrap();
    assert!(again == tar);
}

#[test]
fn privileged_every_way_in_leaves_what_the_tar_is_made_of_again() {
    let tars = tars();
    let registry = Registry::start();
    let reference = serve(&registry, "app", &gzip_image(&tars));
    for form in [LayerForm::Tree, LayerForm::Pool] {
        let fixture = Fixture::new();
        let images = fixture.images().with_form(form);
        images.pull(&client(), &reference, None, &Silent).unwrap();
        for tar in &tars {
            is_rebuilt(&fixture, tar);
        }
        let pooled = fixture.store.layers().get(&diff_id(&tars[0])).unwrap();
        assert_eq!(pooled.unwrap().info.pooled, form == LayerForm::Pool);

        let fixture = Fixture::new();
        let images = fixture.images().with_form(form);
        let options = ImportOptions::default();
        images
            .import(&gzip(&tars[0])[..], &options, &Silent)
            .unwrap();
        is_rebuilt(&fixture, &tars[0]);

        let fixture = Fixture::new();
        let images = fixture.images().with_form(form);
        let image = MemoryImage::of_tars(tars.clone());
        let manifest = br#"[{"Config":"config.json","Layers":["0.tar","1.tar"]}]"#;
        let archive = tar_of(&[
            ("manifest.json", manifest),
            ("config.json", &image.config),
            ("0.tar", &tars[0]),
            ("1.tar", &tars[1]),
        ]);
        let source = LoadSource::Stream(Box::new(std::io::Cursor::new(archive)));
        images.load(source, None, &Silent).unwrap();
        for tar in &tars {
            is_rebuilt(&fixture, tar);
        }
    }
}

#[test]
fn privileged_a_content_that_two_layers_have_is_pooled_once_and_held_by_either() {
    let tars = tars();
    let registry = Registry::start();
    let fixture = Fixture::new();
    let images = fixture.images().with_form(LayerForm::Pool);
    let references: Vec<_> = tars
        .iter()
        .enumerate()
        .map(|(n, tar)| {
            let name = format!("app{n}");
            let reference = serve(&registry, &name, &gzip_image(std::slice::from_ref(tar)));
            images.pull(&client(), &reference, None, &Silent).unwrap();
            reference
        })
        .collect();
    let pool = fixture.store.pool();
    let shared = ObjectId::of(&noise(9, 50_000));
    let alone = ObjectId::of(&noise(1, 3 << 20));
    assert!(pool.open(&shared).unwrap().is_some() && pool.open(&alone).unwrap().is_some());
    let name = references[0].familiar();
    images.remove(&name, false, &|_| Vec::new()).unwrap();
    fixture.store.collect(&CollectOptions::default()).unwrap();
    assert!(pool.open(&alone).unwrap().is_none());
    is_rebuilt(&fixture, &tars[1]);
}
