//! Logins and tags, against a registry that wants a password.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use lamina_testkit::registry::{MemoryImage, Recorded, Registry, Reply};
use lamina_testkit::{Host, Outcome};

/// `me:secret`.
const GOOD: &str = "Basic bWU6c2VjcmV0";

fn guard(request: &Recorded) -> Option<Reply> {
    let known = request.header("authorization") == Some(GOOD);
    (!known).then(|| Reply::challenge("Basic realm=\"r\""))
}

fn with_stdin(host: &Host, words: &[&str], typed: &str) -> Outcome {
    let mut command = host.command(words);
    let command = command.stdin(Stdio::piped());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read it may end first.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn privileged_a_login_opens_a_registry_until_the_logout() {
    let host = Host::new();
    let registry = Registry::start();
    let domain = registry.domain();
    registry.serve_image("team/app", "v1", &MemoryImage::of_tars(Vec::new()));
    registry.script(guard);
    let image = format!("{domain}/team/app:v1");
    let refused = host.lamina(&["pull", &image]);
    assert_eq!(refused.code, 1);
    let hint = format!("hint: lamina login {domain}\n");
    assert!(refused.stderr.contains(&hint), "{}", refused.stderr);

    let login = ["login", "-u", "me", "--password-stdin", &domain];
    let wrong = with_stdin(&host, &login, "wrong\n");
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(wrong.stderr.contains("refuses the login"), "{wrong:?}");
    let file = host.folder().join(".docker/config.json");
    assert!(!file.exists());
    for words in [
        &["login", &domain][..],
        &["login", "--password-stdin", &domain],
        &["login", "word"],
    ] {
        let outcome = with_stdin(&host, words, "");
        assert_ne!(outcome.code, 0, "{words:?} {outcome:?}");
    }
    assert!(!file.exists());

    let good = with_stdin(&host, &login, "secret\n");
    assert_eq!(
        (good.code, good.stdout.as_str()),
        (0, "Login Succeeded\n"),
        "{good:?}"
    );
    let warning = "WARNING! Your password will be stored unencrypted in ";
    assert!(good.stderr.starts_with(warning), "{good:?}");
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .contains(&GOOD["Basic ".len()..])
    );
    host.ok(&["pull", "-q", &image]);
    // Again, with what is there.
    assert_eq!(host.ok(&["login", &domain]), "Login Succeeded");

    let said = host.ok(&["logout", &domain]);
    assert_eq!(said, format!("Removing login credentials for {domain}"));
    assert_eq!(
        host.ok(&["logout", &domain]),
        format!("Not logged in to {domain}")
    );
    assert_eq!(host.lamina(&["pull", &image]).code, 1);

    // A file of podman's has the last word, and that is said.
    let config = host.folder().join(".config/containers");
    fs::create_dir_all(&config).unwrap();
    fs::copy(&file, config.join("auth.json")).unwrap();
    with_stdin(&host, &login, "secret\n");
    fs::copy(&file, config.join("auth.json")).unwrap();
    let said = host.lamina(&["logout", &domain]);
    assert!(
        said.stderr.contains("auth.json has credentials for"),
        "{said:?}"
    );
    host.ok(&["rmi", &image]);
    host.sweep();
}

#[test]
fn privileged_tags_are_listed_up_to_a_limit() {
    let host = Host::new();
    let registry = Registry::start();
    let image = MemoryImage::of_tars(Vec::new());
    let mut digest = String::new();
    for tag in ["a", "b", "c"] {
        digest = registry.serve_image("team/app", tag, &image).to_string();
    }
    let name = format!("{}/team/app", registry.domain());
    assert_eq!(host.ok(&["search-tags", "-q", &name]), "a\nb\nc");
    let some = host.lamina(&["search-tags", "--limit", "2", "--digests", &name]);
    let lines: Vec<&str> = some.stdout.lines().collect();
    assert!(
        lines[0].starts_with("REPOSITORY") && lines[0].contains("TAG"),
        "{some:?}"
    );
    assert_eq!(lines.len(), 3, "{some:?}");
    assert!(lines[1].ends_with(&digest), "{some:?}");
    assert!(
        some.stderr.starts_with("only the first 2 tags are shown"),
        "{some:?}"
    );
    let missing = host.lamina(&["search-tags", &format!("{}/none", registry.domain())]);
    assert_eq!(missing.code, 1);
    host.sweep();
}
