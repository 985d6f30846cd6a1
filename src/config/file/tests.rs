//! What a file means, and what is said of one that means nothing.

#![allow(clippy::unwrap_used)]

use super::super::command::command;
use super::*;

fn parse(text: &str) -> Result<ConfigFile, String> {
    match ConfigFile::parse(Path::new("s.toml"), text, &command()) {
        Ok(file) => Ok(file),
        Err(Usage::Wrong(line)) => Err(line),
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
        assert_eq!(parse(text).unwrap_err(), want, "{text}");
    }
}

#[test]
fn a_column_counts_characters() {
    let line = parse("charset = \"ü\"; x").unwrap_err();
    assert!(line.starts_with("s.toml:1:14: "), "{line}");
}
