//! Tables of what is read and shown, from Docker's own units, and hostile amounts.

use super::*;

#[test]
fn reads_sizes() {
    for (text, bytes) in [
        ("0", 0),
        ("32", 32),
        ("10b", 10),
        ("64k", 65_536),
        ("64K", 65_536),
        ("256m", 268_435_456),
        ("256MiB", 268_435_456),
        ("1g", 1 << 30),
        ("1.5g", 1_610_612_736),
        (".5k", 512),
        ("2 gb", 2 << 30),
        ("1t", 1 << 40),
        ("0.3k", 307),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
    }
    for bad in [
        "",
        ".",
        "k",
        "-1",
        "+1",
        "1x",
        "1 k b",
        "1..5g",
        "1.5.5g",
        "0x10",
        "1e3",
        "10mbb",
        " 1",
        "18446744073709551616",
        "99999999p",
        "\u{663}m",
        "1m\n",
    ] {
        assert!(parse_bytes(bad).is_err(), "{bad:?} must be refused");
    }
}

#[test]
fn shows_sizes_as_docker_does() {
    for (bytes, decimal, binary) in [
        (0, "0B", "0B"),
        (999, "999B", "999B"),
        (1000, "1kB", "1000B"),
        (1024, "1.02kB", "1KiB"),
        (7_790_000, "7.79MB", "7.429MiB"),
        (77_862_345, "77.9MB", "74.26MiB"),
        (999_999, "1MB", "976.6KiB"),
        (632_000_000, "632MB", "602.7MiB"),
        (1_500_000_000, "1.5GB", "1.397GiB"),
        (25_162_727_424, "25.2GB", "23.43GiB"),
        (u64::MAX, "18.4EB", "16EiB"),
    ] {
        assert_eq!(human_size(bytes), decimal);
        assert_eq!(binary_size(bytes), binary);
    }
}

#[test]
fn reads_cpus() {
    for (text, nano) in [
        ("1", 1_000_000_000),
        ("1.5", 1_500_000_000),
        (".25", 250_000_000),
        ("0.000000001", 1),
        ("0.5000000000", 500_000_000),
        ("0", 0),
        ("2.", 2_000_000_000),
    ] {
        assert_eq!(parse_nano_cpus(text).unwrap(), nano, "{text}");
    }
    for bad in [
        "",
        ".",
        "-1",
        "1,5",
        "0.0000000001",
        "1e9",
        "99999999999999",
        "inf",
        "NaN",
        "1/2",
    ] {
        assert!(parse_nano_cpus(bad).is_err(), "{bad:?} must be refused");
    }
}

#[test]
fn reads_durations() {
    for (text, millis) in [
        ("0", 0),
        ("300ms", 300),
        ("10s", 10_000),
        ("1m30s", 90_000),
        ("1.5h", 5_400_000),
        ("1h1m1s1ms", 3_661_001),
    ] {
        assert_eq!(
            parse_duration(text).unwrap(),
            Duration::from_millis(millis),
            "{text}"
        );
    }
    for bad in [
        "",
        "10",
        "s",
        "-1s",
        "1d",
        "1s ",
        "9999999999h",
        "1.5.5s",
        "1",
    ] {
        assert!(parse_duration(bad).is_err(), "{bad:?} must be refused");
    }
}

#[test]
fn bounds_cpu_lists() {
    for good in ["0", "0-2,7", "0-0", "0-8191", "1,1,1"] {
        assert!(check_cpu_list(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        ",",
        "0,",
        "2-1",
        "-1",
        "1-",
        "0-9999999999",
        "8192",
        "a",
        "0 1",
        "0-1-2",
        "99999999999999999999",
    ] {
        assert!(check_cpu_list(bad).is_err(), "{bad:?} must be refused");
    }
}

proptest::proptest! {
    #[test]
    fn no_input_panics(text in "[0-9.]{0,40}.{0,8}") {
        let _ = (parse_bytes(&text), parse_nano_cpus(&text), parse_duration(&text));
        let _ = check_cpu_list(&text);
    }

    #[test]
    fn every_size_can_be_shown(bytes: u64) {
        proptest::prop_assert!(human_size(bytes).len() <= 8);
        proptest::prop_assert!(binary_size(bytes).len() <= 9);
    }

    #[test]
    fn every_whole_number_is_itself(bytes: u64) {
        proptest::prop_assert_eq!(parse_bytes(&bytes.to_string()), Ok(bytes));
    }
}
