//! What was planted between two images is told, with its bytes and the instruction that did it.

use lamina_image::{Amount, ChangeClass, Difference, LayerForm};
use serde_json::{Value, json};

use crate::explain::{Entry, layer, load};
use crate::support::{Fixture, noise};

type Steps = Vec<(&'static str, Option<Vec<u8>>)>;

fn base() -> Vec<u8> {
    layer(&[
        Entry::File("etc/conf", &noise(1, 20_000), 0),
        Entry::File("opt/big", &noise(2, 50_000), 0),
        Entry::Link("opt/big-too", "opt/big"),
        Entry::File("srv/owned", &noise(3, 9000), 0),
        Entry::File("srv/same", &noise(4, 4000), 0),
        Entry::At("srv/touched", &noise(5, 3000), 1),
        Entry::File("usr/gone", &noise(6, 6000), 0),
        Entry::File("var/dir/one", &noise(7, 1000), 0),
        Entry::File("var/dir/two", &noise(8, 1500), 0),
        Entry::Symlink("var/link", "dir"),
        Entry::File("var/turned", &noise(9, 800), 0),
    ])
}

fn older() -> Steps {
    vec![
        ("COPY . /", Some(base())),
        (
            "RUN old",
            Some(layer(&[Entry::File("old/only", &noise(10, 7000), 0)])),
        ),
    ]
}

fn newer() -> Steps {
    vec![
        ("COPY . /", Some(base())),
        ("ENV A=b", None),
        (
            "RUN chown",
            Some(layer(&[
                Entry::File("srv/owned", &noise(3, 9000), 7),
                Entry::At("srv/touched", &noise(5, 3000), 2),
            ])),
        ),
        (
            "RUN edit",
            Some(layer(&[
                Entry::File("etc/conf", &noise(11, 21_000), 0),
                Entry::File("srv/same", &noise(4, 4000), 0),
                Entry::Symlink("var/link", "elsewhere"),
                Entry::File("var/turned/inside", &noise(12, 600), 0),
            ])),
        ),
        (
            "RUN rm",
            Some(layer(&[
                Entry::File("opt/.wh.big", b"", 0),
                Entry::File("usr/.wh.gone", b"", 0),
                Entry::File("var/dir/.wh..wh..opq", b"", 0),
                Entry::File("var/dir/two", &noise(8, 1500), 0),
            ])),
        ),
        (
            "RUN make",
            Some(layer(&[
                Entry::File("new/file", &noise(13, 5000), 0),
                Entry::Link("new/link", "new/file"),
            ])),
        ),
    ]
}

fn told(difference: &Difference) -> Vec<String> {
    let changes = difference.changes.iter().map(|one| {
        let step = one.step.map_or_else(String::new, |step| format!(" {step}"));
        format!("{} {} {}{step}", one.class.name(), one.path, one.bytes)
    });
    changes.collect()
}

#[test]
fn privileged_every_planted_difference_is_told_with_its_step() {
    for form in [LayerForm::Tree, LayerForm::Pool] {
        let fixture = Fixture::new();
        let images = fixture.images().with_form(form);
        let was = json!({ "Cmd": ["sh"], "Env": ["A=a"], "User": "me" });
        let is = json!({ "Cmd": ["sh"], "Env": ["A=b"], "WorkingDir": "/srv" });
        let one = load(&images, "app:1", &older(), &was);
        let two = load(&images, "app:2", &newer(), &is);
        let difference = images.difference(&one, &two).unwrap();
        let expected = [
            "changed /etc/conf 21000 4",
            "added /new 0 6",
            "added /new/file 5000 6",
            "added /new/link 0 6",
            "deleted /old 0",
            "deleted /old/only 7000",
            "deleted /opt/big 0 5",
            "metadata /srv/owned 9000 3",
            "time /srv/touched 3000 3",
            "deleted /usr/gone 6000 5",
            "deleted /var/dir/one 1000 5",
            "changed /var/link 0 4",
            "changed /var/turned 0 4",
            "added /var/turned/inside 600 4",
        ];
        assert_eq!(told(&difference), expected, "{form:?}");
        assert_eq!(difference.common, 1);
        let (before, after) = (102_300, 94_100);
        assert_eq!((difference.before, difference.after), (before, after));
        // What was turned into a folder and what was edited were there with their old bytes.
        let gone = 7000 + 6000 + 1000;
        assert_eq!(before + 5600 + (21_000 - 20_000 - 800) - gone, after);

        let amount = |step: usize, class| difference.steps[step - 1].amount(class);
        let of = |files, bytes| Amount { files, bytes };
        assert_eq!(amount(2, ChangeClass::Added), of(0, 0));
        assert_eq!(amount(3, ChangeClass::Metadata), of(1, 9000));
        assert_eq!(amount(3, ChangeClass::Time), of(1, 3000));
        assert_eq!(amount(4, ChangeClass::Changed), of(3, 21_000));
        assert_eq!(amount(5, ChangeClass::Deleted), of(3, 7000));
        assert_eq!(amount(6, ChangeClass::Added), of(3, 5000));
        assert_eq!(difference.absent, of(2, 7000));
        let owner = &difference.changes[7];
        let owners = [&owner.before, &owner.after].map(|state| state.as_ref().unwrap().owner);
        assert_eq!(owners, [(0, 0), (7, 0)]);

        let settings = difference.settings.iter();
        let settings: Vec<_> = settings
            .map(|one| (one.name.as_str(), one.before.clone(), one.after.clone()))
            .collect();
        let expected = [
            ("Env", json!(["A=a"]), json!(["A=b"])),
            ("User", json!("me"), Value::Null),
            ("WorkingDir", Value::Null, json!("/srv")),
        ];
        assert_eq!(settings, expected);
    }
}

#[test]
fn privileged_there_and_back_is_the_opposite_and_an_image_is_like_itself() {
    let fixture = Fixture::new();
    let images = fixture.images();
    let one = load(&images, "app:1", &older(), &json!({}));
    let two = load(&images, "app:2", &newer(), &json!({}));
    let there = images.difference(&one, &two).unwrap();
    let back = images.difference(&two, &one).unwrap();
    let opposite = |class| match class {
        ChangeClass::Added => ChangeClass::Deleted,
        ChangeClass::Deleted => ChangeClass::Added,
        same => same,
    };
    let there = there.changes.iter();
    let there: Vec<_> = there
        .map(|one| (opposite(one.class), &one.path, &one.before, &one.after))
        .collect();
    let back = back.changes.iter();
    let back: Vec<_> = back
        .map(|one| (one.class, &one.path, &one.after, &one.before))
        .collect();
    assert_eq!(there, back);

    let none = images.difference(&two, &two).unwrap();
    assert_eq!(
        (none.changes.as_slice(), none.settings.as_slice()),
        (&[][..], &[][..])
    );
    assert_eq!((none.before, none.common), (none.after, 5));
    // The same tree in other layers is no difference either.
    let flat: Steps = vec![("COPY . /", Some(base())), ("RUN", Some(base()))];
    let single: Steps = vec![("COPY . /", Some(base()))];
    let flat = load(&images, "flat:1", &flat, &json!({}));
    let single = load(&images, "single:1", &single, &json!({}));
    let none = images.difference(&flat, &single).unwrap();
    assert_eq!(none.changes, []);
}
