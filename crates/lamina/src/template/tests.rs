//! What Docker's users type, and hostile templates.

use serde_json::json;

use super::*;

fn document() -> Value {
    json!({
        "ID": "abc123", "Names": "web", "Size": 42, "Empty": "", "Gone": null, "Running": true,
        "State": {"Pid": 7, "Status": "running"},
        "Config": {"Env": ["A=1", "B=2"], "Labels": {"com.x": "y", "z": "w"}},
        "Label": {"com.x": "y"},
        "Mounts": [{"Source": "/a", "Destination": "/b"}, {"Source": "/c", "Destination": "/d"}],
        "None": [],
    })
}

fn render(text: &str) -> Result<String, TemplateError> {
    Template::parse(text)?.render(&document())
}

#[test]
fn renders_what_people_type() {
    for (text, expected) in [
        ("plain", "plain"),
        ("{{.ID}}: {{.Names}}", "abc123: web"),
        ("{{ .State.Pid }}", "7"),
        ("{{.ID}}\\t{{.Names}}", "abc123\\tweb"),
        ("{{json .Config.Env}}", r#"["A=1","B=2"]"#),
        ("{{.Config.Env}}", "[A=1 B=2]"),
        ("{{.Config.Labels}}", "map[com.x:y z:w]"),
        ("{{json .}}", &document().to_string()),
        ("{{.Gone}}", "<no value>"),
        ("{{upper .Names}}{{.Names | upper | lower}}", "WEBweb"),
        ("{{title \"hello world\"}}", "Hello World"),
        ("{{join .Config.Env \", \"}}", "A=1, B=2"),
        ("{{index .Config.Labels \"com.x\"}}", "y"),
        ("{{index .Config.Labels \"nope\"}}", ""),
        ("{{index .Mounts 1 \"Source\"}}", "/c"),
        ("{{(index .Mounts 0).Source}}", "/a"),
        ("{{.Label \"com.x\"}}", "y"),
        ("{{.Label \"nope\"}}", ""),
        ("{{len .Config.Env}}", "2"),
        (
            "{{range .Mounts}}{{.Source}}->{{.Destination}} {{end}}",
            "/a->/b /c->/d ",
        ),
        (
            "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}",
            "com.x=y;z=w;",
        ),
        ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
        ("{{range .None}}x{{else}}none{{end}}", "none"),
        ("{{if .Running}}up{{else}}down{{end}}", "up"),
        (
            "{{if .Empty}}a{{else if eq .Names \"web\"}}b{{else}}c{{end}}",
            "b",
        ),
        ("{{if and .Running (gt .Size 40)}}big{{end}}", "big"),
        ("{{if not .Empty}}x{{end}}", "x"),
        ("{{with .State}}{{.Status}}{{end}}", "running"),
        ("{{with $s := .State}}{{$s.Pid}}{{$.ID}}{{end}}", "7abc123"),
        (
            "{{$x := .ID}}{{range .Config.Env}}{{$x}}{{end}}",
            "abc123abc123",
        ),
        ("a {{- .ID -}} b", "aabc123b"),
        ("{{/* note */}}x", "x"),
        ("{{printf \"%s-%d%%\" .ID .Size}}", "abc123-42%"),
        ("{{split \"a:b\" \":\"}}", "[a b]"),
        ("{{truncate .ID 3}}", "abc"),
        ("{{slice .ID 1 3}} {{slice .Config.Env 1}}", "bc [B=2]"),
        ("{{print 1 2 \"x\" \"y\" true}}", "1 2xytrue"),
        ("{{pad .ID 1 2}}|", " abc123  |"),
        ("{{`raw`}}", "raw"),
    ] {
        assert_eq!(
            render(text).unwrap_or_else(|e| panic!("{text}: {e}")),
            expected,
            "{text}"
        );
    }
}

#[test]
fn refuses_what_cannot_be_meant() {
    for bad in [
        "{{",
        "{{.ID",
        "{{.ID}",
        "{{}}",
        "{{|}}",
        "{{nope .ID}}",
        "{{.Nope}}",
        "{{.ID.More}}",
        "{{if .ID}}",
        "{{end}}",
        "{{else}}",
        "{{range .ID}}{{end}}",
        "{{join .ID}}",
        "{{\"a}}",
        "{{(.ID}}",
        "{{.ID)}}",
        "{{$nope}}",
        "{{index .Mounts 9}}",
        "{{..}}",
        "{{.ID .Names}}",
        "{{template \"x\"}}",
        "{{printf \"%k\" 1}}",
        "{{slice .ID 2 9}}",
        "{{lt 1 \"a\"}}",
        "{{/* x",
    ] {
        let result = render(bad);
        assert!(result.is_err(), "{bad:?} gave {result:?}");
    }
}

#[test]
fn deep_nesting_is_refused_and_not_a_crash() {
    assert!(render(&"{{if .ID}}".repeat(10_000)).is_err());
    assert!(render(&format!("{{{{{}", "(".repeat(10_000))).is_err());
    assert!(render(&format!("{{{{{}}}}}", "(".repeat(10_000))).is_err());
}
