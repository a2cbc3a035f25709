//! What a login changes in a file, and what it does not.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::thread;

use super::*;
use crate::credentials::{Credential, Credentials as _, DockerConfigFiles};

fn put(path: &Path, text: &str) {
    File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

fn user(path: &Path, registry: &str) -> Option<String> {
    let files = DockerConfigFiles::new(vec![path.to_owned()]);
    match files.lookup(registry, "team/app").unwrap()? {
        Credential::Password { username, password } => {
            Some(format!("{username}/{}", password.expose()))
        }
        _ => None,
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

#[test]
fn a_login_is_found_again_and_a_logout_forgets_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/config.json");
    let file = LoginFile::new(path.clone());
    assert!(!file.erase("r.test").unwrap());
    assert!(!path.exists());
    for registry in ["r.test:5000", "docker.io"] {
        let kept = file.store(registry, "me", &secret("p:w")).unwrap();
        assert_eq!(kept, Kept::InFile(path.clone()));
        assert_eq!(user(&path, registry).as_deref(), Some("me/p:w"));
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "{\n\t\"auths\": {\n\t\t\"r.test:5000\": {\"auth\":\"bWU6cDp3\"},\n\
         \t\t\"https://index.docker.io/v1/\": {\"auth\":\"bWU6cDp3\"}\n\t}\n}\n"
    );
    assert!(file.erase("docker.io").unwrap());
    assert!(!file.erase("docker.io").unwrap());
    assert_eq!(user(&path, "docker.io"), None);
    assert_eq!(user(&path, "r.test:5000").as_deref(), Some("me/p:w"));
}

#[test]
fn what_a_login_is_not_about_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("real.json");
    let path = dir.path().join("config.json");
    let odd = "{\"psFormat\" : \"{{.ID}}\\u0041\",\n  \"z\":[1.0, 1e2 ],\"auths\":{ \"other\":{\"x\":  1} , \
               \"https://r.test/v1/\":{\"auth\":\"bzpv\"},\"r.test/team\":{\"auth\":\"dDp0\"}},\"a\":null}";
    put(&target, odd);
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    symlink(&target, &path).unwrap();
    let file = LoginFile::new(path.clone());
    file.store("r.test", "me", &secret("pw")).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    let text = fs::read_to_string(&target).unwrap();
    for part in [
        "\"psFormat\": \"{{.ID}}\\u0041\"",
        "\"z\": [1.0, 1e2 ]",
        "\"other\": {\"x\":  1}",
        "\"r.test/team\": {\"auth\":\"dDp0\"}",
        "\"a\": null",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("https://r.test"), "{text}");
    assert_eq!(
        fs::metadata(&target).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(file.erase("r.test").unwrap());
    assert!(fs::read_to_string(&target).unwrap().contains("r.test/team"));
}

#[test]
fn a_file_that_is_not_understood_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let file = LoginFile::new(path.clone());
    for text in [
        "{\"auths\":[]}",
        "{\"auths\":{\"r.test\":",
        "[]",
        "{\"credsStore\":1}",
        "s3cret",
    ] {
        put(&path, text);
        let error = file.store("r.test", "me", &secret("pw")).unwrap_err();
        assert!(
            matches!(error, CredentialsError::Malformed { .. }),
            "{error:?}"
        );
        assert!(!error.to_string().contains("s3cret"));
        assert!(file.erase("r.test").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    // What an interrupted login of another program leaves.
    put(&path, "");
    file.store("r.test", "me", &secret("pw")).unwrap();
    for (username, password) in [("a:b", "pw"), ("me", "p\0w"), ("m\0e", "pw")] {
        assert!(file.store("r.test", username, &secret(password)).is_err());
    }
    assert_eq!(user(&path, "r.test").as_deref(), Some("me/pw"));
}

#[test]
fn twenty_logins_at_once_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    thread::scope(|scope| {
        for number in 0..20 {
            let file = LoginFile::new(path.clone());
            scope.spawn(move || file.store(&format!("r{number}.test"), "me", &secret("pw")));
        }
    });
    for number in 0..20 {
        assert!(
            user(&path, &format!("r{number}.test")).is_some(),
            "{number}"
        );
    }
}
