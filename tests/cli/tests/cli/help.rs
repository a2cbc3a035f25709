//! What is printed without a container: help, version, mistakes in the arguments.

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;

#[test]
fn version() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["--version"]), @"");
}

#[test]
fn help_lists_the_commands_in_groups() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["--help"]), @"");
    assert_eq!(transcript(&host, &["help"]), transcript(&host, &["--help"]));
    assert_eq!(transcript(&host, &[]), transcript(&host, &["--help"]));
}

#[test]
fn help_of_a_command() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["rm", "--help"]), @"");
}

#[test]
fn a_mistyped_command_or_flag() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["rnu"]), @"");
    assert_snapshot!(transcript(&host, &["run", "--naem", "x", "minimal"]), @"");
    assert_snapshot!(transcript(&host, &["run"]), @"");
    assert_snapshot!(transcript(&host, &["container", "fly"]), @"");
}

#[test]
fn bad_values() {
    let host = Host::new();
    for (words, expected) in [
        (&["-v", "a:b:c:d"][..], "--volume"),
        (&["-v", "rel:/x:bogus"], "--volume"),
        (&["-u", "+0"], "--user"),
        (&["-m", "lots"], "--memory"),
        (&["-m", "1k"], "minimum memory limit"),
        (&["-p", "80:80"], "cannot publish"),
        (&["--network", "web"], "is not available"),
        (&["--cpuset-cpus", "0-9999999999"], "cpu"),
        (&["--name", "../x"], "--name"),
        (&["--ulimit", "nofile"], "--ulimit"),
    ] {
        let mut line = vec!["run", "--rm"];
        line.extend(words);
        line.extend(["minimal", "true"]);
        let outcome = host.lamina(&line);
        assert_eq!(outcome.code, 125, "{words:?}: {outcome:?}");
        assert!(outcome.stdout.is_empty(), "{words:?}: {outcome:?}");
        assert!(
            outcome.stderr.starts_with("error: "),
            "{words:?}: {outcome:?}"
        );
        assert!(outcome.stderr.contains(expected), "{words:?}: {outcome:?}");
    }
    assert_snapshot!(transcript(&host, &["run", "-p", "80:80", "minimal"]), @"");
    assert_snapshot!(transcript(&host, &["run", "-u", "00", "minimal"]), @"");
    // Nothing was opened, so nothing was made.
    assert!(!host.root().exists());
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    use std::process::Stdio;
    let host = Host::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = host.command(&["--help"]);
    let output = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = output.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
