//! Refused values, and the messages: one line that says what to write instead.

use super::*;

/// Each message is one line and has the expected start.
fn check_refusals(cases: &[(&[&str], &str)]) {
    for (words, want) in cases {
        let line = refusal_of(words);
        assert!(line.starts_with(want), "{words:?}: {line}");
        assert!(!line.contains(char::is_control), "{words:?}: {line:?}");
    }
}

#[test]
fn a_wrong_value_is_said_in_one_line() {
    let long_name = "x".repeat(256);
    let cut_name = format!(
        "--index: '{}…' is not the name of a visible file",
        "x".repeat(80)
    );
    #[rustfmt::skip]
    let cases: &[(&[&str], &str)] = &[
        (&["--map-cache", "lots"], "--map-cache: 'lots' is not a size; write bytes or a number \
                                    with KiB, MiB or GiB, such as 256MiB"),
        (&["--map-cache=-5"],         "--map-cache: '-5' is not a size"),
        (&["--map-cache", "-5"],      "--map-cache: '-5' is not a size"),
        (&["--map-cache", ""],        "--map-cache: '' is not a size"),
        (&["--map-cache", "a\nb"],    r"--map-cache: 'a\nb' is not a size"),
        (&["--map-cache", "65537GiB"], "--map-cache: '65537GiB' is out of range; write 0 B to"),
        (&["--body-max", "20000000000GiB"], "--body-max: '20000000000GiB' exceeds 64"),
        (&["--map-cache"],            "--map-cache: needs a value; see spede --help"),
        (&["--map-cache", "1", "--map-cache", "2"], "--map-cache: is given more than once"),
        (&["--map-cach", "1"],        "--map-cach: is not an option; did you mean --map-cache?"),
        (&["--map-max", "0"],         "--map-max: '0' is out of range; write 1 B to"),
        (&["--map-count", "0"],       "--map-count: '0' is not a whole number from 1 to 16777216"),
        (&["--path-cache", "0"],      "--path-cache: '0' is not a whole number from 1"),
        (&["--descriptors", "0"],     "--descriptors: '0' is not a whole number from 1"),
        (&["--connections", "1.5"],   "--connections: '1.5' is not a whole number from 1"),
        (&["--fields-max", "257"],    "--fields-max: '257' is not a whole number from 1 to 256"),
        (&["--ranges-max", "1025"],   "--ranges-max: '1025' is not a whole number from 0 to"),
        (&["--target-max", "0"],      "--target-max: '0' is out of range; write 1 B to 1 MiB"),
        (&["--head-max", "2MiB"],     "--head-max: '2MiB' is out of range; write 1 KiB to 1 MiB"),
        (&["--body-max", "1025GiB"],  "--body-max: '1025GiB' is out of range; write 0 B to"),
        (&["--revalidate", "soon"],   "--revalidate: 'soon' is not a time; write seconds or a \
                                       number with ms, s, m or h, such as 1.5s"),
        (&["--idle-timeout", "0"],    "--idle-timeout: '0' is out of range; write 1 ms to 24 h"),
        (&["--grace", "25h"],         "--grace: '25h' is out of range; write 0 s to 24 h"),
        (&["--entity-tags", "weak"],  "--entity-tags: 'weak' is not file or mirror"),
        (&["--charset", ""],          "--charset: '' is not the name of a charset; write one such as"),
        (&["--charset", "utf-8; a=b"], "--charset: 'utf-8; a=b' is not the name of a charset"),
        (&["--charset", "a\r\nb"],    r"--charset: 'a\r\nb' is not the name of a charset"),
        (&["--type", "ts"],           "--type: 'ts' is not EXT=TYPE; write one such as ts=text/plain"),
        (&["--type", "a=b/c\r\nd"],   r"--type: 'a=b/c\r\nd' is not EXT=TYPE"),
        (&["--type", "a=b/c;d"],      "--type: 'a=b/c;d' is not EXT=TYPE"),
        (&["--type", "a=b/c,A=d/e"],  "--type: 'a' is given twice"),
        (&["--header", "X-A b"],      "--header: 'X-A b' has no colon; write 'Name: value'"),
        (&["--header", "X A: b"],     "--header: 'X A: b' is not a field name; write letters, digits and hyphens"),
        (&["--header", "X-A: b\r\nY: c"], r"--header: 'X-A: b\r\nY: c' is not a field value; write at most"),
        (&["--header", "etag: b"],    "--header: 'etag: b' is set by the server, because it has to agree with the content"),
        (&["--cors", "example.org"],  "--cors: 'example.org' is not an origin; write https://example.org, with"),
        (&["--cors", "null"],         "--cors: 'null' is not an origin"),
        (&["--immutable", "yes"],     "--immutable: 'yes' is not on or off"),
        (&["--security-fields=yes"],  "--security-fields: 'yes' is not on or off"),
        (&["--directories", "yes"],   "--directories: 'yes' is not hide or list"),
        (&["--lock=yes"],             "--lock: 'yes' is not on or off"),
        (&["--disk-depth", "0"],      "--disk-depth: '0' is not a whole number"),
        (&["--disk", "Auto"],         "--disk: 'Auto' is not a disk engine; write auto,"),
        (&["--dotfiles", "yes"],      "--dotfiles: 'yes' is not refuse or serve"),
        (&["--access-log-format", "xml"], "--access-log-format: 'xml' is not combined or json"),
        (&["--server-timing=maybe"], "--server-timing: 'maybe' is not on or off"),
        (&["--access-log", ""],       "--access-log: '' is not off, - or the path of a file"),
        (&["--status", "me"],         "--status: 'me' is not loopback, off, all or ADDR:PORT"),
        (&["--status", "unix:/x"],    "--status: 'unix:/x' is not loopback, off, all or"),
        (&["--status", "::1"],        "--status: '::1' has no port; write it as"),
        (&["--index", ""],            "--index: '' is not the name of a visible file"),
        (&["--index", "a/b"],         "--index: 'a/b' is not the name of a visible file"),
        (&["--index", ".."],          "--index: '..' is not the name of a visible file"),
        (&["--index", ".index"],      "--index: '.index' is not the name of a visible file"),
        (&["--index", &long_name],    &cut_name),
        (&["--index", "a", "--index", "a"], "--index: 'a' is given twice"),
        (&["--index", "a,b,c,d,e,f,g,h,i"], "--index: at most 8 names can be given"),
    ];
    check_refusals(cases);
}

#[test]
fn a_wrong_address_or_word_is_said_in_one_line() {
    let long_path = format!("unix:/{}", "x".repeat(107));
    #[rustfmt::skip]
    let cases: &[(&[&str], &str)] = &[
        (&["-l", "example.org:80"],   "--listen: 'example.org:80' is not an address; write"),
        (&["-l", ""],                 "--listen: '' is not an address"),
        (&["-l", "localhost"],        "--listen: 'localhost' is not an address"),
        (&["-l", "::1"],              "--listen: '::1' has no port; write it as 127.0.0.1:8080"),
        (&["-l", "[::1]"],            "--listen: '[::1]' has no port"),
        (&["-l", "127.0.0.1"],        "--listen: '127.0.0.1' has no port"),
        (&["-l", "65536"],            "--listen: '65536' is not an address"),
        (&["-l", ":+80"],             "--listen: ':+80' is not an address"),
        (&["-l", ":"],                "--listen: ':' is not an address"),
        (&["-l", "80,"],              "--listen: '' is not an address"),
        (&["-l", "unix:"],            "--listen: 'unix:' is not the path of a socket; write"),
        (&["-l", &long_path],         "--listen: 'unix:/xxxx"),
        (&["--socket-mode", "0888"],  "--socket-mode: '0888' is not a mode; write it in octal"),
        (&["--socket-mode", "1777"],  "--socket-mode: '1777' is not a mode"),
        (&["--socket-mode", "+7"],    "--socket-mode: '+7' is not a mode"),
        (&["--socket-group", ""],     "--socket-group: '' is not a group"),
        (&["--version=3"],            "--version: takes no value, not even '3'"),
        (&["-q"],                     "-q: is not an option; see spede --help"),
        (&["--q\nr"],                 r"--q\nr: is not an option; see spede --help"),
        (&[""],                       "ROOT: '' is not a path; name the directory to serve"),
        (&["a", "b"],                 "ROOT: 'b' is one too many; spede serves one directory"),
    ];
    check_refusals(cases);
}

#[test]
fn values_that_rule_each_other_out_are_refused() {
    let many = (0..65)
        .map(|port| format!("{}", 1_000 + port))
        .collect::<Vec<_>>()
        .join(",");
    #[rustfmt::skip]
    let cases: &[(&[&str], &str)] = &[
        (&["-l", "8080", "-l", "localhost:8080"], "--listen: 127.0.0.1:8080 is given twice"),
        (&["-l", "unix:a", "-l", "unix:a"],       "--listen: unix:a is given twice"),
        (&["-l", "0.0.0.0:80", "-l", ":80"],      "--listen: 0.0.0.0:80 and [::]:80 overlap"),
        (&["-l", ":80", "-l", "127.0.0.1:80"],    "--listen: [::]:80 and 127.0.0.1:80 overlap"),
        (&["-l", "80", "-l", "[::ffff:127.0.0.1]:80"], "--listen: 127.0.0.1:80 is given twice"),
        (&["-l", &many],                          "--listen: at most 64 addresses can be given"),
        (&["--socket-mode", "0660"],              "--socket-mode: there is no unix:PATH in --listen"),
        (&["--socket-group", "a"],                "--socket-group: there is no unix:PATH"),
        (&["--status", "8080"],                   "--status: 127.0.0.1:8080 is in use by --listen"),
        (&["-l", ":80", "--status", "[::1]:80"],  "--status: [::1]:80 is in use by --listen"),
        (&["--map-cache", "1M", "--map-max", "2M"], "--map-max: 2 MiB does not fit into"),
        (&["--map-cache", "1", "--map-max", "2"], "--map-max: "),
        (&["--head-max", "8KiB", "--target-max", "8KiB"], "--head-max: 8 KiB is too short for"),
        (&["--target-max", "15873"],              "--head-max: 16 KiB is too short for"),
    ];
    check_refusals(cases);
}

#[test]
fn a_conflict_says_what_to_write() {
    let line = refusal_of(&["--map-cache", "32KiB", "--map-max", "64KiB"]);
    let want = "--map-max: 64 KiB does not fit into --map-cache 32 KiB; write at most 32 KiB";
    assert_eq!(line, want);
    let line = refusal_of(&["--head-max", "8KiB", "--target-max", "8KiB"]);
    let want = "--head-max: 8 KiB is too short for --target-max 8 KiB; write at least 8.5 KiB";
    assert_eq!(line, want);
}

#[test]
fn values_on_the_edge_of_each_other_are_taken() {
    #[rustfmt::skip]
    let cases: &[(&[&str], &str)] = &[
        (&["-l", "0", "-l", "0"],                       "the kernel chooses two ports"),
        (&["-l", "0", "--status", "0"],                 "the kernel chooses two ports"),
        (&["-l", "127.0.0.1:80", "-l", "[::1]:80"],     "two families"),
        (&["-l", "127.0.0.1:80", "-l", "127.0.0.2:80"], "two addresses"),
        (&["-l", "0.0.0.0:80", "-l", "[::1]:80"],       "IPv4 takes no IPv6"),
        (&["-l", "[fe80::1%1]:80", "-l", "[fe80::1%2]:80"], "two interfaces"),
        (&["-l", "unix:a", "-l", "unix:b"],             "two paths"),
        (&["--map-cache", "0"],                         "nothing is mapped, whatever its length"),
        (&["--map-cache", "1MiB", "--map-max", "1MiB"], "one file fills the cache"),
        (&["--head-max", "8704"],                       "512 bytes beside the target"),
        (&["--target-max", "15872"],                    "512 bytes beside the target"),
    ];
    for (words, because) in cases {
        assert!(
            read(words).is_ok(),
            "{words:?}: {because}: {:?}",
            read(words)
        );
    }
}
