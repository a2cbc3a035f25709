//! Opening, making and refusing a store.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use lamina_store::{OpenError, Store};
use lamina_types::ErrorKind;

use crate::{Host, write_file};

#[test]
fn a_new_store_has_its_layout_and_opens_again() {
    let host = Host::new();
    let root = host.root().join("not/yet/there");
    let store = Store::open(&root).unwrap();
    assert!(store.recovery().errors.is_empty());
    let text = fs::read_to_string(root.join("oci/oci-layout")).unwrap();
    assert_eq!(text, r#"{"imageLayoutVersion":"1.0.0"}"#);
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(root.join("oci/index.json")).unwrap()).unwrap();
    assert_eq!(index["schemaVersion"], 2);
    let mode = fs::metadata(root.join("layers"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700, "nobody else may walk into layers");
    drop(store);
    Store::open(&root).unwrap();
}

#[test]
fn many_processes_may_make_it_at_once() {
    let host = Host::new();
    let root = host.root().join("store");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| Store::open(&root).unwrap());
        }
    });
}

#[test]
fn another_version_or_an_unknown_feature_is_refused() {
    let host = Host::new();
    host.open();
    let meta = host.root().join("meta.json");
    write_file(&meta, r#"{"version":2}"#);
    let error = Store::open(host.root()).unwrap_err();
    assert!(
        matches!(error, OpenError::Version { found: 2, .. }),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    write_file(&meta, r#"{"version":1,"incompat":["pool-v9"],"new":1}"#);
    let error = Store::open(host.root()).unwrap_err();
    assert!(error.to_string().contains("pool-v9"), "{error}");

    write_file(&meta, r#"{"version":1,"compat":["anything"]}"#);
    Store::open(host.root()).unwrap();

    write_file(&meta, "");
    let error = Store::open(host.root()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);
}
