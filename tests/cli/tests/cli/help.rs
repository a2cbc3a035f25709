//! What is printed without a container: help, version, mistakes in the arguments.

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;

#[test]
fn version() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["--version"]), @r"
    lamina version 0.1.0
    [exit 0]
    ");
}

#[test]
#[expect(clippy::too_many_lines, reason = "the help is as long as it is")]
fn help_lists_the_commands_in_groups() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["--help"]), @r"
    Usage:  lamina [OPTIONS] COMMAND

    A container engine without a daemon: one static binary


    Containers:
      run         Create and run a new container from an image
      exec        Execute a command in a running container
      attach      Attach local standard input, output, and error streams to a running container
      create      Create a new container
      start       Start one or more stopped containers
      stop        Stop one or more running containers
      restart     Restart one or more containers
      kill        Kill one or more running containers
      pause       Pause all processes within one or more containers
      unpause     Unpause all processes within one or more containers
      wait        Wait until containers stop, then print their exit codes
      rm          Remove one or more containers
      rename      Rename a container
      update      Update configuration of one or more containers
      ps          List containers
      logs        Fetch the logs of a container
      top         Display the running processes of a container
      stats       Display a live stream of container(s) resource usage statistics
      port        List port mappings or a specific mapping for the container
      diff        Inspect changes to files or directories on a container's filesystem
      commit      Create a new image from a container's changes
      cp          Copy files/folders between a container and the local filesystem
      export      Export a container's filesystem as a tar archive

    Images:
      pull        Download an image from a registry
      push        Upload an image to a registry
      images      List images
      save        Save one or more images to a tar archive (streamed to STDOUT by default)
      load        Load an image from a tar archive, an OCI directory or STDIN
      import      Import the contents from a tarball to create a filesystem image
      tag         Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
      untag       Take names away from an image, which stays
      rmi         Remove one or more images
      history     Show the history of an image
      explain     Tell what each instruction of an image cost, what is wasted, and the fix

    Registries:
      login       Authenticate to a registry
      logout      Log out from a registry
      search-tags List the tags of a repository in its registry

    System:
      inspect     Return low-level information on containers and images
      events      Get events, those of before too
      prune       Remove stopped containers, dangling images and what nothing needs
      undo        Bring back what a command removed
      df          Show disk usage
      why         Tell what keeps something in the store
      fsck        Check everything in the store, and mend what is damaged
      info        Display system-wide information
      version     Show the version information

    Management Commands:
      container   Manage containers
      generate    Generate what other programs read
      healthcheck Manage health checks of containers
      image       Manage images
      registry    Manage the embedded registry
      system      Manage lamina
      volume      Manage volumes

    Global Options:
      -v, --version              Print version information and quit
          --root <DIR>           Where images and containers are kept [env: LAMINA_ROOT] [default: /var/lib/lamina]
          --run-root <DIR>       Where sockets and bundles are kept [env: LAMINA_RUN] [default: /run/lamina]
          --storage-mode <MODE>  How root filesystems are kept and mounted [possible values: auto, erofs, plain]
      -h, --help                 Print help

    Run 'lamina COMMAND --help' for more information on a command.
    [exit 0]
    ");
    assert_eq!(transcript(&host, &["help"]), transcript(&host, &["--help"]));
    assert_eq!(transcript(&host, &[]), transcript(&host, &["--help"]));
}

#[test]
fn help_of_a_command() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["rm", "--help"]), @r"
    Remove one or more containers

    Usage: lamina rm [OPTIONS] CONTAINER [CONTAINER...]

    Arguments:
      <CONTAINER>...  Containers by name, id or unique prefix of an id

    Options:
      -h, --help             Print usage
      -f, --force            Force the removal of a running container (uses SIGKILL)
      -v, --volumes          Remove anonymous volumes associated with the container
          --now              Free the space now; it cannot be undone
          --plan             Show what would go and what that frees, and remove nothing
          --format <FORMAT>  Format output of --plan: table, json, or a Go template
    [exit 0]
    ");
}

#[test]
fn a_mistyped_command_or_flag() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["rnu"]), @r"
    ! error: unrecognized subcommand 'rnu'
    ! hint: usage: lamina [OPTIONS] COMMAND
    [exit 1]
    ");
    assert_snapshot!(transcript(&host, &["run", "--naem", "x", "minimal"]), @r"
    ! error: unexpected argument '--naem' found
    ! hint: a similar argument exists: '--name'
    ! hint: usage: lamina run [OPTIONS] IMAGE [COMMAND] [ARG...]
    [exit 125]
    ");
    assert_snapshot!(transcript(&host, &["run"]), @r"
    ! error: the following required arguments were not provided: <IMAGE>...
    ! hint: usage: lamina run [OPTIONS] IMAGE [COMMAND] [ARG...]
    [exit 1]
    ");
    assert_snapshot!(transcript(&host, &["container", "fly"]), @r"
    ! error: unrecognized subcommand 'fly'
    ! hint: usage: lamina container <COMMAND>
    [exit 1]
    ");
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
    assert_snapshot!(transcript(&host, &["run", "-p", "80:80", "minimal"]), @r#"
    ! error: cannot publish "80:80": publishing ports needs a bridge network, which this version does not have
    ! hint: lamina run --network host … makes the program's ports the host's own
    [exit 125]
    "#);
    assert_snapshot!(transcript(&host, &["run", "-u", "00", "minimal"]), @r#"
    ! error: invalid argument "00" for --user
    ! caused by: "00" is not an id: ids are 0 to 4294967294, in plain decimal
    [exit 125]
    "#);
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

#[test]
fn the_reference_page_is_what_the_binary_says() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md");
    let page = std::fs::read_to_string(page).unwrap();
    // Made by `lamina __markdown-help > docs/reference/cli.md`.
    assert_eq!(Host::new().ok(&["__markdown-help"]), page.trim_end());
}
