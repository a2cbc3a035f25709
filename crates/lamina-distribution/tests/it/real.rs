//! Debian's docker-registry: someone else's idea of the protocol, with passwords and TLS.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use lamina_distribution::{Client, ClientConfig, DockerConfigFiles, FetchError, RegistryConfig};
use lamina_testkit::registry::{MemoryImage, sha256};
use lamina_types::oci::media;
use lamina_types::{ErrorKind, Reference};

use crate::support::{config, image};

/// A running docker-registry; killed when dropped.
struct DockerRegistry {
    process: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn have(program: &str) -> bool {
    let found = Path::new("/usr/bin").join(program).exists();
    if !found {
        eprintln!("SKIP: {program} is not installed");
    }
    found
}

impl DockerRegistry {
    /// Starts one with these lines in the `http:` and top-level parts of its configuration.
    fn start(dir: tempfile::TempDir, http: &str, top: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let storage = dir.path().join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n  secret: x\n{http}{top}",
            storage.display()
        );
        let file = dir.path().join("config.yml");
        File::create(&file)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let process = Command::new("/usr/bin/docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "docker-registry starts"
            );
            thread::sleep(Duration::from_millis(20));
        }
        Self { process, port, dir }
    }

    fn domain(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends one request by hand; returns the status and the `Location`.
    fn send(&self, head: &str, authorization: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "{head}Host: {}\r\nConnection: close\r\nContent-Length: {}\r\n{authorization}\r\n",
            self.domain(),
            body.len()
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let location = answer
            .lines()
            .find_map(|line| line.strip_prefix("Location: "));
        (status, location.unwrap_or_default().to_owned())
    }

    fn push_blob(&self, authorization: &str, bytes: &[u8]) {
        let post = "POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\n";
        let (status, location) = self.send(post, authorization, b"");
        assert_eq!(status, 202);
        let path = location
            .split_once("//")
            .unwrap()
            .1
            .split_once('/')
            .unwrap()
            .1;
        let put = format!("PUT /{path}&digest={} HTTP/1.1\r\n", sha256(bytes));
        assert_eq!(self.send(&put, authorization, bytes).0, 201);
    }

    fn push(&self, image: &MemoryImage, authorization: &str) {
        self.push_blob(authorization, &image.config);
        for (_, layer) in &image.layers {
            self.push_blob(authorization, layer);
        }
        let head = format!(
            "PUT /v2/team/app/manifests/v1 HTTP/1.1\r\nContent-Type: {}\r\n",
            media::OCI_MANIFEST
        );
        assert_eq!(
            self.send(&head, authorization, &image.manifest_bytes()).0,
            201
        );
    }

    fn reference(&self) -> Reference {
        format!("{}/team/app:v1", self.domain()).parse().unwrap()
    }
}

fn settings() -> ClientConfig {
    let mut config = config();
    config.timeouts = lamina_distribution::Timeouts::default();
    config
}

#[test]
fn pulls_what_was_pushed_and_resumes() {
    if !have("docker-registry") {
        return;
    }
    let registry = DockerRegistry::start(tempfile::tempdir().unwrap(), "", "");
    let image = image(3_000_000);
    registry.push(&image, "");
    let client = Client::new(settings()).unwrap();
    let resolved = client.resolve(&registry.reference()).unwrap();
    assert_eq!(resolved.bytes, image.manifest_bytes());
    let layer = &image.manifest().layers[0];
    let bytes = client
        .blob_bytes(&registry.reference(), layer, 1 << 30)
        .unwrap();
    assert!(bytes == image.layers[0].1);
    let mut rest = Vec::new();
    let mut stream = client
        .blob(&registry.reference(), layer, 2_999_000)
        .unwrap();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, image.layers[0].1[2_999_000..]);
    let missing = registry.reference().with_tag("v9").unwrap();
    let error = client.resolve(&missing).unwrap_err();
    assert!(
        matches!(error, FetchError::ManifestUnknown { .. }),
        "{error}"
    );
    assert_eq!(client.list_tags(&missing, 5).unwrap(), ["v1"]);
}

#[test]
fn passwords_from_a_docker_config_file_open_it() {
    if !(have("docker-registry") && have("htpasswd")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let passwords = dir.path().join("htpasswd");
    let made = Command::new("/usr/bin/htpasswd")
        .args(["-Bbc", passwords.to_str().unwrap(), "user", "pa:ss"])
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let auth = format!(
        "auth: {{htpasswd: {{realm: r, path: {}}}}}\n",
        passwords.display()
    );
    let registry = DockerRegistry::start(dir, "", &auth);
    let image = image(100_000);
    let pair = BASE64.encode(b"user:pa:ss");
    registry.push(&image, &format!("Authorization: Basic {pair}\r\n"));

    let anonymous = Client::new(settings()).unwrap();
    let error = anonymous.resolve(&registry.reference()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");

    let path = registry.dir.path().join("config.json");
    let with = |pair: &str| {
        let text = format!(
            r#"{{"auths":{{"{}":{{"auth":"{pair}"}}}}}}"#,
            registry.domain()
        );
        File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let mut settings = settings();
        settings.credentials = Arc::new(DockerConfigFiles::new(vec![path.clone()]));
        Client::new(settings).unwrap()
    };
    let wrong = with(&BASE64.encode(b"user:wrong"));
    let error = wrong.resolve(&registry.reference()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    let client = with(&pair);
    client.resolve(&registry.reference()).unwrap();
    let layer = &image.manifest().layers[0];
    let bytes = client
        .blob_bytes(&registry.reference(), layer, 1 << 20)
        .unwrap();
    assert!(bytes == image.layers[0].1);
}

/// Makes a certificate authority and a certificate of it for `name` in `dir`.
fn certificates(dir: &Path, name: &str, days: &str) {
    let openssl = |arguments: &str| {
        let status = Command::new("/usr/bin/openssl")
            .args(arguments.split(' '))
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "openssl {arguments}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.crt -days 30 -subj /CN=lamina-test-ca"
    ));
    openssl(&format!(
        "req {key} -keyout server.key -out server.csr -subj /CN={name}"
    ));
    let mut extensions = File::create(dir.join("ext")).unwrap();
    writeln!(
        extensions,
        "subjectAltName={name}\nbasicConstraints=CA:FALSE"
    )
    .unwrap();
    openssl(&format!(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt \
         -days {days} -extfile ext"
    ));
}

fn tls_registry(name: &str, days: &str) -> DockerRegistry {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path(), name, days);
    let file = |name: &str| dir.path().join(name).display().to_string();
    let http = format!(
        "  tls: {{certificate: {}, key: {}}}\n",
        file("server.crt"),
        file("server.key")
    );
    DockerRegistry::start(dir, &http, "")
}

fn ask(registry: &DockerRegistry, settings: ClientConfig) -> FetchError {
    let client = Client::new(settings).unwrap();
    client.resolve(&registry.reference()).unwrap_err()
}

#[test]
fn https_needs_a_certificate_that_we_trust() {
    if !(have("docker-registry") && have("openssl")) {
        return;
    }
    let registry = tls_registry("IP:127.0.0.1", "30");
    let ca = registry.dir.path().join("ca.crt");
    // Empty, so "manifest unknown" is what a trusted connection brings.
    let trusted = |error: &FetchError| {
        matches!(
            error,
            FetchError::ManifestUnknown { .. } | FetchError::RepositoryUnknown { .. }
        )
    };
    let error = ask(&registry, settings());
    assert!(matches!(error, FetchError::Tls { .. }), "{error}");

    let everywhere = ClientConfig {
        ca_files: vec![ca.clone()],
        ..settings()
    };
    let error = ask(&registry, everywhere.clone());
    assert!(trusted(&error), "{error}");

    let mut for_host = settings();
    let table = RegistryConfig {
        ca_files: vec![ca.clone()],
        ..RegistryConfig::default()
    };
    for_host.registries.insert(registry.domain(), table);
    let error = ask(&registry, for_host);
    assert!(trusted(&error), "{error}");

    let folder = registry.dir.path().join("certs.d").join(registry.domain());
    fs::create_dir_all(&folder).unwrap();
    fs::copy(&ca, folder.join("ca.crt")).unwrap();
    let certs_d = ClientConfig {
        certs_dirs: vec![registry.dir.path().join("certs.d")],
        ..settings()
    };
    let error = ask(&registry, certs_d.clone());
    assert!(trusted(&error), "{error}");
    File::create(folder.join("ca.crt"))
        .unwrap()
        .write_all(b"none")
        .unwrap();
    let error = ask(&registry, certs_d);
    assert!(matches!(error, FetchError::Certificates { .. }), "{error}");

    let insecure = ClientConfig {
        tls_verify: Some(false),
        ..settings()
    };
    let error = ask(&registry, insecure);
    assert!(trusted(&error), "{error}");

    for (name, days) in [("IP:127.0.0.9", "30"), ("IP:127.0.0.1", "-1")] {
        let registry = tls_registry(name, days);
        let settings = ClientConfig {
            ca_files: vec![registry.dir.path().join("ca.crt")],
            ..settings()
        };
        let error = ask(&registry, settings);
        assert!(
            matches!(error, FetchError::Tls { .. }),
            "{name} {days}: {error}"
        );
    }
}
