//! What drivers and options become, and what is said of those that cannot be had.

use super::*;

fn plan(driver: &str, options: &[(&str, &str)]) -> Result<LogConfig, String> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let request = LogRequest {
        driver: (!driver.is_empty()).then(|| driver.to_owned()),
        options: options.iter().map(own).collect(),
    };
    let id = ContainerId::from_random([0xab; 32]);
    let who = Who {
        id: &id,
        name: "web",
        image: "bb",
        labels: &[("tier".to_owned(), "back".to_owned())].into(),
        env: &["A=1".to_owned(), "A=2".to_owned(), "B=3".to_owned()],
    };
    let planned = request.plan(&LogConfig::default(), who);
    planned.map_err(|error| error.to_string())
}

#[test]
fn errors_are_dockers() {
    for (driver, options, expected) in [
        (
            "nope",
            &[][..],
            "error looking up logging plugin nope: plugin \"nope\" not found",
        ),
        (
            "none",
            &[("max-size", "1m")],
            "invalid logging opts for driver none",
        ),
        (
            "",
            &[("foo", "x")],
            "unknown log opt 'foo' for json-file log driver",
        ),
        (
            "journald",
            &[("foo", "x")],
            "unknown log opt 'foo' for journald log driver",
        ),
        (
            "local",
            &[("labels", "x")],
            "unknown log opt 'labels' for log driver local",
        ),
        (
            "",
            &[("mode", "foo")],
            "logger: logging mode not supported: foo",
        ),
        (
            "",
            &[("max-buffer-size", "1m")],
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "syslog",
            &[("syslog-facility", "foo")],
            "invalid syslog facility",
        ),
        (
            "syslog",
            &[("syslog-address", "foo")],
            "syslog-address should be in form proto://address, got foo",
        ),
    ] {
        assert_eq!(plan(driver, options).unwrap_err(), expected);
    }
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let long = "failed to initialize logging driver: ";
    for (option, value, expected) in [
        ("max-size", "x", "invalid size: 'x'"),
        ("max-file", "0", "max-file cannot be less than 1"),
        (
            "max-file",
            "x",
            "strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "compress",
            "x",
            "strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
    ] {
        let error = plan("json-file", &[(option, value)]).unwrap_err();
        assert_eq!(error, format!("{long}{expected}"));
    }
}

#[test]
fn local_has_options_and_texts_of_its_own() {
    let default = plan("local", &[]).unwrap();
    assert_eq!(default.driver, LogDriver::Local);
    assert_eq!((default.max_size, default.max_files), (20 << 20, 5));
    assert!(default.compress && default.attributes.is_empty());
    let one = plan("local", &[("max-file", "0"), ("compress", "false")]).unwrap();
    assert_eq!(one.max_files, 1);
    let long = "failed to initialize logging driver: ";
    for (option, value, expected) in [
        (
            "max-size",
            "-1",
            "invalid value for max-size: -1: invalid size: '-1'",
        ),
        (
            "max-file",
            "x",
            "invalid value for max-file: x: strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        ("max-file", "-1", "max file count cannot be less than 0"),
        (
            "max-file",
            "1",
            "compression cannot be enabled when max file count is 1",
        ),
        (
            "compress",
            "x",
            "error reading compress log option: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
    ] {
        let error = plan("local", &[(option, value)]).unwrap_err();
        assert_eq!(error, format!("{long}{expected}"));
    }
}

#[test]
fn options_reach_the_monitor() {
    let files = plan("", &[("max-size", "1m"), ("max-file", "5")]).unwrap();
    assert_eq!((files.max_size, files.max_files), (1_000_000, 5));
    assert_eq!(files.driver, LogDriver::JsonFile);
    assert!(files.compress);
    let marks = [("labels", "tier,no"), ("env", "A,C"), ("compress", "0")];
    let marked = plan("", &marks).unwrap();
    assert!(!marked.compress);
    let marks = marked.attributes.iter().map(|(k, v)| format!("{k}={v}"));
    assert_eq!(marks.collect::<Vec<_>>(), ["A=2", "tier=back"]);
    assert_eq!(plan("none", &[]).unwrap().driver, LogDriver::None);
    let options = [
        ("syslog-address", "udp://127.0.0.1"),
        ("syslog-facility", "local7"),
        ("tag", "{{.Name}}/{{.ID}}"),
    ];
    let sink = plan("syslog", &options).unwrap().sink.unwrap();
    assert_eq!(sink.protocol, SinkProtocol::Syslog { facility: 23 });
    assert_eq!(
        sink.address,
        SinkAddress::Udp("127.0.0.1:514".parse().unwrap())
    );
    assert_eq!(sink.tag, "web/abababababab");
    let sink = plan("journald", &[]).unwrap().sink.unwrap();
    assert_eq!(sink.fields["CONTAINER_NAME"], "web");
}
