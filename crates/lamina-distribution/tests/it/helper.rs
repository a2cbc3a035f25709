//! Credential helpers that hang, flood, fail and leak. They are scripts found by PATH, so the
//! parent of all tests' environment is left alone and each script has a name of its own.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lamina_distribution::{
    Credential, Credentials as _, CredentialsError, DockerConfigFiles, Kept, LoginFile, Secret,
};

/// A folder of PATH that a test run as root may write to.
const BIN: &str = "/usr/local/bin";

struct Helper {
    script: PathBuf,
    dir: tempfile::TempDir,
    name: String,
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.script);
    }
}

impl Helper {
    /// Installs `docker-credential-NAME`; `None` where that is not permitted.
    fn install(test: &str, body: &str) -> Option<Self> {
        let name = format!("lamina-{test}-{}", std::process::id());
        let script = PathBuf::from(BIN).join(format!("docker-credential-{name}"));
        let Ok(mut file) = File::create(&script) else {
            eprintln!("SKIP: cannot write to {BIN}");
            return None;
        };
        writeln!(file, "#!/bin/sh\n{body}").unwrap();
        drop(file);
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        Some(Self { script, dir, name })
    }

    fn lookup(&self, registry: &str) -> Result<Option<Credential>, CredentialsError> {
        let path = self.dir.path().join("config.json");
        let text = format!(r#"{{"credHelpers":{{"{registry}":"{}"}}}}"#, self.name);
        File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let mut files = DockerConfigFiles::new(vec![path]);
        files.helper_timeout = Duration::from_millis(700);
        files.lookup(registry, "a")
    }
}

#[test]
fn privileged_helpers_are_asked_by_name_and_believed_when_they_answer() {
    let body = r#"read -r server || :; echo "{\"Username\":\"$1-$server\",\"Secret\":\"s\"}""#;
    let Some(helper) = Helper::install("good", body) else {
        return;
    };
    for (registry, server) in [
        ("r.test:5000", "get-r.test:5000"),
        ("docker.io", "get-https://index.docker.io/v1/"),
    ] {
        // Docker Hub has its own key in the file.
        let found = helper.lookup(registry).unwrap();
        let Some(Credential::Password { username, .. }) = found else {
            panic!("{registry}: {found:?}");
        };
        assert_eq!(username, server);
    }
    let body = r#"echo '{"Username":"<token>","Secret":"s"}'"#;
    let Some(helper) = Helper::install("token", body) else {
        return;
    };
    assert!(matches!(
        helper.lookup("r.test").unwrap(),
        Some(Credential::IdentityToken(_))
    ));
    let body = "echo 'credentials not found in native keychain'; exit 1";
    let Some(helper) = Helper::install("none", body) else {
        return;
    };
    assert_eq!(helper.lookup("r.test").unwrap(), None);
}

#[test]
fn privileged_helpers_that_misbehave_are_bounded_and_redacted() {
    for (test, body, expected) in [
        (
            "fails",
            "echo topsecret; echo topsecret >&2; exit 3",
            "exit status: 3",
        ),
        (
            "floods",
            "yes topsecret | head -c 10000000",
            "too much output",
        ),
        ("garbles", "echo '{\"Secret\": topsecret'", "not valid"),
        ("hangs", "echo topsecret; sleep 30 & wait", "did not answer"),
        ("silent", "exec >&-; sleep 30", "did not answer"),
    ] {
        let Some(helper) = Helper::install(test, body) else {
            return;
        };
        let started = Instant::now();
        let error = helper.lookup("r.test").unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(error.to_string().contains(expected), "{test}: {error}");
        assert!(!shown.contains("topsecret"), "{shown}");
        assert!(started.elapsed() < Duration::from_secs(3), "{test}");
    }
}

#[test]
fn privileged_helpers_keep_and_forget_logins() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let body = format!("echo \"$1: $(cat)\" >> {}", told.display());
    let Some(helper) = Helper::install("keep", &body) else {
        return;
    };
    let path = helper.dir.path().join("config.json");
    let text = format!(r#"{{"credsStore":"{}"}}"#, helper.name);
    File::create(&path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let file = LoginFile::new(path.clone());
    for registry in ["r.test:5000", "docker.io"] {
        let kept = file.store(registry, "me", &Secret::new("p\"w")).unwrap();
        assert_eq!(kept, Kept::ByHelper(helper.name.clone()));
    }
    let written = fs::read_to_string(&path).unwrap();
    assert!(
        written.contains("\"r.test:5000\": {}") && !written.contains("auth\""),
        "{written}"
    );
    assert!(file.erase("r.test:5000").unwrap());
    let told = fs::read_to_string(told).unwrap();
    assert_eq!(
        told,
        "store: {\"Secret\":\"p\\\"w\",\"ServerURL\":\"r.test:5000\",\"Username\":\"me\"}\n\
         store: {\"Secret\":\"p\\\"w\",\"ServerURL\":\"https://index.docker.io/v1/\",\"Username\":\"me\"}\n\
         erase: r.test:5000\n"
    );
    drop(helper);
    // One that fails: nothing is written, and the secret is not repeated.
    let Some(helper) = Helper::install("refuse", "echo s3cret; exit 1") else {
        return;
    };
    let path = helper.dir.path().join("config.json");
    let text = format!(r#"{{"credsStore":"{}"}}"#, helper.name);
    File::create(&path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let error = LoginFile::new(path.clone())
        .store("r.test", "me", &Secret::new("s3cret"))
        .unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}
