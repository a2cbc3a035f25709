//! Who is shown which credentials: the logs of all servers involved are the proof.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use lamina_distribution::{
    Client, Credential, Credentials, CredentialsError, Document, FetchError, Mirror,
    RegistryConfig, Secret,
};
use lamina_testkit::registry::{MemoryImage, Registry, Reply};
use lamina_types::Reference;
use lamina_types::oci::media;

use crate::credentials::{BASIC, guard, password, resolve, with};
use crate::support::{config, image, reference, with_image};

#[test]
fn realms_elsewhere_get_nothing() {
    let (registry, tagged, ..) = with_image(10);
    let evil = Registry::start();
    evil.script(|_| Some(Reply::ok("{\"token\":\"evil\"}")));
    let port = evil.port();
    for realm in [
        format!("http://127.0.0.1:{port}/token"),
        format!("http://localhost:{port}/token"),
        format!("http://user:pw@127.0.0.1:{}/token", registry.port()),
        format!(
            "http://127.0.0.1:{}@127.0.0.1:{port}/token",
            registry.port()
        ),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[fe80::1]/token".to_owned(),
        "https://192.0.2.1/token".to_owned(),
        "ftp://127.0.0.1/token".to_owned(),
        "/token".to_owned(),
        String::new(),
    ] {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        registry.script(move |request| guard(request, "never", &challenge));
        for credential in [password(), Credential::IdentityToken(Secret::new("id"))] {
            let error = resolve(with(credential), &tagged).unwrap_err();
            let refused = matches!(
                error,
                FetchError::Realm { .. } | FetchError::Unauthorized { .. }
            );
            assert!(refused, "{realm}: {error}");
        }
    }
    assert_eq!(evil.requests(), [], "nothing was even asked there");
    assert_eq!(registry.authorizations(), Vec::<String>::new());

    // The control: the same realm, once the user has named it.
    let challenge = format!("Bearer realm=\"http://127.0.0.1:{port}/token\"");
    registry.script(move |request| guard(request, "Bearer evil", &challenge));
    let mut settings = with(password());
    let table = RegistryConfig {
        token_servers: vec![evil.domain()],
        ..RegistryConfig::default()
    };
    settings.registries.insert(registry.domain(), table);
    resolve(settings, &tagged).unwrap();
    assert_eq!(evil.authorizations(), [BASIC]);
}

#[test]
fn a_verified_registry_has_no_plain_token_server() {
    // The name is not loopback's, so https is a must; nothing answers there but plain http.
    let (registry, ..) = with_image(10);
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    File::create(&hosts)
        .unwrap()
        .write_all(b"127.0.0.1 registry.test\n")
        .unwrap();
    let mut settings = with(password());
    settings.dns.hosts = hosts;
    let tagged: Reference = format!("registry.test:{}/team/app:v1", registry.port())
        .parse()
        .unwrap();
    let error = resolve(settings.clone(), &tagged).unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Tls { .. } | FetchError::Interrupted { .. }
        ),
        "{error}"
    );
    assert!(
        registry
            .requests()
            .iter()
            .all(|request| request.method != "GET")
    );
    // The control: declared insecure, plain http is used.
    settings.tls_verify = Some(false);
    resolve(settings, &tagged).unwrap();
}

#[test]
fn redirects_to_another_origin_lose_the_authorization() {
    let (registry, tagged, layer, bytes) = with_image(50_000);
    let other = Registry::start();
    other.serve_blob(bytes.clone());
    let blob = format!("/v2/any/blobs/{}", layer.digest);
    for target in [
        format!("{}{blob}", other.url()),
        format!("http://localhost:{}{blob}", other.port()),
        format!("//{}{blob}", other.domain()),
    ] {
        registry.script(move |request| {
            let refused = guard(request, BASIC, "Basic realm=\"r\"");
            let moved = || {
                request
                    .path
                    .contains("/blobs/")
                    .then(|| Reply::redirect(307, &target))
            };
            refused.or_else(moved)
        });
        let client = Client::new(with(password())).unwrap();
        assert_eq!(client.blob_bytes(&tagged, &layer, 1 << 20).unwrap(), bytes);
    }
    assert_eq!(other.count("/blobs/"), 3);
    assert_eq!(other.authorizations(), Vec::<String>::new());
}

#[test]
fn authorization_does_not_come_back_after_a_detour() {
    let (registry, tagged, layer, _) = with_image(10);
    let other = Registry::start();
    let back = format!("{}/back", registry.url());
    other.script(move |_| Some(Reply::redirect(302, &back)));
    let away = format!("{}/away", other.url());
    registry.script(move |request| match request.path.as_str() {
        "/v2/" => None,
        "/back" => Some(Reply::status(404)),
        path if path.contains("/blobs/") => {
            guard(request, BASIC, "Basic realm=\"r\"").or_else(|| Some(Reply::redirect(307, &away)))
        }
        _ => None,
    });
    let client = Client::new(with(password())).unwrap();
    assert!(client.blob(&tagged, &layer, 0).is_err());
    let requests = registry.requests();
    let back = requests
        .iter()
        .find(|request| request.path == "/back")
        .unwrap();
    assert_eq!(back.header("authorization"), None);
    assert_eq!(other.authorizations(), Vec::<String>::new());
}

#[test]
fn a_challenge_from_where_a_redirect_leads_is_not_answered() {
    let (registry, tagged, layer, _) = with_image(10);
    let evil = Registry::start();
    let realm = format!("Bearer realm=\"{}/token\"", evil.url());
    evil.script(move |_| Some(Reply::challenge(&realm)));
    let away = evil.url();
    registry.script(move |request| {
        request
            .path
            .contains("/blobs/")
            .then(|| Reply::redirect(307, &away))
    });
    let client = Client::new(with(password())).unwrap();
    let error = client.blob(&tagged, &layer, 0).unwrap_err();
    assert!(matches!(error, FetchError::Redirect { .. }), "{error}");
    assert_eq!(evil.authorizations(), Vec::<String>::new());
    assert_eq!(evil.count("/token"), 0);
}

#[test]
fn urls_in_a_manifest_are_never_followed() {
    let registry = Registry::start();
    let evil = Registry::start();
    let honest = image(10);
    registry.serve_image("a/b", "honest", &honest);
    let mut manifest: serde_json::Value = serde_json::from_slice(&honest.manifest_bytes()).unwrap();
    manifest["layers"][0]["urls"] = serde_json::json!([format!("{}/layer", evil.url())]);
    registry.serve_manifest(
        "a/b",
        "v1",
        media::OCI_MANIFEST,
        manifest.to_string().as_bytes(),
    );
    let client = Client::new(with(password())).unwrap();
    let tagged = reference(&registry, "a/b:v1");
    let Document::Manifest(manifest) = client.resolve(&tagged).unwrap().document else {
        panic!("a manifest");
    };
    client
        .blob_bytes(&tagged, &manifest.layers[0], 1 << 20)
        .unwrap();
    assert_eq!(evil.requests(), []);
}

#[test]
fn mirrors_get_their_own_credentials_only() {
    struct ByName(String);
    impl Credentials for ByName {
        fn lookup(&self, name: &str, _: &str) -> Result<Option<Credential>, CredentialsError> {
            Ok((name == self.0).then(password))
        }
    }
    let (registry, tagged, ..) = with_image(10);
    let mirror = Registry::start();
    mirror.script(|_| Some(Reply::challenge("Basic realm=\"r\"")));
    registry.script(|request| guard(request, BASIC, "Basic realm=\"r\""));
    let mut settings = config();
    settings.credentials = Arc::new(ByName(registry.domain()));
    let table = RegistryConfig {
        mirrors: vec![Mirror {
            location: mirror.domain(),
            ..Mirror::default()
        }],
        ..RegistryConfig::default()
    };
    settings.registries.insert(registry.domain(), table);
    resolve(settings, &tagged).unwrap();
    assert!(mirror.count("/manifests/") > 0);
    assert_eq!(mirror.authorizations(), Vec::<String>::new());
    assert!(registry.authorizations().contains(&BASIC.to_owned()));
}

#[test]
fn a_token_server_that_redirects_elsewhere_loses_the_password() {
    let (registry, tagged, ..) = with_image(10);
    let evil = Registry::start();
    evil.script(|_| Some(Reply::ok("{\"token\":\"t\"}")));
    let away = format!("{}/token", evil.url());
    let realm = format!("Bearer realm=\"{}/token\"", registry.url());
    registry.script(move |request| match request.path.starts_with("/token") {
        true => Some(Reply::redirect(307, &away)),
        false => guard(request, "Bearer t", &realm),
    });
    resolve(with(password()), &tagged).unwrap();
    assert_eq!(evil.authorizations(), Vec::<String>::new());
    let error = resolve(with(Credential::IdentityToken(Secret::new("id"))), &tagged).unwrap_err();
    assert!(matches!(error, FetchError::Status { .. }), "{error}");
    assert!(
        evil.requests()
            .iter()
            .all(|request| request.body.is_empty())
    );
}

#[test]
fn an_image_in_memory_names_its_layers() {
    // Guards the test kit: the leak tests above would pass on an image without layers.
    let image: MemoryImage = image(10);
    assert_eq!(image.manifest().layers.len(), 1);
}
