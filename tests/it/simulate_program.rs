//! `spede simulate` as a program: its input, its messages, and the plot.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use spede::simulate::{self, LogSource, Report};

use super::harness::Site;
use super::simulate::{line, log, settings};

fn run(words: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_spede"))
        .arg("simulate")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn text_of(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    compress_to_vec(text, CompressionLevel::Fastest)
}

#[test]
fn plain_gzip_zstd_and_standard_input_give_the_same_result() {
    let site = Site::new();
    let (text, _) = log(6_000);
    let text = text.as_bytes();
    let (plain, packed) = (site.beside("log"), site.beside("packed"));
    fs::write(&plain, text).unwrap();
    let want = text_of(&run(&[plain.to_str().unwrap()], b""));
    assert!(want.contains("256 MiB (current)"), "{want}");
    assert_eq!(text_of(&run(&["-"], text)), want);
    for bytes in [gzip(text), zstd(text)] {
        assert!(bytes.len() < text.len() / 2);
        fs::write(&packed, &bytes).unwrap();
        assert_eq!(text_of(&run(&[packed.to_str().unwrap()], b"")), want);
        assert_eq!(text_of(&run(&["-"], &bytes)), want);
    }
    let middle = text.len() / 2;
    let half = middle
        + text[middle..]
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap()
        + 1;
    fs::write(&plain, &text[..half]).unwrap();
    let both = [plain.to_str().unwrap(), "-"];
    for rest in [text[half..].to_vec(), zstd(&text[half..])] {
        assert_eq!(text_of(&run(&both, &rest)), want);
    }
}

/// A log that was copied during compression, or has trailing data.
#[test]
fn a_broken_packed_log_is_used_as_far_as_it_goes() {
    let site = Site::new();
    let text = log(3_000).0;
    let path = site.beside("log.gz");
    let (gzip, zstd) = (gzip(text.as_bytes()), zstd(text.as_bytes()));
    let padded = |packed: &[u8]| [packed, &[b'x'; 512]].concat();
    // Zstandard has blocks of up to 128 KiB, here some 1,500 lines; a part of a block gives nothing.
    let cases = [
        (&gzip[..gzip.len() / 2], 500..2_500),
        (&padded(&gzip)[..], 3_001..3_002),
        (&zstd[..zstd.len() - 8], 500..2_500),
        (&padded(&zstd)[..], 3_001..3_002),
    ];
    for (bytes, lines) in cases {
        fs::write(&path, bytes).unwrap();
        let report = simulate::run(&settings(&path, 1 << 20, 1_000)).unwrap();
        assert!(lines.contains(&report.line_count), "{}", report.line_count);
        let bad = &report.bad[0];
        assert_eq!(report.bad_count, 1);
        assert!(
            bad.place
                .ends_with(&format!("log.gz:{}", report.line_count))
        );
        assert!(
            bad.why.contains("the part before it is used"),
            "{}",
            bad.why
        );
    }
}

#[test]
fn bad_lines_are_counted_and_named() {
    let site = Site::new();
    let log = site.beside("log");
    let mut bytes = line("GET / HTTP/1.1", 200, 10).into_bytes();
    bytes.extend_from_slice(b"\xff\xfe\x00 garbage\n\n{\"no\":1}\n");
    bytes.extend_from_slice(line("GET / HTTP/1.1", 200, 10).as_bytes());
    bytes.extend_from_slice(&b"no\n".repeat(9));
    fs::write(&log, bytes).unwrap();
    let name = log.to_str().unwrap();
    let text = text_of(&run(&[name], b""));
    for words in [
        "13 lines, 2 requests replayed".to_owned(),
        "invalid lines, skipped: 11\n".to_owned(),
        format!("{name}:2: no time such as ["),
        format!("{name}:4: no usable member time"),
        "and 6 more".to_owned(),
    ] {
        assert!(text.contains(&words), "{words} is not in {text}");
    }
}

#[test]
fn the_plot_has_both_curves_and_the_size_of_today() {
    let site = Site::new();
    let (log_file, plot) = (site.beside("log"), site.beside("hits.svg"));
    fs::write(&log_file, log(3_000).0).unwrap();
    let words = [
        "--plot",
        plot.to_str().unwrap(),
        "--today-map-cache",
        "64KiB",
        log_file.to_str().unwrap(),
    ];
    text_of(&run(&words, b""));
    let svg = fs::read_to_string(&plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for word in [
        "today: 64 KiB",
        "today: 65536",
        "requests",
        "bytes",
        "512 KiB",
    ] {
        assert!(svg.contains(word), "{word} is not in the plot");
    }
    // A curve is a polyline through seven sizes.
    let curves = svg
        .split("points=\"")
        .filter(|line| line.split('"').next().unwrap().split_whitespace().count() == 7);
    assert_eq!(curves.count(), 4);
}

#[test]
fn unreplayable_logs_are_reported_in_one_line() {
    let site = Site::new();
    let (good, empty) = (site.beside("good"), site.beside("empty"));
    fs::write(&good, line("GET / HTTP/1.1", 200, 10)).unwrap();
    fs::write(&empty, "").unwrap();
    let bad = site.beside("bad");
    fs::write(&bad, "what\n").unwrap();
    let cut = site.beside("cut.gz");
    fs::write(&cut, [0x1f, 0x8b, 8, 0, 0]).unwrap();
    let name = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let root = site.root();
    let (good, empty, bad, cut) = (name(&good), name(&empty), name(&bad), name(&cut));
    let cases: [(&[&str], i32, &str); 11] = [
        (&["/no/such/log"], 1, "/no/such/log"),
        (&[&good, "/no/such/log"], 1, "/no/such/log"),
        (&[root.to_str().unwrap()], 1, "directory"),
        (&[&empty], 1, "empty"),
        (&[&bad], 1, "bad:1"),
        (&[&cut], 1, "cut.gz"),
        (&["--root", "/no/such/root", &good], 1, "/no/such/root"),
        (
            &["--plot", "/no/such/place/x.svg", &good],
            1,
            "/no/such/place/x.svg",
        ),
        (&[], 2, "ACCESS_LOG"),
        (&["--map-cache", "1MiB,lots", &good], 2, "lots"),
        (&["--no-such-flag", &good], 2, "spede simulate --help"),
    ];
    for (words, code, wanted) in cases {
        let output = run(words, b"");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{words:?}: {text}");
        assert!(
            text.contains(wanted),
            "{words:?}: {wanted} is not in {text}"
        );
    }
}

#[test]
fn each_flag_of_it_is_in_its_help_and_in_the_readme() {
    let help = text_of(&run(&["--help"], b""));
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(manifest.join("README.md")).unwrap();
    let section = readme.split("### spede simulate").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let flags: Vec<_> = help
        .lines()
        .filter_map(|line| {
            line.trim_start()
                .split(' ')
                .find(|word| word.starts_with("--"))
        })
        .filter(|flag| help.lines().any(|line| line.trim_start().starts_with(flag)))
        .collect();
    assert!(flags.len() >= 12, "{flags:?}");
    for flag in flags {
        assert!(section.contains(flag), "{flag} is not in the README");
    }
}

#[test]
fn logs_that_go_back_in_time_are_named() {
    let site = Site::new();
    let (one, two) = (site.beside("one"), site.beside("two"));
    fs::write(&one, line("GET / HTTP/1.1", 200, 10)).unwrap();
    fs::write(
        &two,
        line("GET / HTTP/1.1", 200, 10).replace("16:00:00", "15:00:00"),
    )
    .unwrap();
    let mut settings = settings(&one, 1_000, 10);
    settings.logs.push(LogSource::File(two));
    let report: Report = simulate::run(&settings).unwrap();
    assert!(
        report
            .to_string()
            .contains("give them in chronological order")
    );
}

#[test]
fn lines_that_go_back_in_time_are_counted() {
    let site = Site::new();
    let log = site.beside("log");
    let at = |time: &str| line("GET / HTTP/1.1", 200, 10).replace("16:00:00", time);
    let times = ["16:00:00", "16:01:40", "16:01:39", "16:00:10", "16:01:40"];
    fs::write(&log, times.map(at).concat()).unwrap();
    let text = text_of(&run(&[log.to_str().unwrap()], b""));
    let words = "note: lines out of order, replayed as if at the time of the latest request before them: 2, \
                 by up to 1 min 30 s\n";
    assert!(text.contains(words), "{text}");
    fs::write(&log, ["16:00:00", "16:00:00", "16:01:40"].map(at).concat()).unwrap();
    let text = text_of(&run(&[log.to_str().unwrap()], b""));
    assert!(!text.contains("out of order"), "{text}");
}

#[test]
fn the_same_path_of_two_hosts_is_two_entries() {
    let site = Site::new();
    let log = site.beside("log");
    let mut text = String::new();
    for host in [
        "a.example:80",
        "b.example:80",
        "A.example:443",
        "b.example:80",
    ] {
        text += &format!("{host} {}", line("GET /x HTTP/1.1", 200, 10));
    }
    fs::write(&log, text).unwrap();
    let report = simulate::run(&settings(&log, 1_000, 10)).unwrap();
    let row = report.path[0];
    assert_eq!((row.requests, row.hits, row.entry_count), (4, 2, 2));
    let words = report.to_string();
    assert!(words.contains("2 paths of 2 hosts\n"), "{words}");
}

#[test]
fn too_few_requests_give_no_advice() {
    let site = Site::new();
    let log = site.beside("log");
    let text = |count: usize| {
        fs::write(&log, line("GET /x HTTP/1.1", 200, 10).repeat(count)).unwrap();
        text_of(&run(&[log.to_str().unwrap()], b""))
    };
    let few = text(100);
    let words = "No advice: only 100 requests in this log use this cache, and below 2,500";
    assert_eq!(few.matches(words).count(), 2, "{few}");
    assert!(text(2_499).contains("No advice"));
    let enough = text(2_500);
    assert!(!enough.contains("No advice"), "{enough}");
    assert_eq!(
        enough.matches("The current size is enough.").count(),
        2,
        "{enough}"
    );
}
