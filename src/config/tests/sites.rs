//! `[[site]]` tables: what they mean, and what is said of wrong ones.

use std::fmt::Write;
use std::time::Instant;

use super::*;
use crate::settings::{ErrorPage, InnerPath};

/// What a file and further words lead to; in messages the file is `s.toml`.
pub(super) fn configured(text: &str, words: &[&str]) -> Result<Configured, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let all = ["spede", "-c", path]
        .into_iter()
        .chain(words.iter().copied())
        .map(OsString::from);
    match parse_with(hermetic(), &all.collect::<Vec<_>>(), 0) {
        Ok(mut configured) => {
            for line in &mut configured.tables {
                *line = line.replace(path, "s.toml");
            }
            Ok(configured)
        }
        Err(Usage::Wrong(line)) => Err(line.replace(path, "s.toml")),
        Err(other) => panic!("{other:?}"),
    }
}

pub(super) fn sites(text: &str, words: &[&str]) -> Vec<SiteSettings> {
    let configured = configured(text, words).unwrap_or_else(|line| panic!("{text}: {line}"));
    configured.settings.sites
}

/// A page for 404, and the fallback of `spa`.
fn paths() -> PathRules {
    let page = ErrorPage::new(404, InnerPath::new("/404.html").unwrap());
    PathRules {
        error_pages: page.into_iter().collect(),
        fallback: InnerPath::new("/index.html").ok(),
        ..PathRules::default()
    }
}

/// What the first table of the test below says.
fn policy_of_table() -> Policy {
    Policy {
        naming: Naming {
            index: vec!["b.htm".to_owned(), "c.htm".to_owned()],
            dot_files: DotFiles::Served,
            directories: Directories::Listed,
            media_types: MediaTypes {
                charset: Charset::Named("latin1".to_owned()),
                own: vec![TypeOverride {
                    extension: "ts".to_owned(),
                    media_type: "text/plain".to_owned(),
                }],
            },
        },
        paths: paths(),
        access: AccessRules::default(),
        fields: FieldRules {
            security: SecurityFields::On,
            ..FieldRules::default()
        },
        entity_tags: EntityTags::Mirror,
        ranges: RangeLimits { count_max: 3 },
        revalidate: Duration::from_secs(2),
    }
}

#[test]
fn a_table_is_a_site_with_the_options_as_its_defaults() {
    let text = "
        index = [\"a.htm\"]
        charset = \"none\"
        [[site]]
        hosts = [\"Example.org.\", \"*.example.org\", \"[2001:db8::1]\"]
        root = \"/srv/a\"
        index = [\"b.htm\", \"c.htm\"]
        dotfiles = \"serve\"
        directories = \"list\"
        charset = \"latin1\"
        type = \"ts=text/plain\"
        error-page = \"404=/404.html\"
        spa = true
        entity-tags = \"mirror\"
        security-fields = true
        ranges-max = 3
        revalidate = \"2s\"
        [[site]]
        root = \"/srv/b\"
    ";
    let [first, second] = &sites(text, &["--entity-tags", "mirror"])[..] else {
        panic!("{text}");
    };
    assert_eq!(
        first.hosts,
        ["Example.org.", "*.example.org", "[2001:db8::1]"]
    );
    let root = (first.root.to_str(), &first.root_fallback);
    assert_eq!(root, (Some("/srv/a"), &None));
    assert_eq!(first.policy, policy_of_table());
    assert_eq!(second.hosts, [""; 0]);
    let naming = &second.policy.naming;
    assert_eq!(naming.index, ["a.htm"], "of the file");
    assert_eq!(naming.media_types.charset, Charset::Omitted, "of the file");
    assert_eq!(
        second.policy.entity_tags,
        EntityTags::Mirror,
        "of the words"
    );
    assert_eq!(naming.dot_files, DotFiles::Refused, "nobody's choice");
}

#[test]
fn all_hosts_are_written_as_none_or_as_a_star() {
    for hosts in ["", "hosts = \"*\"", "hosts = [\"*\"]"] {
        let text = format!("[[site]]\nroot = \"a\"\n{hosts}");
        assert_eq!(sites(&text, &[])[0].hosts, [""; 0], "{hosts}");
    }
}

#[test]
fn a_wrong_table_is_refused_with_the_position() {
    #[rustfmt::skip]
    let cases = [
        ("[[site]]\nroot = 'a'\nrooot = 'b'",
         "s.toml:3:1: 'rooot' is not a key of [[site]]; did you mean 'root'?"),
        ("[[site]]\nrooot = 'b'",
         "s.toml:2:1: 'rooot' is not a key of [[site]]; did you mean 'root'?"),
        ("[[site]]\nserver_name = 'b'\nroot = 'a'",
         "s.toml:2:1: 'server_name' is not a key of [[site]]; did you mean 'hosts'?"),
        ("[[site]]\nroot = 'a'\n  listen = 80",
         "s.toml:3:3: 'listen' is not a key of [[site]]; it is for the whole server: write it above the first table"),
        ("[[site]]\nhosts = 'a'",
         "s.toml:1:1: [[site]] has no root; write root = and the directory to serve in quotes"),
        ("[[site]]\nroot = ['a', 'b']",
         "s.toml:2:8: root: takes one value, not a list"),
        ("[[site]]\nroot = {a = 1}",
         "s.toml:2:8: root: takes text, a number, true or false"),
        ("[[site]]\nroot = 'a'\nhosts = []",
         "s.toml:3:9: hosts: is an empty list; leave the key out"),
        ("[[site]]\nroot = 'a'\nrevalidate = 'x'",
         "s.toml:3:14: revalidate: ''x'' is not a time; write seconds or a number with ms, s, m or h, such as 1.5s"),
        ("[[site]]\nroot = 'a'\nranges-max = 5000",
         "s.toml:3:14: ranges-max: '5000' is not a whole number from 0 to 1024"),
        ("[[site]]\nroot = 'a'\nindex = ['a', 'a']",
         "s.toml:3:1: index: 'a' is given twice"),
        ("[[site]]\nroot = 'a'\nhosts = ['b.org', 'a b']",
         "s.toml:3:19: hosts: \"a b\" is no host: a name, \"*.\" and a name, an IPv4 address, or an IPv6 address in \
          brackets; without a port, and internationalised names in their \"xn--\" form"),
        ("[[site]]\nroot = 'a'\nhosts = ['b.org', '*']",
         "s.toml:3:19: hosts: '*' stands for all hosts; leave the others out"),
        ("[[site]]\nroot = 'a'\nhosts = ['b.org']\n[[site]]\nroot = 'b'\nhosts = ['c.org', 'B.org.']",
         "s.toml:6:19: hosts: 'B.org.' belongs to the site of line 1 already; leave it out here or there"),
        ("[[site]]\nroot = 'a'\n[[site]]\nroot = 'b'\nhosts = '*'",
         "s.toml:5:1: hosts: the table of line 1 takes all other hosts already; name the hosts of this one"),
        ("[[site]]\nroot = 'a'\n[[site]]\nroot = 'b'",
         "s.toml:3:1: hosts: the table of line 1 takes all other hosts already; name the hosts of this one"),
        ("[site]\nroot = 'a'",
         "s.toml:1:1: site: is written [[site]], in double brackets; it can be repeated"),
        ("site = [1]",
         "s.toml:1:9: site: is written [[site]], in double brackets; it can be repeated"),
        ("hosts = 'a'",
         "s.toml:1:1: 'hosts' is for a site; write [[site]] and below it hosts"),
        ("server_name = 'a'",
         "s.toml:1:1: 'server_name' is for a site; write [[site]] and below it hosts"),
        ("sites = 'a'",
         "s.toml:1:1: 'sites' is not a key; did you mean 'site'?"),
        ("\nroot = 'a'\n[[site]]\nroot = 'a'",
         "s.toml:2:1: root: each [[site]] has a root of its own; leave this one out"),
    ];
    for (text, want) in cases {
        let line = configured(text, &[]).map(|configured| configured.settings);
        assert_eq!(line.unwrap_err(), want, "{text}");
    }
    let refused = configured("[[site]]\nroot = 'a'", &["/srv"]).unwrap_err();
    assert_eq!(
        refused,
        "ROOT: each [[site]] has a root of its own; leave this one out"
    );
}

#[test]
fn tables_in_effect_are_shown_with_the_source_of_each_value() {
    let text = "[[site]]
        root = 'a'
        hosts = ['b.org',
            \"c\\u002eorg\"]
        ranges-max = 0x10
        [[site]]
        root = \"a\\u007f\"";
    let want = [
        "",
        "[[site]]  # s.toml:1",
        "root = \"a\"  # s.toml:2",
        "hosts = [\"b.org\", \"c.org\"]  # s.toml:3",
        "ranges-max = 0x10  # s.toml:5",
        "",
        "[[site]]  # s.toml:6",
        "root = \"a\\u007F\"  # s.toml:7",
    ];
    let shown = configured(text, &[]).unwrap();
    assert_eq!(shown.tables, want);
    assert!(shown.values.iter().all(|value| value.key != "root"));
    let mut again = configured(&shown.tables.join("\n"), &[]).unwrap().settings;
    again.configuration = shown.settings.configuration.clone();
    assert_eq!(again, shown.settings, "what is shown means the same");
}

/// Ten times as many tables take ten times as long, not a hundred times; 10,000 are a host of a web hoster.
#[test]
fn the_time_for_many_sites_grows_with_their_number() {
    let time = |count: usize| {
        let mut text = String::new();
        for index in 0..count {
            write!(
                text,
                "[[site]]\nhosts = ['www{index}.example.org', '*.s{index}.example.org']\nroot = '/srv/{index}'\n\
                 revalidate = 2\n"
            )
            .unwrap();
        }
        let began = Instant::now();
        assert_eq!(sites(&text, &[]).len(), count);
        began.elapsed()
    };
    time(10);
    // The least of some runs: others may use the processor meanwhile.
    let least = |count| (0..3).map(|_| time(count)).min().unwrap();
    let (few, many) = (least(1_000), least(10_000));
    assert!(many < few * 40, "{few:?} for 1,000, {many:?} for 10,000");
}
