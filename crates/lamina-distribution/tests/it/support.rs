//! What the tests share.

use std::time::Duration;

use lamina_distribution::{Client, ClientConfig, RetryPolicy, Timeouts};
use lamina_testkit::registry::{MemoryImage, Registry};
use lamina_types::Reference;
use lamina_types::oci::Descriptor;

/// Short times, no files of the host.
pub(crate) fn config() -> ClientConfig {
    ClientConfig {
        certs_dirs: Vec::new(),
        timeouts: Timeouts {
            connect: Duration::from_secs(2),
            response: Duration::from_secs(1),
            idle: Duration::from_millis(400),
            document: Duration::from_secs(2),
            blob: Duration::from_secs(20),
            commit: Duration::from_secs(1),
        },
        retry: RetryPolicy {
            attempts: 4,
            base: Duration::from_millis(5),
            cap: Duration::from_millis(40),
            retry_after_cap: Duration::from_secs(2),
        },
        ..ClientConfig::default()
    }
}

pub(crate) fn client() -> Client {
    Client::new(config()).unwrap()
}

/// Bytes that repeat nowhere near, so that a wrong offset shows.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    lamina_testkit::noise(0x9e37_79b9_7f4a_7c15, length)
}

/// An image with one layer of `length` bytes.
pub(crate) fn image(length: usize) -> MemoryImage {
    MemoryImage::of_tars(vec![noise(length)])
}

pub(crate) fn reference(registry: &Registry, rest: &str) -> Reference {
    format!("{}/{rest}", registry.domain()).parse().unwrap()
}

/// A registry with one image under `team/app:v1`, and the descriptor of its layer.
pub(crate) fn with_image(length: usize) -> (Registry, Reference, Descriptor, Vec<u8>) {
    let registry = Registry::start();
    let image = image(length);
    registry.serve_image("team/app", "v1", &image);
    let reference = reference(&registry, "team/app:v1");
    let layer = image.manifest().layers[0].clone();
    let bytes = image.layers[0].1.clone();
    (registry, reference, layer, bytes)
}
