//! `[[site.rule]]` tables: what they mean, and what is said of wrong ones.

use std::fmt::Write;

use super::sites::{configured, sites};
use super::*;
use crate::site::fields::field::{FieldName, FieldValue};
use crate::site::fields::{Change, Disposition, Rule};
use crate::site::pattern::Pattern;

fn rule(pattern: &str, changes: Vec<Change>) -> Rule {
    Rule {
        pattern: Pattern::new(pattern).unwrap(),
        changes,
    }
}

fn field(name: &str, value: &str) -> ResponseField {
    ResponseField::added(name, value).unwrap()
}

fn value(text: &str) -> FieldValue {
    FieldValue::new(text).unwrap()
}

const TABLES: &str = "
        header = 'X: y'
        cors = ['https://a']
        [[site]]
        root = '/srv/a'
        immutable = false
        [[site.rule]]
        match = '/**'
        add = { Vary = 'X-B' }
        set = { B = '2', A = '1' }
        remove = 'C'
        [[site.rule]]
        match = '/x/*'
        cache-control = 'max-age=9'
        content-type = 'a/b; c=d'
        charset = 'none'
        disposition = 'attachment'
        cors = '*'
        remove = ['D', 'E']
        [[site]]
        root = '/srv/b'
        hosts = 'b'
        header = 'Z: z'
        cors = ['https://b', 'https://c']
    ";

#[test]
fn a_rule_says_what_its_keys_name() {
    let [first, second] = &sites(TABLES, &[])[..] else {
        panic!("{TABLES}");
    };
    let origins = |texts: &[&str]| {
        let origins: Vec<_> = texts.iter().map(|text| origin(text)).collect();
        AllowedOrigins::new(&origins)
    };
    let removed = |name| Change::Remove(FieldName::new(name).unwrap());
    let want = FieldRules {
        immutable: Immutable::Off,
        security: SecurityFields::Off,
        cors: origins(&["https://a"]),
        headers: vec![field("X", "y")],
        rules: vec![
            rule(
                "/**",
                vec![
                    removed("C"),
                    Change::Set(field("B", "2")),
                    Change::Set(field("A", "1")),
                    Change::Add(field("Vary", "X-B")),
                ],
            ),
            rule(
                "/x/*",
                vec![
                    removed("D"),
                    removed("E"),
                    Change::CacheControl(value("max-age=9")),
                    Change::ContentType(value("a/b; c=d")),
                    Change::Charset(Charset::Omitted),
                    Change::Disposition(Disposition::Attachment),
                    Change::Cors(AllowedOrigins::Any),
                ],
            ),
        ],
    };
    assert_eq!(first.policy.fields, want);
    let want = FieldRules {
        cors: origins(&["https://b", "https://c"]),
        headers: vec![field("Z", "z")],
        ..FieldRules::default()
    };
    assert_eq!(second.policy.fields, want, "rules are those of their site");
}

#[test]
fn a_wrong_rule_is_refused_with_the_position() {
    #[rustfmt::skip]
    let cases = [
        ("set = { A = 'b' }",
         "s.toml:3:1: [[site.rule]] has no match; write the paths that it is for, such as match = \"/assets/**\""),
        ("match = '/a'",
         "s.toml:3:1: [[site.rule]] has no effect; write set, add, remove, cache-control, content-type, charset, \
          disposition or cors"),
        ("match = 'a'\nset = { A = 'b' }",
         "s.toml:4:9: match: ''a'' does not begin with a slash; write a path of the site, such as /assets/**"),
        ("match = '/a?b'\nset = { A = 'b' }",
         "s.toml:4:9: match: ''/a?b'' has a ?; patterns are compared with the path, without the query"),
        ("match = '/{a'\nset = { A = 'b' }",
         "s.toml:4:9: match: ''/{a'' has braces that do not pair; write alternatives as {css,js}, one level deep"),
        ("match = '/a'\nset = { Content-Length = '1' }",
         "s.toml:5:9: 'Content-Length' is set by the server, because it frames the message"),
        ("match = '/a'\nset = { A = 'b', Vary = 'b' }",
         "s.toml:5:18: 'Vary' is set by the server, which knows what an answer depends on; write add for another name"),
        ("match = '/a'\nadd = { Cache-Control = 'b' }",
         "s.toml:5:9: 'Cache-Control' is one list of directives; write all of them with set or cache-control"),
        ("match = '/a'\nset = { 'A B' = 'b' }",
         "s.toml:5:9: 'A B' is not a field name; write letters, digits and hyphens"),
        ("match = '/a'\nset = { A = \"b\\r\\nC: d\" }",
         "s.toml:5:13: A: 'b\\r\\nC: d' is not a field value; write at most 8192 visible characters and spaces, on one line"),
        ("match = '/a'\nset = 'A: b'",
         "s.toml:5:7: set: takes a table, such as set = { name = \"value\" }"),
        ("match = '/a'\nremove = 'ETag'",
         "s.toml:5:10: remove: ''ETag'' is set by the server, because it has to agree with the content"),
        ("match = '/a'\ncontent-type = 'text'",
         "s.toml:5:16: content-type: ''text'' is not a media type; write one such as application/json or text/html; charset=utf-8"),
        ("match = '/a'\ndisposition = 'save'",
         "s.toml:5:15: disposition: ''save'' is not attachment or inline"),
        ("match = '/a'\ncache_control = 'no-cache'",
         "s.toml:5:1: 'cache_control' is not a key of [[site.rule]]; did you mean 'cache-control'?"),
    ];
    for (rule, want) in cases {
        let text = format!("[[site]]\nroot = 'a'\n[[site.rule]]\n{rule}");
        let line = configured(&text, &[]).map(|configured| configured.settings);
        assert_eq!(line.unwrap_err(), want, "{text}");
    }
}

#[test]
fn what_all_rules_add_together_is_bounded() {
    use crate::site::fields::cors::ORIGIN_COUNT_MAX;
    use crate::site::fields::{FIELDS_LENGTH_MAX, RULE_COUNT_MAX};
    let rules = |count: usize| {
        let mut text = String::from("[[site]]\nroot = 'a'\n");
        for index in 0..count {
            writeln!(
                text,
                "[[site.rule]]\nmatch = '/{index}'\nset = {{ A = 'b' }}"
            )
            .unwrap();
        }
        text
    };
    assert_eq!(sites(&rules(RULE_COUNT_MAX), &[]).len(), 1);
    let refused = configured(&rules(RULE_COUNT_MAX + 1), &[]).unwrap_err();
    assert!(refused.ends_with("match: is one of more than 1000 rules; use wider patterns"));

    let header = |length: usize| format!("A: {}", "x".repeat(length - "A: \r\n".len()));
    let (half, more) = (
        header(FIELDS_LENGTH_MAX / 2),
        header(FIELDS_LENGTH_MAX / 2 + 1),
    );
    assert!(configured("", &["--header", &half, "--header", &half]).is_ok());
    let refused = configured("", &["--header", &half, "--header", &more]).unwrap_err();
    assert!(refused.starts_with("--header: all fields and rules together have more than"));

    let origins = |count: usize| {
        let origins: Vec<String> = (0..count).map(|index| format!("http://a{index}")).collect();
        origins.join(",")
    };
    assert!(configured("", &["--cors", &origins(ORIGIN_COUNT_MAX)]).is_ok());
    let refused = configured("", &["--cors", &origins(ORIGIN_COUNT_MAX + 1)]).unwrap_err();
    assert_eq!(refused, "--cors: at most 64 origins can be given");
}
