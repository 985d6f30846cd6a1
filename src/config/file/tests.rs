//! What a file means, and what is said of one that means nothing.

#![allow(clippy::unwrap_used)]

use super::super::command::command;
use super::super::value::{count, path};
use super::*;

/// The message about the first thing that is wrong.
fn refusal(text: &str) -> String {
    let source = Source::new("s.toml".into(), text.to_owned());
    match ConfigFile::parse(&source, &command()) {
        Ok(file) => panic!("{file:?}"),
        Err(Usage::Wrong(line)) => line,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wrong_is_said_with_its_position() {
    #[rustfmt::skip]
    let cases = [
        ("listen = [\":80\"]\nlisen = 1\n",  "s.toml:2:1: 'lisen' is not a key; did you mean 'listen'?"),
        ("port = 80",                        "s.toml:1:1: 'port' is not a key; did you mean 'listen'?"),
        ("map_cache = 1",                    "s.toml:1:1: 'map_cache' is not a key; did you mean 'map-cache'?"),
        ("qqq = 1",                          "s.toml:1:1: 'qqq' is not a key; see spede config --default"),
        ("config = \"a\"",                   "s.toml:1:1: 'config' is not a key; see spede config --default"),
        ("help = true",                      "s.toml:1:1: 'help' is not a key; see spede config --default"),
        ("memory = \"lots\"",                "s.toml:1:10: memory: 'lots' is not a size; write bytes or a number with \
                                              KiB, MiB or GiB, such as 256MiB"),
        ("  path-cache = 0",                 "s.toml:1:16: path-cache: '0' is not a whole number from 1 to 16777216"),
        ("listen = [\":80\", 'nowhere']",    "s.toml:1:18: listen: ''nowhere'' is not an address; write IP:PORT, :PORT, \
                                              PORT, localhost:PORT or unix:PATH (other names are not looked up)"),
        ("memory = [\"1G\"]",                "s.toml:1:10: memory: takes one value, not a list"),
        ("listen = []",                      "s.toml:1:10: listen: is an empty list; leave the key out"),
        ("grace = 1979-05-27",               "s.toml:1:9: grace: takes text, a number, true or false"),
        ("[grace]\na = 1",                   "s.toml:1:1: grace: takes text, a number, true or false"),
        ("grace = 1\ngrace = 2",             "s.toml:2:1: duplicate key"),
        ("grace",                            "s.toml:1:6: key with no value, expected `=`"),
        ("é = 1",                            "s.toml:1:1: invalid unquoted key, expected letters, numbers, `-`, `_`"),
        ("root = ''",                        "s.toml:1:8: root: '''' is not a path; name the directory to serve, such \
                                              as www"),
    ];
    for (text, want) in cases {
        assert_eq!(refusal(text), want, "{text}");
    }
}

#[test]
fn a_column_counts_characters() {
    let line = refusal("charset = \"ü\"; x");
    assert!(line.starts_with("s.toml:1:14: "), "{line}");
}

/// Reads the only `[[site]]` of a file.
fn read<T>(text: &str, read: impl FnOnce(Table<'_>) -> Result<T, Usage>) -> Result<T, String> {
    let source = Source::new("s.toml".into(), text.to_owned());
    let file = ConfigFile::parse(&source, &command()).unwrap();
    let table = file.sites().unwrap().remove(0);
    read(table).map_err(|usage| match usage {
        Usage::Wrong(line) => line,
        other => panic!("{other:?}"),
    })
}

#[test]
fn tables_in_a_table_are_read_in_their_order_and_each_refuses_what_it_does_not_know() {
    let rules = |mut table: Table<'_>| {
        let mut names = Vec::new();
        for mut rule in table.tables("rule", "[[site.rule]]")? {
            let name = rule.value("name", path())?;
            let count = rule.value("count", count(0..=9))?;
            let rule = rule.finish()?;
            let name = name.ok_or_else(|| rule.missing("name", "write one"))?;
            let count = count.map(Spanned::into_inner);
            names.push((name.into_inner().display().to_string(), count));
        }
        table.finish()?;
        Ok(names)
    };
    let two = "[[site]]\n[[site.rule]]\nname = 'b'\ncount = 0x7\n[[site.rule]]\nname = 'a'\n";
    let want = [("b".to_owned(), Some(7)), ("a".to_owned(), None)];
    assert_eq!(read(two, rules).unwrap(), want);
    assert_eq!(read("[[site]]", rules).unwrap(), []);
    #[rustfmt::skip]
    let wrong = [
        ("[[site]]\n[[site.rule]]\nname = 'b'\nnames = 1",
         "s.toml:4:1: 'names' is not a key of [[site.rule]]; did you mean 'name'?"),
        ("[[site]]\n[[site.rule]]\nname = 'b'\nqq = 1",
         "s.toml:4:1: 'qq' is not a key of [[site.rule]]; its keys are name, count"),
        ("[[site]]\n[[site.rule]]\ncount = 1",
         "s.toml:2:1: [[site.rule]] has no name; write one"),
        ("[[site]]\n[site.rule]\nname = 'b'",
         "s.toml:2:1: rule: is written [[site.rule]], in double brackets; it can be repeated"),
        ("[[site]]\n[[site.rules]]\nname = 'b'",
         "s.toml:2:8: 'rules' is not a key of [[site]]; did you mean 'rule'?"),
    ];
    for (text, want) in wrong {
        assert_eq!(read(text, rules).unwrap_err(), want, "{text}");
    }
}

#[test]
fn entries_of_a_table_without_fixed_keys_are_read_in_their_order() {
    let entries = |mut table: Table<'_>| {
        let entries = table.entries("pages", count(1..=9))?;
        table.finish()?;
        let entries = entries.into_iter();
        let plain = entries.map(|(key, value)| (key.into_inner(), value.into_inner()));
        Ok(plain.collect::<Vec<_>>())
    };
    let want = [("404".to_owned(), 2), ("4x".to_owned(), 1)];
    let two = "[[site]]\npages = { 404 = 2, '4x' = 1 }";
    assert_eq!(read(two, entries).unwrap(), want);
    let below = "[[site]]\n[site.pages]\n404 = 2\n4x = 1";
    assert_eq!(read(below, entries).unwrap(), want);
    assert_eq!(read("[[site]]", entries).unwrap(), []);
    #[rustfmt::skip]
    let wrong = [
        ("[[site]]\npages = 1",          "s.toml:2:9: pages: takes a table, such as pages = { name = \"value\" }"),
        ("[[site]]\npages = { 404 = 0 }", "s.toml:2:17: 404: '0' is not a whole number from 1 to 9"),
    ];
    for (text, want) in wrong {
        assert_eq!(read(text, entries).unwrap_err(), want, "{text}");
    }
}
